"""The words of the project as types: frames, lags, surfaces, registrations, tables, statuses.

Every other module speaks in these types, and none of them knows a file, a cluster or a setting.

Conventions, used everywhere
----------------------------
* A mask is boolean, True = valid.
* A **shift** is what has to be applied to a frame to lay it on another one, in pixels, in array
  axis order (``y, x`` or ``z, y, x``): ``scipy.ndimage.shift(moving, shift)``.
* ``pair_shift[i, j] = shift[j] - shift[i]`` lays frame *j* (moving) on frame *i* (reference).
* "Not known" is NaN together with a status; 0 is a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from os import PathLike
from typing import Any, Protocol, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.integer[Any]]
Slices: TypeAlias = tuple[slice, ...]

SHIFT_CONVENTION = (
    "shift is what has to be applied to a frame, in pixels and array axis order, to lay it on the "
    "anchor frame: scipy.ndimage.shift(frame, shift); pair_shift lays the moving frame on the "
    "reference and equals shift[moving] - shift[reference]; masks are True where valid"
)


def axis_names(ndim: int) -> tuple[str, ...]:
    """Names of the spatial axes of an image: ``("y", "x")`` or ``("z", "y", "x")``."""
    if not 1 <= ndim <= 3:
        raise ValueError(f"a frame has 1, 2 or 3 spatial axes, not {ndim}")
    return ("z", "y", "x")[3 - ndim :]


# Component of a frame without a usable pair, and of every frame before the solve.
LONE, UNSOLVED = -1, -2


class Status(StrEnum):
    """A status that is stored as a small integer (its place in the class) beside its meaning."""

    @property
    def code(self) -> int:
        return list(type(self)).index(self)

    @classmethod
    def from_code(cls, code: int) -> Status:
        return list(cls)[int(code)]


class PairStatus(Status):
    """What became of one pair. Only an `OK` pair has a shift, and one that the solve `REJECTED`.

    The measuring never says `REJECTED`: a table of pairs to be solved holds `OK` there.
    """

    UNMEASURED = "unmeasured"  # not looked at yet: what a resumed run has to do
    OK = "ok"
    LOW_OVERLAP = "low_overlap"  # no lag reaches the smallest allowed overlap
    LOW_NCC = "low_ncc"  # the highest peak is no higher than chance makes them in this surface
    AT_BOUND = "at_bound"  # the maximum lies on the edge of the searched lags
    AMBIGUOUS = "ambiguous"  # another lag, away from the peak, is as significant
    FLAT = "flat"  # the valid pixels of one of the frames are all equal
    EMPTY = "empty"  # one of the frames has no valid pixel
    UNREADABLE = "unreadable"  # one of the frames could not be read
    REJECTED = "rejected"  # it has a shift, but contradicts the rest: the solve gives it no weight


class FrameStatus(Status):
    """What became of one frame. Its shift is known if it is `OK` or `INCOMPLETE`.

    The last three are what the solve says of a frame that has no shift by itself.
    """

    UNMEASURED = "unmeasured"  # no pair of this frame has been looked at yet
    OK = "ok"
    INCOMPLETE = "incomplete"  # some of its chunks are missing; the shift is from the others
    MISSING = "missing"  # all of its chunks are missing
    EMPTY = "empty"  # no valid pixel
    FLAT = "flat"  # all valid pixels are equal
    UNREADABLE = "unreadable"  # a chunk could not be decoded
    UNCONNECTED = "unconnected"  # it could be read, but none of its pairs is usable
    CONTRADICTORY = "contradictory"  # it has usable pairs, but all or most contradict the rest
    INTERPOLATED = "interpolated"  # no shift of its own: that of frames before and after it


@dataclass(frozen=True)
class Frame:
    """One time point of one channel as it was read: `image` and `valid` have the same shape."""

    image: NDArray[Any]
    valid: Bools
    status: FrameStatus = FrameStatus.OK
    reason: str = ""  # why it could not be read

    @classmethod
    def unreadable(cls, shape: tuple[int, ...], error: Exception, what: str = "") -> Frame:
        """A frame of which nothing is known: reading it, or `what` of it, raised `error`."""
        nothing = np.zeros(shape, bool)
        reason = f"{what}{type(error).__name__}: {error}"
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

    def common_mask(self, part: Slices) -> Bools | None:
        """A mask that those of most frames lack few pixels of, if there is one; None: all of it.

        No result depends on it but for rounding, and it depends on no frame that is read.
        """
        ...

    def read(self, frame: int, part: Slices | None = None) -> Frame:
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
    reference and of the moving image. `chance_deviation` is the standard deviation of
    ``ncc * sqrt(N)`` expected of unrelated images with these power spectra: 1 for white noise,
    more where neighbouring pixels are alike.

    The surface may reach beyond what is searched: `margin` lags (before, after) along each axis
    serve the fit between the pixels alone.
    """

    ncc: Floats
    overlap_count: Floats
    first_lag: tuple[int, ...]
    valid_count: tuple[int, int]
    chance_deviation: float
    margin: tuple[tuple[int, int], ...] = ()

    @property
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
    """The shift that lays the moving image on the reference, and how far to trust it.

    Attributes
    ----------
    shift : float array, shape (ndim,)
        Pixels, array axis order; NaN unless `status` is ok.
    covariance : float array, shape (ndim, ndim)
        Square pixels; NaN unless `status` is ok.
    ncc : float
        Masked normalized cross-correlation at the peak, -1..1.
    runner_up : float
        Significance of the best lag outside the peak's neighbourhood over that of the peak, 0..1;
        near 1 the choice of the peak is arbitrary. NaN if the neighbourhood covers every lag.
    overlap : float
        Overlapping valid pixels at the peak over the smaller number of valid pixels, 0..1.
    status : PairStatus
        Why there is a shift, or none.
    """

    shift: Floats
    covariance: Floats
    ncc: float
    runner_up: float
    overlap: float
    status: PairStatus

    @classmethod
    def unknown(
        cls,
        ndim: int,
        status: PairStatus,
        ncc: float = np.nan,
        runner_up: float = np.nan,
        overlap: float = np.nan,
    ) -> Registration:
        """A registration that found no shift, and says why."""
        return cls(
            shift=np.full(ndim, np.nan),
            covariance=np.full((ndim, ndim), np.nan),
            ncc=ncc,
            runner_up=runner_up,
            overlap=overlap,
            status=status,
        )


