"""What each part of the frame adds to the fit of a pair at its shift: the scores.

The shift of a pair is, near the peak, that of a least-squares fit of one image to the other. Its
score, gradient times difference, is a sum over pixels, and so over parts: what a part adds, over
the information of the whole, is the step by which it moves the whole's shift. The steps of all
parts sum to nothing at the best shift; their spread is the error of it by the infinitesimal
jackknife (Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, ch. 6), whatever the
cause: noise, a scene that changes, an object that goes its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats, Slices
from steadystack.parts.grid import PartGrid
from steadystack.parts.smoothing import ScoreImage

# Scores are those of one filter, the shift that of one that is fitted to the pair: where there is
# nothing but noise the steps are too large by about this.
FILTER_EXCESS = 1.15
# With fewer parts their spread says nothing.
FEWEST_PARTS = 4
# Values that are gone through at a time: what fits the cache.
CHUNK = 2**16
# Of so many pixels the information is summed, about; of more, every so many lines.
SAMPLE = 2**13
# From about so many the mean difference is.
LEVEL_SAMPLE = 2**12


@dataclass(frozen=True, eq=False)
class PartScores:
    """Sums over the pixels of a pair, by part; those of several regions of the frame add.

    Attributes
    ----------
    score : (parts, axes), gradient times difference
    plain : (parts, axes, axes), the gradients' products, noise included
    shared : (axes, axes), those of one image's gradient with the other's: without the noise
    """

    score: NDArray[np.float64]
    plain: NDArray[np.float64]
    shared: NDArray[np.float64]

    def add(self, other: PartScores) -> PartScores:
        """The sums over two regions together."""
        return PartScores(
            self.score + other.score, self.plain + other.plain, self.shared + other.shared
        )

    def compute_steps(self, moves: Sequence[bool]) -> NDArray[np.float64]:
        """Compute by how much each part moves the shift of the whole (parts, axes), pixels.

        They are the steps at the best shift that the scores know, where they sum to nothing.

        Parameters
        ----------
        moves : the axes along which anything may move; along others a step is 0

        Returns NaN where the images show too little to tell.
        """
        axes = np.flatnonzero(moves)
        steps = np.zeros(self.score.shape)
        if not len(axes):
            return steps
        score, plain = self.score[:, axes], self.plain[:, axes[:, None], axes]
        shared, whole = self.shared[np.ix_(axes, axes)], plain.sum(axis=0)
        try:
            np.linalg.cholesky(np.stack([shared, whole]))  # both are positive definite
        except np.linalg.LinAlgError:
            return np.full(self.score.shape, np.nan)
        best = np.linalg.solve(whole, score.sum(axis=0))
        steps[:, axes] = np.linalg.solve(shared, (plain @ best - score).T).T / FILTER_EXCESS
        return steps


def compute_jackknife_std(steps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute the error of a shift (..., axes) from the steps of its parts (..., parts, axes).

    Parts that are NaN in all axes are none; NaN with fewer than `FEWEST_PARTS`.
    """
    known = np.asarray(np.isfinite(steps).all(axis=-1, keepdims=True))
    count = known.sum(axis=-2)
    parts = np.where(known, steps, 0).astype(np.float64)
    enough = np.maximum(count, 2)
    off = np.where(known, parts - (parts.sum(axis=-2) / enough)[..., None, :], 0)
    variance = (off**2).sum(axis=-2) * (enough / (enough - 1))
    return np.asarray(np.where(count >= FEWEST_PARTS, np.sqrt(variance), np.nan))


