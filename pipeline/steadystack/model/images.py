"""Types for frames and their sources, the NCC surface of a pair, and its registration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from steadystack.model.words import Bools, Floats, FrameStatus, PairStatus, Slices

# Numbers from this on do not fit in float32, the type that frames of a series are processed in.
TOO_LARGE = 1e38
# Standard deviation of normal values, divided by the median of their absolute values.
MEDIAN_DEVIATION = 1.4826
# Lines of a plane that are transposed at a time.
TRANSPOSED_LINES = 16

AnyFloat = TypeVar("AnyFloat", bound=np.floating[Any])


@dataclass(frozen=True)
class Frame:
    """One time point of one channel as it was read: `image` and `valid` have the same shape."""

    image: NDArray[Any]
    valid: Bools
    status: FrameStatus = FrameStatus.OK
    reason: str = ""  # why it could not be read

    @classmethod
    def unreadable(cls, shape: tuple[int, ...], error: Exception, where: str = "") -> Frame:
        """A frame without known pixels: reading it, or its part `where`, raised `error`."""
        nothing = np.zeros(shape, bool)
        reason = f"{where}{type(error).__name__}: {error}"
        return cls(np.zeros(shape), nothing, FrameStatus.UNREADABLE, reason)


class FrameSource(Protocol):
    """Where frames come from. Picklable, so that a worker can open its own data."""

    @property
    def frame_count(self) -> int: ...

    @property
    def frame_shape(self) -> tuple[int, ...]: ...

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the spatial axes, in array order."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether it holds its pixels in memory, too much to be sent with every task."""
        ...

    @property
    def channels(self) -> tuple[FrameSource, ...]:
        """The frames of each channel in which pairs are measured, all of one shape.

        Other readers of frames get the first channel. (): there is only one.
        """
        ...

    def common_mask(self, region: Slices) -> Bools | None:
        """A mask from which most frames' masks lack only few pixels, if any; None: all pixels.

        Results depend on it only by rounding, and it does not depend on which frames are read.
        """
        ...

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        """The frame with that index, or a part of it: one slice with start and stop per axis.

        A frame that cannot be read has the status UNREADABLE.
        """
        ...