@dataclass(frozen=True, eq=False)
class PairTable:
    """Measured pairs as columns; row *p* is the pair (``reference[p]``, ``moving[p]``).

    The columns are arrays, and the measuring fills them in place.

    `shift` and `std` are (pairs, axes) in pixels, NaN unless the pair is ok; `status` holds the
    codes of `PairStatus`. `frame_status` has the codes of `FrameStatus` for the frames that were
    read, by frame index, and UNMEASURED for the others.
    """

    reference: NDArray[np.int64]
    moving: NDArray[np.int64]
    shift: NDArray[np.float64]
    std: NDArray[np.float64]
    ncc: NDArray[np.float64]
    runner_up: NDArray[np.float64]
    overlap: NDArray[np.float64]
    status: NDArray[np.int8]
    frame_status: NDArray[np.int8]

    @classmethod
    def unmeasured(cls, pairs: Ints, frame_count: int, ndim: int) -> PairTable:
        """The table of `pairs`, an integer array (pairs, 2), before anything is measured."""
        count = len(pairs)
        return cls(
            reference=pairs[:, 0].astype(np.int64),
            moving=pairs[:, 1].astype(np.int64),
            shift=np.full((count, ndim), np.nan),
            std=np.full((count, ndim), np.nan),
            ncc=np.full(count, np.nan),
            runner_up=np.full(count, np.nan),
            overlap=np.full(count, np.nan),
            status=np.full(count, PairStatus.UNMEASURED.code, np.int8),
            frame_status=np.full(frame_count, FrameStatus.UNMEASURED.code, np.int8),
        )

    @property
    def ok(self) -> Bools:
        """Which pairs have a shift."""
        return np.asarray(self.status == PairStatus.OK.code)

    def count(self, statuses: Iterable[PairStatus]) -> int:
        """How many pairs have one of these statuses."""
        return int(np.isin(self.status, [status.code for status in statuses]).sum())


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Solved frames as columns: the shifts, and what the solution says of frames and pairs.

    `shift` and `shift_std` are (frames, axes) in pixels, NaN where not known; `component` numbers
    the connected parts of the pair graph from 0, `LONE` for frames without a usable pair, and
    counts an interpolated frame to that of its neighbours; `status` holds the codes of
    `FrameStatus`: what reading gave, and what the solve says of frames without a shift of their
    own. `weight` is (pairs,) in 1/px², the mean over the axes; `residual` (pairs, axes) in pixels:
    pair shift minus what the solution says; `rejected` (pairs,) which pairs contradict the rest.
    `anchors` are the frames whose shift is 0, one per component.
    """

    shift: NDArray[np.float64]
    shift_std: NDArray[np.float64]
    component: NDArray[np.int64]
    pair_count: NDArray[np.int64]
    status: NDArray[np.int8]
    weight: NDArray[np.float64]
    residual: NDArray[np.float64]
    rejected: Bools
    anchors: tuple[int, ...]


def spatial_dims(stack: xr.DataArray) -> tuple[str, ...]:
    """The spatial dims of a stack in array order: those named z, y, x."""
    return tuple(str(dim) for dim in stack.dims if dim in ("z", "y", "x"))


class InputError(ValueError):
    """Wrong use: a configuration, a path, a stack or a mask that cannot be worked with.

    Its message is one line a user can act on: the value, the limit, the way out.
    """


def as_stack(stack: Any) -> xr.DataArray:
    """A stack from a DataArray, or from an array with the axes t, [z,] y, x."""
    if isinstance(stack, xr.DataArray):
        return stack
    if isinstance(stack, str | PathLike):
        raise InputError(f"{stack} is a path: open it with pipeline.open_stack")
    if isinstance(stack, xr.Dataset):
        raise InputError(
            f"a Dataset holds several arrays: give one of {', '.join(map(str, stack))}"
        )
    values = np.asarray(stack)
    if values.ndim not in (3, 4):
        raise InputError(f"a stack has 3 or 4 axes (t, [z,] y, x), not {values.ndim}")
    return xr.DataArray(values, dims=("t", *("z", "y", "x")[4 - values.ndim :]))
