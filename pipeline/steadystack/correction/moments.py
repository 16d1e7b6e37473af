"""Compute mean, deviation and maximum of moved frames incrementally; join batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.correction.chunks import Regions
from steadystack.correction.regions import CorrectionPlan, move_region, write_levels
from steadystack.model import Bools
from steadystack.outputs import PyramidSpec, explaining_write_errors, write_region
from steadystack.readers import StackSpec

# The images computed from moments, with their data types; "": that of the frames' values.
IMAGES = {"mean": "", "sum": "<f8", "std": "", "count": "<u4", "maximum": ""}
# Bytes of the moments of a pixel, without and with weights.
MOMENT_BYTES, WEIGHTED_BYTES = 28, 44
# About how many pixels the rows hold that are processed at a time.
BAND_PIXELS = 2**17


@dataclass(eq=False)
class FrameMoments:
    """Weighted moments, per pixel, of the frames so far in which the pixel is known.

    All arrays have the shape of a frame.

    Attributes
    ----------
    count : how many frames (uint32)
    mean : their weighted mean (float64); 0 where there is none
    spread : sum over frames of the weight times the squared distance from the mean (float64)
    maximum : the largest value, of the frames' data type; -inf where there is none
    weight, squared_weight : sums of the weights and of their squares (float64); None: every weight
        is 1, and both are the count
    """

    count: NDArray[np.uint32]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    maximum: NDArray[np.floating[Any]]
    weight: NDArray[np.float64] | None = None
    squared_weight: NDArray[np.float64] | None = None

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: np.dtype[Any], weighted: bool) -> FrameMoments:
        """The moments of no frame; `dtype` is that of the frames' values, a floating one."""
        moments = cls(
            np.zeros(shape, np.uint32), np.zeros(shape), np.zeros(shape),
            np.full(shape, -np.inf, dtype),
        )  # fmt: skip
        if weighted:
            moments.weight, moments.squared_weight = np.zeros(shape), np.zeros(shape)
        return moments

    def add(self, image: NDArray[np.floating[Any]], known: Bools, weight: float = 1.0) -> None:
        """Add a frame, in place; its pixels count where `known`, with this weight above 0."""
        for band in _cut_into_bands(self.count.shape):
            values, counted = image[band], known[band]
            before = (self.count if self.weight is None else self.weight)[band].astype(np.float64)
            ratio = np.where(counted, weight / (before + weight), 0.0)
            distance = np.where(counted, values, 0) - self.mean[band]
            self.mean[band] += ratio * distance
            # w d (d - w d / W) = w d^2 (1 - w / W), with W the sum of the weights so far.
            self.spread[band] += np.where(counted, weight, 0.0) * (1 - ratio) * distance**2
            np.copyto(self.maximum[band], np.maximum(self.maximum[band], values), where=counted)
            self.count[band] += counted
            if self.weight is not None and self.squared_weight is not None:
                self.weight[band] += np.where(counted, weight, 0.0)
                self.squared_weight[band] += np.where(counted, weight**2, 0.0)

    def join(self, other: FrameMoments) -> FrameMoments:
        """The moments of the frames of both (Chan, Golub, LeVeque 1979); both stay as they are."""
        mean, spread = self.mean.copy(), self.spread.copy()
        for band in _cut_into_bands(self.count.shape):
            own, others = (
                (each.count if each.weight is None else each.weight)[band].astype(np.float64)
                for each in (self, other)
            )
            total = own + others
            ratio = np.divide(others, total, out=np.zeros_like(total), where=total > 0)
            distance = other.mean[band] - mean[band]
            mean[band] += ratio * distance
            spread[band] += other.spread[band] + own * ratio * distance**2
        joined = FrameMoments(
            self.count + other.count, mean, spread, np.maximum(self.maximum, other.maximum)
        )
        if self.weight is not None and other.weight is not None:
            joined.weight = self.weight + other.weight
        if self.squared_weight is not None and other.squared_weight is not None:
            joined.squared_weight = self.squared_weight + other.squared_weight
        return joined

    def compute(self, name: str) -> NDArray[Any]:
        """Compute one of `IMAGES`; NaN where it is not known."""
        if name == "count":
            return self.count
        known = self.count > 0
        dtype = np.dtype(IMAGES[name] or self.maximum.dtype)
        values: NDArray[Any] = self.mean
        if name == "maximum":
            values = self.maximum
        elif name == "sum":
            values = self.mean * (self.count if self.weight is None else self.weight)
        elif name == "std":
            values, known = self._compute_deviation(), self.count > 1
        return np.where(known, values, np.nan).astype(dtype)

    def _compute_deviation(self) -> NDArray[np.float64]:
        """Compute the standard deviation of a frame, unbiased also for unequal weights.

        For frames of equal variance, the expected weighted spread is that variance times ``W -
        sum(w^2) / W``, which is ``count - 1`` if all weights are 1.
        """
        if self.weight is None or self.squared_weight is None:
            freedom = self.count.astype(np.float64) - 1
        else:
            at_least = np.where(self.weight > 0, self.weight, 1)
            freedom = self.weight - self.squared_weight / at_least
        variance = np.divide(
            self.spread, freedom, out=np.zeros_like(self.spread), where=freedom > 0
        )
        return np.sqrt(np.maximum(variance, 0))