def compute_scores(
    reference: ScoreImage, moving: ScoreImage, shift: Floats, grid: PartGrid, sign: int = 1
) -> PartScores:
    """Sum what each part of a region adds to the fit of a pair at a shift.

    Parameters
    ----------
    shift : that lays the moving frame on the reference (axes,), pixels
    grid : of the reference frame
    sign : -1 where one image is the other's negative
    """
    ndim, parts = len(shift), int(np.prod(grid.shape))
    plain = np.zeros((parts, ndim, ndim))
    here, there = _find_overlap(reference, moving, np.rint(shift).astype(int))
    if any(side.stop - side.start < 3 for side in here):
        return PartScores(np.zeros((parts, ndim)), plain, np.zeros((ndim, ndim)))
    first, second = reference.values[here], moving.values[there]
    if sign < 0:
        second = -second
    weights = (
        None if reference.weights is None else reference.weights[here],
        None if moving.weights is None else moving.weights[there],
    )
    level = _estimate_difference(first, second, weights)
    bounds = [
        np.clip(np.array(edges) - begin - side.start, 0, side.stop - side.start)
        for edges, begin, side in zip(grid.edges, reference.begin, here, strict=True)
    ]
    chunks = _ChunkSums(first.shape, max(CHUNK // int(np.prod(first.shape[1:])), 1), level)
    by_slab = np.zeros((ndim, grid.shape[0], *first.shape[1:]))
    for slab, (low, high) in enumerate(zip(bounds[0][:-1], bounds[0][1:], strict=True)):
        # the first and the last line lack a neighbour
        begin, end = max(int(low), 1), min(int(high), len(first) - 1)
        if begin < end:
            lines = slice(begin - 1, end + 1)
            pixels = first[lines], second[lines], _multiply_weights(weights, lines)
            chunks.add_scores(by_slab[:, slab], *pixels)
    score = _split(by_slab, bounds[1:]).reshape(ndim, parts).T / 4
    products, shared = _sum_information(first, second, weights, bounds)
    for product, (a, b) in zip(products, _list_pairs(ndim), strict=True):
        plain[:, a, b] = plain[:, b, a] = product.ravel()
    return PartScores(score, plain, shared)


def _list_pairs(ndim: int) -> list[tuple[int, int]]:
    """The pairs of axes, each once."""
    return [(a, b) for a in range(ndim) for b in range(a, ndim)]


def _split(sums: NDArray[np.float64], bounds: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    """Sum along every axis but the first two by part."""
    for axis, ends in enumerate(bounds, 2):
        lines = np.moveaxis(sums, axis, 0)
        parts = [lines[low:high].sum(axis=0) for low, high in pairwise(ends.tolist())]
        sums = np.stack(parts, axis=axis)
    return sums


class _ChunkSums:
    """Sums of slopes times differences over lines, chunk by chunk of what fits the cache.

    A line is what lies at one place of the first axis.
    """

    def __init__(self, shape: Sequence[int], lines: int, level: float) -> None:
        self.ndim, self.lines, self.level = len(shape), lines, np.float32(level)
        self.strides = [int(np.prod(shape[axis + 1 :])) for axis in range(self.ndim)]
        self.both, self.difference = np.empty((2, lines + 2, *shape[1:]), np.float32)
        self.slope = np.empty((lines, *shape[1:]), np.float32)

    def add_scores(
        self, sums: NDArray[np.float64], first: Floats, second: Floats, weights: Floats | None
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
            if weights is not None:
                difference *= weights[inner]
            _clear_ends(difference)
            slope, line = self.slope[: count - 2], self.strides[0]
            for axis, stride in enumerate(self.strides):
                # where a neighbour is missing, the slope is whatever lies there in memory
                after, before = both[line + stride :], both[line - stride :]
                np.subtract(after[: slope.size], before[: slope.size], out=slope.ravel())
                sums[axis] += np.einsum("i...,i...->...", slope, difference)


def _sum_information(
    first: Floats,
    second: Floats,
    weights: tuple[Floats | None, Floats | None],
    bounds: Sequence[NDArray[np.intp]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum products of slopes over a sample of the lines but the first and the last.

    Returns those of the mean of both images' slopes by part (pairs of axes, ...), and those of
    one's with the other's (axes, axes).
    """
    count = len(first) - 2
    step = max(min(first.size // SAMPLE, count // 12), 1)
    ones, others = (_find_slopes(image, step) for image in (first, second))
    for slope in (*ones, *others):
        _clear_ends(slope)
    means = [one + other for one, other in zip(ones, others, strict=True)]
    weighted, both = means, _multiply_weights(weights, slice(1, -1, step))
    if both is not None:
        weighted = [np.asarray(slope * both) for slope in means]
        ones = [np.asarray(slope * both) for slope in ones]
    sampled = np.clip(-(-(bounds[0] - 1) // step), 0, len(ones[0]))
    by_slab = [
        [np.einsum("i...,i...->...", weighted[a][low:high], means[b][low:high])
         for low, high in pairwise(sampled.tolist())]
        for a, b in _list_pairs(first.ndim)
    ]  # fmt: skip
    # no call of BLAS, whose sums depend on the number of threads
    shared = np.array(
        [[float(np.einsum("i,i->", one.ravel(), other.ravel())) for other in others]
         for one in ones]
    )  # fmt: skip
    scale = count / len(ones[0])
    plain = _split(np.array(by_slab, np.float64), bounds[1:])
    return plain * (scale / 16), (shared + shared.T) * (scale / 8)


def _along(axis: int, what: slice | int) -> tuple[slice | int, ...]:
    """The index of something along one axis."""
    return (*(slice(None),) * axis, what)


def _clear_ends(image: Floats) -> None:
    """Set to 0 what lacks a neighbour along an axis, but the first."""
    for axis in range(1, image.ndim):
        image[_along(axis, 0)] = image[_along(axis, -1)] = 0


def _find_slopes(image: Floats, step: int) -> list[Floats]:
    """Twice the slope along each axis, on every so many lines but the first and the last.

    Where a neighbour is missing it is 0.
    """
    slopes: list[Floats] = [image[2::step] - image[:-2:step]]
    lines = image[1:-1:step]
    for axis in range(1, image.ndim):
        slope = np.zeros_like(lines)
        after, before = lines[_along(axis, slice(2, None))], lines[_along(axis, slice(None, -2))]
        np.subtract(after, before, out=slope[_along(axis, slice(1, -1))])
        slopes.append(slope)
    return slopes


def _find_overlap(
    reference: ScoreImage, moving: ScoreImage, shift: NDArray[np.int64]
) -> tuple[Slices, Slices]:
    """Where the reference and the moving region show the same, at a shift of whole pixels."""
    here, there = [], []
    for lag, begin, size, moving_begin, moving_size in zip(
        shift.tolist(), reference.begin, reference.values.shape, moving.begin, moving.values.shape,
        strict=True,
    ):  # fmt: skip
        first = max(begin, moving_begin + lag)
        last = max(min(begin + size, moving_begin + moving_size + lag), first)
        here.append(slice(first - begin, last - begin))
        there.append(slice(first - lag - moving_begin, last - lag - moving_begin))
    return tuple(here), tuple(there)


def _multiply_weights(weights: tuple[Floats | None, Floats | None], lines: slice) -> Floats | None:
    """The weights of both images together, on some lines; None: they are all 1."""
    one, other = weights
    if one is None or other is None:
        both = other if one is None else one
        return None if both is None else both[lines]
    return np.asarray(one[lines] * other[lines])


def _estimate_difference(
    first: Floats, second: Floats, weights: tuple[Floats | None, Floats | None]
) -> float:
    """Estimate the mean difference of two images, from a sample of their pixels."""
    step = max(int((first.size / LEVEL_SAMPLE) ** (1 / first.ndim)), 1)
    every = (slice(None, None, step),) * first.ndim
    difference = first[every] - second[every]
    sampled = [image[every] for image in weights if image is not None]
    if not sampled:
        return float(difference.mean(dtype=np.float64))
    both = np.prod(sampled, axis=0, dtype=np.float64)
    total = float(both.sum())
    return float((difference * both).sum()) / total if total else 0.0
