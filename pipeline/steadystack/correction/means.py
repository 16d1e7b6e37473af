"""What a series looks like before and after: means, maxima, kymographs, as arrays for a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, FrameSource
from steadystack.warp import move


@dataclass(frozen=True, eq=False)
class SeriesImages:
    """A series as it is, or with every frame moved by its shift; 3-D frames as their mean along z.

    Attributes
    ----------
    mean, maximum : images (y, x) over the frames; NaN where no frame is known
    kymographs : for the axis y and for x, (frames, pixels along the axis): every frame averaged
        over a band of lines across the middle of the other axis; NaN where nothing is known, as in
        frames that were not read
    """

    mean: NDArray[np.float64]
    maximum: NDArray[np.float64]
    kymographs: dict[str, NDArray[np.float64]]


def make_before_and_after(
    source: FrameSource,
    shifts: NDArray[np.float64],
    *,
    frames: NDArray[np.integer[Any]] | None = None,
    band: int = 5,
    interpolation: str = "cubic",
) -> tuple[SeriesImages, SeriesImages]:
    """Images of a series as it is and moved by its shifts; a frame at a time is in memory.

    Parameters
    ----------
    shifts : (frames, axes) pixels; frames without a shift are in neither of the means and maxima,
        and only in the kymographs of the series as it is
    frames : which to read; None: all
    band : lines that a kymograph averages over

    Returns
    -------
    before, after
    """
    shape = source.frame_shape[-2:]
    lengths = dict(zip("yx", shape, strict=True))
    made = [
        _RunningMean(
            shape, {axis: np.full((source.frame_count, n), np.nan) for axis, n in lengths.items()}
        )
        for _ in range(2)
    ]
    for frame in range(source.frame_count) if frames is None else frames.tolist():
        read = source.read(frame)
        valid = read.valid
        known = bool(np.isfinite(shifts[frame]).all())
        made[0].add(frame, read.image, valid, known, band)
        if known:
            made[1].add(frame, *move(read.image, valid, shifts[frame], interpolation), True, band)
    return made[0].images(), made[1].images()


class _RunningMean:
    """What a series of frames adds up to so far."""

    def __init__(self, shape: tuple[int, ...], kymographs: dict[str, NDArray[np.float64]]) -> None:
        self.total, self.count = np.zeros(shape), np.zeros(shape)
        self.highest = np.full(shape, -np.inf)
        self.kymographs = kymographs

    def add(self, frame: int, image: NDArray[Any], valid: Bools, in_mean: bool, band: int) -> None:
        """A frame; its planes are averaged."""
        planes = np.where(valid, image, 0.0).reshape(-1, *self.total.shape).sum(axis=0)
        depth = valid.reshape(-1, *self.total.shape).sum(axis=0)
        flat = _divide(planes, depth)
        if in_mean:
            self.total += planes
            self.count += depth
            self.highest = np.fmax(self.highest, flat)
        for axis, other in (("y", 1), ("x", 0)):
            middle = self.total.shape[other] // 2
            lines = slice(max(middle - band // 2, 0), middle - band // 2 + band)
            cut = (slice(None), lines) if other else (lines, slice(None))
            self.kymographs[axis][frame] = _divide(
                planes[cut].sum(axis=other), depth[cut].sum(axis=other)
            )

    def images(self) -> SeriesImages:
        highest = np.where(self.count > 0, self.highest, np.nan)
        return SeriesImages(_divide(self.total, self.count), highest, self.kymographs)


def _divide(total: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float64]:
    """The mean; NaN where nothing was counted."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def make_mean_before_and_after(
    source: FrameSource,
    shifts: NDArray[np.float64],
    most_frames: int = 48,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean images of frames spread evenly over a series, as they are and moved by their shifts.

    Parameters
    ----------
    shifts : (frames, axes) pixels; frames without a shift are left out of both
    most_frames : at most so many frames are read

    Returns
    -------
    before, after : images; NaN where no frame is valid. Of 3-D frames the mean along z.
    """
    usable = np.flatnonzero(np.isfinite(shifts).all(axis=1))
    spread = np.linspace(0, len(usable) - 1, min(most_frames, len(usable))).round().astype(int)
    before, after = make_before_and_after(source, shifts, frames=usable[np.unique(spread)])
    return before.mean, after.mean