def _cut_into_bands(shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Cut an image into bands of rows, so that temporary arrays are small."""
    *leading, rows, columns = shape
    step = max(BAND_PIXELS // max(columns, 1), 1)
    return [
        (*index, slice(first, first + step))
        for index in np.ndindex(*leading)
        for first in range(0, rows, step)
    ]


@dataclass(frozen=True, eq=False)
class MeanWork:
    """What the tasks of a mean need to know.

    Attributes
    ----------
    moving : how frames are moved, in floating numbers; its regions are the frames of a box that are
        read at a time
    target : the image that is written
    boxes : the boxes of pixels, (c, z, y, x)
    batches : the frames of every task, a range of them
    weights : (frames,) 0: the frame does not count
    """

    moving: CorrectionPlan
    target: PyramidSpec
    boxes: Regions
    batches: tuple[range, ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SteadyMean:
    """A planned mean.

    Attributes
    ----------
    path : where it will be
    work : what the tasks need
    attributes : of the group in the store
    task_bytes : memory of a task
    """

    path: str
    work: MeanWork
    attributes: dict[str, Any]
    task_bytes: int

    @property
    def source(self) -> StackSpec:
        """The stack whose frames are moved."""
        return self.work.moving.source

    @property
    def counted(self) -> int:
        """How many frames have a weight above 0."""
        return int(np.count_nonzero(self.work.weights))

    @property
    def tasks(self) -> int:
        """How many tasks add up frames."""
        return len(self.work.boxes) * len(self.work.batches)


def is_weighted(weights: NDArray[np.float64]) -> bool:
    """Whether frames that count have different weights."""
    return bool(((weights != 0) & (weights != 1)).any())


BoxMoments = tuple[int, FrameMoments]  # the number of a box, and its moments


def add_up_frames(item: tuple[int, range], work: MeanWork) -> BoxMoments:
    """Move a batch of frames, (number of the box, frames), and add them up; each is read once."""
    number, batch = item
    moving, box = work.moving, work.boxes.get_slices(number)
    channels = box[0].stop - box[0].start if "c" in work.target.axes else 1
    spatial = dict(zip(work.target.axes, box, strict=True))
    sides = (spatial[axis].stop - spatial[axis].start for axis in moving.source.spatial)
    dtype = np.dtype(work.target.dtype)
    moments = FrameMoments.empty((channels, *sides), dtype, is_weighted(work.weights))
    step = moving.regions.sides[0]
    for start in range(batch.start, batch.stop, step):
        frames = range(start, min(start + step, batch.stop))
        if not work.weights[frames.start : frames.stop].any():
            continue
        images, known = move_region(moving, (slice(frames.start, frames.stop), *box))
        for index, frame in enumerate(frames):
            if work.weights[frame]:
                moments.add(images[index], known[index], float(work.weights[frame]))
    return number, moments


def join_parts(first: BoxMoments, second: BoxMoments) -> BoxMoments:
    """Join the moments of two batches of frames of one box."""
    return first[0], first[1].join(second[1])


def write_box(part: BoxMoments, work: MeanWork) -> list[int]:
    """Write the images of a box; returns how many of its pixels any frame shows."""
    number, moments = part
    target, box = work.target, work.boxes.get_slices(number)
    known = moments.count > 0
    with explaining_write_errors(target.path):
        for name, _ in target.others:
            level = replace(target.levels[0], name=name)
            write_region(target, level, box, moments.compute(name))
        mean = moments.compute("mean")
        write_levels(target, work.moving.source.spatial, box, mean[None], known[None])
    return [int(np.count_nonzero(known))]


def get_images(part: BoxMoments, work: MeanWork) -> list[NDArray[Any]]:
    """Get the images of a box, in the order of `list_images`."""
    return [part[1].compute(name) for name, _ in list_images(work)]


def list_images(work: MeanWork) -> list[tuple[str, str]]:
    """List the images that are written, each with its data type."""
    return [("mean", work.target.dtype), *work.target.others]