@dataclass(frozen=True)
class Surface:
    """The NCC of two images over integer lags.

    `ncc` and `overlap_count` have one axis per image axis; index 0 along axis *d* is the lag
    `first_lag[d]`. `ncc` is NaN where it is not defined (no overlap, no contrast in it) or not
    allowed (less than the smallest overlap). `valid_count` is the number of valid pixels of the
    reference and of the moving image. `chance_deviation` is the standard deviation of ``ncc *
    sqrt(N)`` expected of unrelated images with these power spectra: 1 for white noise, more where
    neighbouring pixels are correlated.

    `variances` are those of the overlapping pixels of reference and moving image at each lag, up to
    a factor per image; None: the same at all lags.

    `bright_shares` times these variances are the shares of the overlapping pixels that have most of
    the contrast of reference and moving image; infinite: not known.

    The surface may reach beyond what is searched: `margin` lags (before, after) along each axis
    only serve the sub-pixel fit. `averaged` is how many images, as noisy as the moving one, are
    averaged in the reference.
    """

    ncc: Floats
    overlap_count: Floats
    first_lag: tuple[int, ...]
    valid_count: tuple[int, int]
    chance_deviation: float
    margin: tuple[tuple[int, int], ...] = ()
    variances: tuple[Floats, Floats] | None = None
    averaged: float = 1.0
    bright_shares: tuple[float, float] = (math.inf, math.inf)

    @cached_property
    def searched(self) -> tuple[slice, ...]:
        """The part of the surface in which the peak may lie."""
        margin = self.margin or ((0, 0),) * self.ncc.ndim
        return tuple(
            slice(before, size - after)
            for (before, after), size in zip(margin, self.ncc.shape, strict=True)
        )

    @property
    def lags(self) -> tuple[NDArray[np.int64], ...]:
        """The lags along each axis, in pixels."""
        return tuple(
            np.arange(first, first + size, dtype=np.int64)
            for first, size in zip(self.first_lag, self.ncc.shape, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Registration:
    """The shift that aligns the moving image with the reference, and how far to trust it.

    Attributes
    ----------
    shift : float array, shape (ndim,)
        Pixels, array axis order; NaN unless `status` is ok.
    covariance : float array, shape (ndim, ndim)
        Square pixels; NaN unless `status` is ok.
    ncc : float
        Masked normalized cross-correlation at the peak, -1..1; negative for inverted contrast.
    second_peak_ratio : float
        Significance of the best lag outside the peak's neighbourhood, divided by that of the peak,
        0..1; near 1 the choice of the peak is arbitrary. NaN if the neighbourhood covers every lag.
    overlap : float
        Overlapping valid pixels at the peak, divided by the smaller number of valid pixels, 0..1.
    status : PairStatus
        Why there is a shift, or why there is none.
    conditioning : str
        What was done to the images before, as settings of ``preprocess``, such as ``high_pass:
        10``. Empty: nothing.
    fixed_pattern_share : float
        Fraction of the images' variance that stands still in both, as far as it is visible beside
        the scene: single pixels, rows, columns. NaN: cannot be determined.
    """

    shift: Floats
    covariance: Floats
    ncc: float
    second_peak_ratio: float
    overlap: float
    status: PairStatus
    conditioning: str = ""
    fixed_pattern_share: float = np.nan

    @classmethod
    def unknown(
        cls,
        ndim: int,
        status: PairStatus,
        ncc: float = np.nan,
        second_peak_ratio: float = np.nan,
        overlap: float = np.nan,
    ) -> Registration:
        """A registration that found no shift, and says why."""
        return cls(
            shift=np.full(ndim, np.nan),
            covariance=np.full((ndim, ndim), np.nan),
            ncc=ncc,
            second_peak_ratio=second_peak_ratio,
            overlap=overlap,
            status=status,
        )

    def without_shift(self, status: PairStatus) -> Registration:
        """The same without its shift and covariance, and with the status that says why."""
        unknown = Registration.unknown(len(self.shift), status)
        return replace(self, shift=unknown.shift, covariance=unknown.covariance, status=status)


Image: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class CloseUp:
    """A pair to display: its images as correlated, NaN where not valid, and its surface.

    `surface` is the NCC (NaN where not known) over the lags from `first_lag` on; volumes are shown
    by their means along z.
    """

    row: int
    reference: Image
    moving: Image
    surface: Image
    first_lag: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ReportImages:
    """Images before and after, by name, and pairs to display; NaN where not known.

    `images` are (y, x), `kymographs` (frame, position) by the name of the axis they run along, of
    frames spread evenly from the first to the last of `span`.
    """

    images: Mapping[str, tuple[Image, Image]] = field(default_factory=dict)
    kymographs: Mapping[str, tuple[Image, Image]] = field(default_factory=dict)
    span: tuple[int, int] = (0, 0)
    close_ups: tuple[CloseUp, ...] = ()


class OutsideImage(Protocol):
    """An external reference, to which the shifts of a series are to be relative. Picklable."""

    @property
    def path(self) -> str:
        """Where it lies; "": it was given as an array."""
        ...

    @property
    def digest(self) -> str:
        """A hash of its values and of which of them are valid."""
        ...

    @property
    def origin(self) -> tuple[int, ...]:
        """The pixel of it, per axis, from which positions count: normally 0.

        If it shows the whole frame and only a region is used: where the region begins.
        """
        ...

    def read(self) -> tuple[NDArray[np.float64], Bools]:
        """Its values and which are valid: arrays of one shape, with the axes of a frame; finite."""
        ...


@dataclass(frozen=True)
class ChangedFrames:
    """Base class of sources that change the values or valid pixels of another source."""

    frames: FrameSource

    @property
    def frame_count(self) -> int:
        return self.frames.frame_count

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.frames.frame_shape

    @property
    def axes(self) -> tuple[str, ...]:
        return self.frames.axes

    @property
    def in_memory(self) -> bool:
        return self.frames.in_memory

    @property
    def channels(self) -> tuple[FrameSource, ...]:
        alone = (replace(self, frames=channel) for channel in self.frames.channels)
        return cast(tuple[FrameSource, ...], tuple(alone))  # each can be read like a source

    def common_mask(self, region: Slices) -> Bools | None:
        return self.frames.common_mask(region)


def is_of_one_value(values: NDArray[Any]) -> bool:
    """Whether all values are equal, or none is a number, as in data that was never written."""
    if not values.size:
        return True
    first = values.flat[0]
    if first != first:
        return bool(np.isnan(values).all())
    return bool((values == first).all())


def find_finite_pixels(image: NDArray[Any], too_large: float = np.inf) -> Bools:
    """Find the pixels with finite numbers (a writable bool array of the image's shape).

    Numbers from `too_large` on count as infinite.
    """
    if image.dtype.kind == "f" and image.dtype.itemsize > 4:
        return np.asarray(np.abs(image) < too_large)
    return np.isfinite(image) if image.dtype.kind in "fc" else np.ones(image.shape, bool)


def find_box(mask: Bools) -> Slices:
    """Find the smallest box that holds all pixels of a mask, which must not be empty."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        along = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(box)


def transpose_planes(array: NDArray[AnyFloat]) -> NDArray[AnyFloat]:
    """Exchange the last two axes, in memory, too.

    Some lines at a time, as caches cannot hold many lines whose distance is a power of two.
    """
    transposed = np.empty((*array.shape[:-2], array.shape[-1], array.shape[-2]), array.dtype)
    for begin in range(0, array.shape[-2], TRANSPOSED_LINES):
        lines = slice(begin, begin + TRANSPOSED_LINES)
        transposed[..., lines] = array[..., lines, :].swapaxes(-1, -2)
    return transposed
