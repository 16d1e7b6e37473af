"""Means of a steady series, and its images and kymographs before and after, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction.lazy import correct, order_dims
from steadystack.correction.moments import IMAGES, FrameMoments, is_weighted
from steadystack.correction.movements import Weights, find_weights
from steadystack.model import Bools, FrameSource
from steadystack.run_log import count_steps
from steadystack.warp import AnyMotion, choose_work_dtype, warp


@dataclass(frozen=True, eq=False)
class SeriesImages:
    """A series as it is, or with every frame moved by its shift; 3-D frames as their mean along z.

    Attributes
    ----------
    mean, maximum : images (y, x) over the frames; NaN where no frame is known
    kymographs : for the axis y and for x, (frames, pixels along the axis): every frame averaged
        over a band of lines across the middle of the other axis; NaN where unknown, as in frames
        that were not read
    """

    mean: NDArray[np.float64]
    maximum: NDArray[np.float64]
    kymographs: dict[str, NDArray[np.float64]]


def make_before_and_after(
    source: FrameSource,
    shifts: NDArray[np.float64],
    *,
    linear: AnyMotion | None = None,
    frames: NDArray[np.integer[Any]] | None = None,
    band: int = 5,
    interpolation: str = "cubic",
) -> tuple[SeriesImages, SeriesImages]:
    """Make images of a series as it is and moved by its shifts; a frame at a time is in memory.

    Parameters
    ----------
    source : where frames are read
    shifts : (frames, axes) pixels; frames without a shift are in neither of the means and maxima,
        and only in the kymographs of the series as it is
    linear : motion of frames about their middle (frames, axes, axes), or local shifts; None: they
        are shifted alone
    frames : indices of the frames to read; None: all
    band : lines that a kymograph averages over
    interpolation : how frames are moved, see `warp.warp`

    Returns
    -------
    before, after
    """
    shape = source.frame_shape[-2:]
    lengths = dict(zip("yx", shape, strict=True))
    means = [
        _RunningMean(
            shape,
            {axis: np.full((source.frame_count, size), np.nan) for axis, size in lengths.items()},
        )
        for _ in range(2)
    ]
    chosen = list(range(source.frame_count)) if frames is None else frames.tolist()
    for frame in count_steps(chosen, len(chosen), "pictures", "frames"):
        content = source.read(frame)
        valid = content.valid
        has_shift = bool(np.isfinite(shifts[frame]).all())
        means[0].add(frame, content.image, valid, has_shift, band)
        if has_shift:
            turn = None if linear is None else linear[frame]
            moved = warp(content.image, valid, turn, shifts[frame], interpolation)
            means[1].add(frame, *moved, True, band)
    return means[0].make_images(), means[1].make_images()


class _RunningMean:
    """Mean, maximum and kymographs of the frames that were added so far."""

    def __init__(self, shape: tuple[int, ...], kymographs: dict[str, NDArray[np.float64]]) -> None:
        self.total, self.count = np.zeros(shape), np.zeros(shape, np.int32)
        self.highest = np.full(shape, -np.inf)
        self.kymographs = kymographs

    def add(self, frame: int, volume: NDArray[Any], valid: Bools, in_mean: bool, band: int) -> None:
        """Add a frame, whose planes are averaged.

        `volume` and the booleans `valid` are ([z,] y, x); `in_mean` says whether the frame counts
        for mean and maximum, `band` how many lines a kymograph averages over.
        """
        if volume.ndim > self.total.ndim:
            planes = np.where(valid, volume, 0.0).reshape(-1, *self.total.shape).sum(axis=0)
            depth: NDArray[Any] = valid.reshape(-1, *self.total.shape).sum(axis=0)
            image, known = planes / np.maximum(depth, 1), depth > 0
        else:
            planes = image = volume
            depth = known = valid
        if in_mean:
            np.add(self.total, planes, out=self.total, where=known)
            self.count += depth
            np.fmax(self.highest, image, out=self.highest, where=known)
        for axis, other in (("y", 1), ("x", 0)):
            middle = self.total.shape[other] // 2
            lines = slice(max(middle - band // 2, 0), middle - band // 2 + band)
            band_slices = (slice(None), lines) if other else (lines, slice(None))
            total = np.where(known[band_slices], planes[band_slices], 0.0).sum(axis=other)
            self.kymographs[axis][frame] = _divide(total, depth[band_slices].sum(axis=other))

    def make_images(self) -> SeriesImages:
        """The images of the frames so far."""
        highest = np.where(self.count > 0, self.highest, np.nan)
        return SeriesImages(_divide(self.total, self.count), highest, self.kymographs)


def _divide(total: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float64]:
    """Divide totals by counts of the same shape; NaN where the count is 0."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def make_mean_before_and_after(
    source: FrameSource,
    shifts: NDArray[np.float64],
    most_frames: int = 48,
    linear: AnyMotion | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make mean images of frames spread evenly over a series, as they are and moved.

    Parameters
    ----------
    source : where frames are read
    shifts : (frames, axes) pixels; frames without a shift are left out of both
    most_frames : at most so many frames are read
    linear : as in `make_before_and_after`

    Returns
    -------
    before, after : images (y, x); NaN where no frame is valid; 3-D frames as their mean along z
    """
    usable = np.flatnonzero(np.isfinite(shifts).all(axis=1))
    spread = np.linspace(0, len(usable) - 1, min(most_frames, len(usable))).round().astype(int)
    chosen = usable[np.unique(spread)]
    before, after = make_before_and_after(source, shifts, linear=linear, frames=chosen)
    return before.mean, after.mean


def mean(
    stack: xr.DataArray | NDArray[Any],
    shifts: xr.Dataset,
    *,
    weights: Weights = None,
    mask: Any = None,
    interpolation: str = "cubic",
    border: str = "same",
    other_shape: bool = False,
) -> xr.Dataset:
    """Compute the mean of the frames of a stack, each moved by its shift, in one pass.

    The result equals the mean of `correct` applied to floating-point frames: nothing is rounded,
    and pixels that are not valid, or outside a moved frame, are ignored. Only one frame, or a chunk
    of frames, is in memory at a time.

    Parameters
    ----------
    stack, shifts, mask, interpolation, border, other_shape : as in `correct`
    weights : None: all frames have the same weight; "precision": ``1 / (1 + 12 s^2)``, where *s* is
        the standard deviation of the frame's shift in pixels (root mean square over the axes); or
        numbers (frames,) of 0 or more, such as the dose of each frame
        Frames whose status is not ok, or that have no shift, are ignored whatever their weight.

    Returns
    -------
    Dataset
        With all dims of the stack except t: ``mean``, ``sum`` (of weight times value), ``std``
        (sample standard deviation of a frame), ``maximum``, NaN where no frame (std: fewer than
        two) is known, and ``count``, the number of frames in which a pixel is known. Float32 for
        integers of up to 16 bits, booleans and float32, else float64; ``sum`` float64, ``count``
        uint32. The attribute ``frames`` is the number of frames used.

    Raises
    ------
    InputError
        As in `correct`, and for weights that do not fit, or if no frame can be used.
    """
    stack, shifts = order_dims(stack, shifts)
    groups = stack.chunksizes.get("t") or (1,) * stack.sizes.get("t", 0)
    dtype = choose_work_dtype(stack.dtype)
    if stack.dtype.kind == "b":
        interpolation = "nearest"
    lazy = stack.chunk({"t": tuple(groups)} if "t" in stack.dims else {}).astype(dtype)
    moved = correct(
        lazy, shifts, mask=mask, interpolation=interpolation, border=border,
        other_shape=other_shape,
    )  # fmt: skip
    found = find_weights(shifts, weights)
    frame = moved.isel(t=0, drop=True)
    moments = FrameMoments.empty(frame.shape, dtype, is_weighted(found))
    stop = 0
    for size in groups:
        start, stop = stop, stop + size
        counted = start + np.flatnonzero(found[start:stop])
        if not len(counted):
            continue
        images = moved.isel(t=counted).transpose("t", ...).to_numpy()
        for image, weight in zip(images, found[counted].tolist(), strict=True):
            moments.add(image, np.isfinite(image), weight)
    images_by_name = {name: (frame.dims, moments.compute(name)) for name in IMAGES}
    return xr.Dataset(
        images_by_name, frame.coords, {**stack.attrs, "frames": int(np.count_nonzero(found))}
    )
