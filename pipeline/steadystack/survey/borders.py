"""Find the pixels of a frame that seem to hold no data.

The findings are hints for the user: no result depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools

# Fewest valid pixels of a line that show whether it holds a single value.
LEAST_OF_LINE = 8
# A border must end with a line of which less than this share has its value: it has a straight edge,
# unlike the dark area around an object.
MOST_BEYOND = 0.5
# Pixels of one value stand still if they moved by less than this, pixels; if less than this share
# of those along their edge changed; and if in no frame a larger share of those beside them has the
# value.
MOST_MOVED_PX, MOST_CHANGED, MOST_BESIDE = 0.05, 0.3, 0.2
# Lost pixels are scattered: their neighbours are hardly more often lost than all pixels are (by
# this share of the rest). All but 1 % of the others are far from their value, by this share of the
# median's distance and by this many steps between values.
MOST_TOGETHER, LEAST_APART, LEAST_STEPS = 0.15, 0.25, 4

# A value is far from all others if they are no nearer than this many times the range of 98 % of
# them. The share of the frame that has it is at least the second number, and below the third.
FAR, FREQUENT, MOST_FAR = 1.5, 0.003, 0.6


@dataclass(frozen=True)
class Border:
    """A border of one value, and its width in pixels, per axis that of the wider side."""

    value: float
    widths: tuple[int, ...]


def find_constant_border(image: NDArray[Any], valid: Bools) -> Border | None:
    """Find a border of one value on any side of an image; None if there is none.

    `image` and the boolean `valid` have the same shape. Only whole lines of pixels count, by their
    valid pixels, and only up to a straight edge. A side may be without border, and an image of one
    value has no border.
    """
    values, widths = list[float](), list[int]()
    for axis in range(image.ndim):
        widest = 0
        for order in (1, -1):
            lines = np.moveaxis(image, axis, 0)[::order]
            valid_lines = np.moveaxis(valid, axis, 0)[::order]
            width, value = _count_uniform_lines(lines, valid_lines)
            if width and value is not None and value not in values[:1]:
                values.append(value)
            widest = max(widest, width)
        widths.append(widest)
    if len(values) != 1 or any(
        2 * width >= size for width, size in zip(widths, image.shape, strict=True)
    ):
        return None
    return Border(values[0], tuple(widths))


def _count_uniform_lines(lines: NDArray[Any], valid_lines: Bools) -> tuple[int, float | None]:
    """Count the first lines that hold one value and no other; returns the number and that value.

    `lines` (lines, ...) are pixels, `valid_lines` the booleans that say which of them are valid.
    """
    value: float | None = None
    for width, (line, valid_line) in enumerate(zip(lines, valid_lines, strict=True)):
        pixels = line[valid_line]
        first = pixels[0].item() if pixels.size >= LEAST_OF_LINE else None
        if first is None or (pixels != first).any() or value not in (None, first):
            is_edge = not pixels.size or np.mean(pixels == value) < MOST_BEYOND
            return (width, value) if is_edge else (0, None)
        value = first
    return len(lines), value


def find_frequent_extremes(values: NDArray[Any], least_share: float) -> list[tuple[float, float]]:
    """Find the lowest and the highest value, each with its share of all values.

    Only those are returned whose share is above `least_share` and below 1.
    """
    extremes = []
    for extreme in {values.min().item(), values.max().item()} if values.size else ():
        share = float(np.mean(values == extreme))
        if least_share < share < 1:
            extremes.append((extreme, share))
    return sorted(extremes)


def find_far_value(image: NDArray[Any], valid: Bools) -> tuple[float, float] | None:
    """Find the lowest or highest value, with its share, if it is frequent and far from all others.

    None if there is none. A scene may be saturated, or dark around an object, but then the rest of
    it is not that far away.
    """
    values = image[valid]
    for value, share in find_frequent_extremes(values, FREQUENT):
        others = values[values != value].astype(np.float64)  # integer differences would wrap
        low, high = np.percentile(others, (1, 99))
        nearest = np.abs(others - value).min()
        if share < MOST_FAR and nearest > FAR * (high - low):
            return value, share
    return None


def find_no_data(
    frames: Sequence[tuple[NDArray[Any], Bools]], least_share: float
) -> dict[float, tuple[float, ...]]:
    """Find values that seem to mean "no data", each with its share of the pixels of every frame.

    `frames` are a few of a series, far apart in time: images, and booleans of the same shape that
    say which pixels are valid. A value is found if it is the lowest or the highest of a frame, is
    that of more than `least_share` of its pixels, and if these stand still in the camera while
    other pixels change, or are scattered and far from all others. The dark surroundings of a
    drifting scene are not found.
    """
    varied = [frame for frame in frames if _varies(*frame)]
    candidates = {
        value
        for image, valid in varied
        for value, _ in find_frequent_extremes(image[valid], least_share)
    }
    return {
        value: tuple(_compute_share(image, valid, value) for image, valid in frames)
        for value in sorted(candidates)
        if _stands_still(varied, value, least_share)
        or any(_is_scattered(*frame, value) for frame in varied)
    }


def _varies(image: NDArray[Any], valid: Bools) -> bool:
    """Whether the valid pixels of an image have more than one value."""
    values = image[valid]
    return bool(values.size and values.min() < values.max())


def _compute_share(image: NDArray[Any], valid: Bools, value: float) -> float:
    """Compute the share of the valid pixels that have a value; 0 if none is valid."""
    return float(np.mean(image[valid] == value)) if valid.any() else 0.0


def _stands_still(
    frames: Sequence[tuple[NDArray[Any], Bools]], value: float, least_share: float
) -> bool:
    """Whether the same pixels have a value in all of at least two frames.

    How far they moved shows at the edge of the pixels that have it in all frames: if they stand
    still, two images differ equally when shifted by a pixel to one side or to the other.
    """
    valid = np.logical_and.reduce([valid for _, valid in frames])
    core = np.logical_and.reduce([image == value for image, _ in frames]) & valid
    if len(frames) < 2 or core.sum() <= least_share * valid.sum():
        return False
    if all(np.array_equal(one[valid], other[valid]) for (one, _), (other, _) in pairwise(frames)):
        return False
    near = _widen(core)
    beside = near & ~core & valid
    if any(_compute_share(image, beside, value) > MOST_BESIDE for image, _ in frames):
        return False
    for first, second in pairwise((image == value) & near for image, _ in frames):
        changed, edge = int(((first != second) & valid).sum()), 0.0
        for axis in range(core.ndim):
            ahead = _count_differing(first, second, valid, axis)
            behind = _count_differing(second, first, valid, axis)
            if abs(ahead - behind) > MOST_MOVED_PX * (ahead + behind):
                return False
            edge += (ahead + behind) / 2
        if not edge or changed > MOST_CHANGED * edge:
            return False
    return True


def _widen(chosen: Bools) -> Bools:
    """Widen a region by the pixels beside it, along every axis."""
    wide = chosen.copy()
    for axis in range(chosen.ndim):
        lines, wide_lines = np.moveaxis(chosen, axis, 0), np.moveaxis(wide, axis, 0)
        wide_lines[1:] |= lines[:-1]
        wide_lines[:-1] |= lines[1:]
    return wide


def _count_differing(first: Bools, second: Bools, valid: Bools, axis: int) -> int:
    """Count valid pixels of `first` that differ from those of `second` one pixel further."""
    first, second, valid = (np.moveaxis(array, axis, 0) for array in (first, second, valid))
    return int(((first[:-1] != second[1:]) & valid[:-1] & valid[1:]).sum())


def _is_scattered(image: NDArray[Any], valid: Bools, value: float) -> bool:
    """Whether the pixels of a value are isolated, and no other pixel is nearly as low or high."""
    share = _compute_share(image, valid, value)
    holds = (image == value) & valid
    pairs = holds[..., :-1] & valid[..., 1:]
    together = float(np.mean(holds[..., 1:][pairs])) if pairs.any() else 1.0
    if not share or together > share + MOST_TOGETHER * (1 - share):
        return False
    distances = np.abs(image[valid & ~holds].astype(float) - value)
    nearest, median = np.percentile(distances, [1, 50])
    step = np.diff(np.unique(distances)).min(initial=np.inf)
    return bool(nearest > LEAST_APART * median and nearest > LEAST_STEPS * step)
