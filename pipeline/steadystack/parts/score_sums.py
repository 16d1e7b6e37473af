"""Sum over the pixels of a pair, part by part: scores, and the information of the slopes.

A slope is the difference of a pixel's two neighbours along an axis, twice the gradient. Pixels at
the ends of an axis have one neighbour only, and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats

# Values processed at a time, so that they fit the cache.
CHUNK = 2**16
# The information is summed over about this many pixels: of larger frames, over every n-th line.
SAMPLE = 2**13
# Products of up to this many lines are added in single precision.
SINGLE_LINES = 256

# Bounds of the parts along each axis, pixels, from 1 to the size less 1.
Bounds = Sequence[NDArray[np.intp]]
Weights = tuple[Floats | None, Floats | None]  # of the pixels of both images; None: all 1


def sum_scores(
    first: Floats, second: Floats, weights: Weights, bounds: Bounds, level: float
) -> NDArray[np.float64]:
    """Sum the added slopes of both images times their difference, by part (axes, *parts).

    Parameters
    ----------
    first, second : the overlapping regions of both images, of equal shape
    bounds : of the parts, in pixels of these regions, without the first and the last pixel
    level : the mean difference of the images, which is subtracted
    """
    if weights[0] is None and weights[1] is None:
        return _sum_plain(first, second, bounds, level)
    chunks = _ChunkSums(first.shape, level)
    by_slab = np.zeros((first.ndim, len(bounds[0]) - 1, *first.shape[1:]))
    for slab, (low, high) in enumerate(pairwise(bounds[0].tolist())):
        if low < high:
            lines = slice(low - 1, high + 1)
            both = multiply_weights(weights, lines)
            assert both is not None
            chunks.add_scores(by_slab[:, slab], first[lines], second[lines], both)
    for axis, ends in enumerate(bounds[1:], 2):
        by_slab = _sum_parts(by_slab, axis, ends)
    return by_slab


def _sum_plain(first: Floats, second: Floats, bounds: Bounds, level: float) -> NDArray[np.float64]:
    """Sum scores where all weights are 1 (axes, *parts).

    With images f and g and their mean difference l, the score of a pixel is
    (f' - f" + g' - g")(f - g - l), where ' marks the next neighbour along the axis and " the
    previous one. In a sum along the axis the products of an image with itself cancel except at both
    ends; 2 (f g' - f' g) remains: two products of whole images, and no differences.
    """
    crossed = 2 * _sum_crossed(first, second, bounds[0])
    for axis, parts in enumerate(bounds[1:], 2):
        crossed = _sum_parts(crossed, axis, parts)
    for axis, sums in enumerate(crossed):
        # the pixels on both sides of each bound
        places = _along(axis, np.array([bounds[axis] - 1, bounds[axis]]))
        (one, one_after), (other, other_after) = (
            np.moveaxis(image[places], axis, 0) for image in (first, second)
        )
        ends = (one_after - other_after - level) * (one + other)
        ends -= level * (one_after + other_after)
        for along, parts in enumerate(bounds):
            if along != axis:
                ends = _sum_parts(ends, along, parts)
        sums += _subtract_neighbours(ends, axis)
    return crossed


def _sum_crossed(first: Floats, second: Floats, bounds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum f g' - f' g over the lines of each part of the first axis (axes, parts, ...).

    Along the other axes the last pixel, which has no next neighbour, is 0.
    """
    sums = np.zeros((first.ndim, len(bounds) - 1, *first.shape[1:]))
    for part, (low, high) in enumerate(pairwise(bounds.tolist())):
        for begin in range(low, high, SINGLE_LINES):
            end = min(begin + SINGLE_LINES, high)
            one, other = first[begin : end + 1], second[begin : end + 1]
            for axis in range(first.ndim):
                if axis == 1:  # from here on the neighbour is on the same line
                    one, other = one[:-1], other[:-1]
                here, after = _along(axis, slice(None, -1)), _along(axis, slice(1, None))
                products = [
                    np.einsum("i...,i...->...", image[here], neighbour[after])
                    for image, neighbour in ((one, other), (other, one))
                ]
                sums[(axis, part, *here[1:])] += products[0] - products[1]
    return sums


def _sum_parts(values: NDArray[Any], axis: int, bounds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum along an axis, part by part; `bounds` are 1 or more."""
    sums = values.cumsum(axis, dtype=np.float64)[_along(axis, bounds - 1)]
    return _subtract_neighbours(sums, axis)


def _subtract_neighbours(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Subtract from each value the previous one along an axis; faster than `numpy.diff`."""
    after, before = _along(axis, slice(1, None)), _along(axis, slice(None, -1))
    return np.asarray(values[after] - values[before])


class _ChunkSums:
    """Sum slopes times differences over lines, in chunks that fit the cache.

    A line is all pixels at one position of the first axis.
    """

    def __init__(self, shape: Sequence[int], level: float) -> None:
        lines = max(CHUNK // int(np.prod(shape[1:])), 1)
        self.ndim, self.lines, self.level = len(shape), lines, np.float32(level)
        self.strides = [int(np.prod(shape[axis + 1 :])) for axis in range(self.ndim)]
        self.both, self.difference = np.empty((2, lines + 2, *shape[1:]), np.float32)
        self.slope = np.empty((lines, *shape[1:]), np.float32)

    def add_scores(
        self, sums: NDArray[np.float64], first: Floats, second: Floats, weights: Floats
    ) -> None:
        """Add those of the lines but the first and the last to `sums` (axes, ...)."""
        for begin in range(0, len(first) - 2, self.lines):
            chunk = slice(begin, min(begin + self.lines, len(first) - 2) + 2)
            count = chunk.stop - begin
            both = np.add(first[chunk], second[chunk], out=self.both[:count]).ravel()
            difference = self.difference[: count - 2]
            inner = slice(begin + 1, chunk.stop - 1)
            np.subtract(first[inner], second[inner], out=difference)
            difference -= self.level
            difference *= weights[inner]
            _clear_ends(difference)
            slope, line = self.slope[: count - 2], self.strides[0]
            for axis, stride in enumerate(self.strides):
                # at the ends slopes are wrong (from adjacent memory), but the difference is 0 there
                after, before = both[line + stride :], both[line - stride :]
                np.subtract(after[: slope.size], before[: slope.size], out=slope.ravel())
                sums[axis] += np.einsum("i...,i...->...", slope, difference)


def sum_information(
    first: Floats, second: Floats, weights: Weights, bounds: Bounds
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum products of gradients over a sample of the lines, without the first and the last.

    Returns those of the mean of both images' gradients by part (axes, axes, *parts), and those of
    one image's with the other's (axes, axes).
    """
    count = len(first) - 2
    step = max(min(first.size // SAMPLE, count // 12), 1)
    ones, others = (_find_slopes(image, step) for image in (first, second))
    means = ones + others
    weighted, both = means, multiply_weights(weights, slice(1, -1, step))
    if both is not None:
        weighted = means * both
        ones *= both
    sampled = np.clip(-(-(bounds[0] - 1) // step), 0, ones.shape[1])
    # not with BLAS: its sums depend on the number of threads
    plain = np.stack(
        [np.einsum("ai...,bi...->ab...", weighted[:, low:high], means[:, low:high])
         for low, high in pairwise(sampled.tolist())],
        axis=2,
    ).astype(np.float64)  # fmt: skip
    for axis, ends in enumerate(bounds[1:], 3):
        plain = _sum_parts(plain, axis, ends)
    lines = (first.ndim, -1)
    shared = np.einsum("ai,bi->ab", ones.reshape(lines), others.reshape(lines)).astype(np.float64)
    scale = count / ones.shape[1]
    return plain * (scale / 16), (shared + shared.T) * (scale / 8)


def multiply_weights(weights: Weights, lines: slice) -> Floats | None:
    """Multiply the weights of both images, on some lines; None: all are 1."""
    one, other = weights
    if one is None or other is None:
        both = other if one is None else one
        return None if both is None else both[lines]
    return np.asarray(one[lines] * other[lines])


def _along(axis: int, what: Any) -> tuple[Any, ...]:
    """Make an index that selects `what` along one axis."""
    return (*(slice(None),) * axis, what)


def _clear_ends(image: Floats) -> None:
    """Set the pixels at the ends of every axis except the first to 0."""
    for axis in range(1, image.ndim):
        image[_along(axis, 0)] = image[_along(axis, -1)] = 0


def _find_slopes(image: Floats, step: int) -> Floats:
    """Find the slopes along each axis (axes, ...) on every `step`-th line, from the second on.

    The last line is left out. At the ends of an axis slopes are 0.
    """
    lines = image[1:-1:step]
    slopes = np.zeros((image.ndim, *lines.shape), image.dtype)
    np.subtract(image[2::step], image[:-2:step], out=slopes[0])
    for axis in range(1, image.ndim):
        after, before = lines[_along(axis, slice(2, None))], lines[_along(axis, slice(None, -2))]
        np.subtract(after, before, out=slopes[axis][_along(axis, slice(1, -1))])
    for slope in slopes:
        _clear_ends(slope)
    return slopes
