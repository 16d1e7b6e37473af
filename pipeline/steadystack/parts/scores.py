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
CHUNK = 2**17
# Of how many of these the information is summed, about; of more, every so many lines.
SAMPLE = 2**12


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
        if not (np.linalg.eigvalsh(shared)[0] > 0 and np.linalg.eigvalsh(whole)[0] > 0):
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
    sums = PartScores(
        np.zeros((parts, ndim)), np.zeros((parts, ndim, ndim)), np.zeros((ndim, ndim))
    )
    here, there = _find_overlap(reference, moving, np.rint(shift).astype(int))
    if any(side.stop - side.start < 3 for side in here):
        return sums
    first, second = reference.values[here], moving.values[there]
    if sign < 0:
        second = -second
    weights = _multiply_weights(reference.weights, moving.weights, here, there)
    level = np.float32(_estimate_difference(first, second, weights))
    bounds = [
        np.clip(np.array(edges) - begin - side.start, 0, side.stop - side.start)
        for edges, begin, side in zip(grid.edges, reference.begin, here, strict=True)
    ]
    score = sums.score.reshape(*grid.shape, ndim)
    plain = sums.plain.reshape(*grid.shape, ndim, ndim)
    size = max(CHUNK // int(np.prod(first.shape[1:])), 1)
    for slab, (low, high) in enumerate(zip(bounds[0][:-1], bounds[0][1:], strict=True)):
        total = _SlabSums(ndim)
        last = min(int(high), len(first) - 1)  # the first and the last line lack a neighbour
        for begin in range(max(int(low), 1), last, size):
            chunk = slice(begin - 1, min(begin + size, last) + 1)
            total.add(
                first[chunk], second[chunk], level, None if weights is None else weights[chunk]
            )
        if total.lines:
            score[slab] += np.moveaxis(_split(total.score, bounds[1:]), 0, -1) / 4
            halves = _split(total.plain, bounds[1:]) / 16
            for number, (a, b) in enumerate(_list_pairs(ndim)):
                plain[slab][..., a, b] = plain[slab][..., b, a] = halves[number]
            sums.shared[...] += total.shared + total.shared.T
    return sums


def _list_pairs(ndim: int) -> list[tuple[int, int]]:
    """The pairs of axes, each once."""
    return [(a, b) for a in range(ndim) for b in range(a, ndim)]


def _split(sums: NDArray[np.float64], bounds: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    """Sum along every axis but the first by part."""
    for axis, ends in enumerate(bounds, 1):
        lines = np.cumsum(sums, axis=axis)
        lines = np.concatenate([np.zeros_like(lines.take([0], axis)), lines], axis=axis)
        sums = np.diff(lines.take(ends, axis), axis=axis)
    return sums


class _SlabSums:
    """Sums over the lines of the parts that lie beside each other; the other axes are left.

    A line is what lies at one place of the first axis. The information is summed over a sample of
    the lines of each chunk.
    """

    def __init__(self, ndim: int) -> None:
        self.ndim, self.lines = ndim, 0
        self.score: Any = 0.0  # (axes, ...)
        self.plain: Any = 0.0  # (pairs of axes, ...)
        self.shared = np.zeros((ndim, ndim))

    def add(self, first: Floats, second: Floats, level: np.float32, weights: Floats | None) -> None:
        """Add a chunk, which has a line more on both sides than is summed."""
        self.lines += len(first) - 2
        self._add_score(first, second, level, weights)
        self._add_information(first, second, weights)

    def _add_score(
        self, first: Floats, second: Floats, level: np.float32, weights: Floats | None
    ) -> None:
        both, difference = (first + second).ravel(), first - second
        difference -= level
        if weights is not None:
            difference *= weights
        _clear_ends(difference)
        difference = difference[1:-1]
        strides = [int(np.prod(first.shape[axis + 1 :])) for axis in range(self.ndim)]
        self.score = self.score + np.array(
            [
                np.einsum("i...,i...->...", _find_slope(both, stride, difference), difference)
                for stride in strides
            ],
            np.float64,
        )

    def _add_information(self, first: Floats, second: Floats, weights: Floats | None) -> None:
        lines = len(first) - 2
        step = max(min(first.size // SAMPLE, lines // 4), 1)
        axes = range(self.ndim)
        ones, others = (_find_slopes(image, step) for image in (first, second))
        means = [one + other for one, other in zip(ones, others, strict=True)]
        weighted = [mean.copy() for mean in means]
        for slopes in (ones, weighted):
            for slope in slopes:
                _clear_ends(slope)
                if weights is not None:
                    slope *= weights[1:-1:step]
        scale = lines / len(ones[0])
        plain = [
            np.einsum("i...,i...->...", weighted[a], means[b]) for a, b in _list_pairs(self.ndim)
        ]
        self.plain = self.plain + scale * np.array(plain, np.float64)
        for a in axes:
            for b in axes:
                self.shared[a, b] += scale * float(np.vdot(ones[a], others[b])) / 8


def _clear_ends(image: Floats) -> None:
    """Set to 0 what lacks a neighbour along an axis, but the first."""
    for axis in range(1, image.ndim):
        lines = np.moveaxis(image, axis, 0)
        lines[0] = lines[-1] = 0


def _find_slope(flat: Floats, stride: int, like: Floats) -> Floats:
    """Twice the slope along an axis, of a flat chunk without its first and last line.

    Where a neighbour is missing, it is whatever lies there in memory.
    """
    line = (len(flat) - like.size) // 2
    stop = len(flat) - line
    slope = flat[line + stride : stop + stride] - flat[line - stride : stop - stride]
    return np.asarray(slope.reshape(like.shape))


def _find_slopes(chunk: Floats, step: int) -> list[Floats]:
    """Twice the slope along each axis, on every so many lines of a chunk but the first and last.

    Where a neighbour is missing it is 0.
    """
    slopes: list[Floats] = [chunk[2::step] - chunk[:-2:step]]
    lines = chunk[1:-1:step]
    for axis in range(1, chunk.ndim):
        slope = np.zeros_like(lines)
        target, values = np.moveaxis(slope, axis, 0), np.moveaxis(lines, axis, 0)
        np.subtract(values[2:], values[:-2], out=target[1:-1])
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


def _multiply_weights(
    reference: Floats | None, moving: Floats | None, here: Slices, there: Slices
) -> Floats | None:
    if reference is None or moving is None:
        return (
            reference[here]
            if reference is not None
            else moving[there]
            if moving is not None
            else None
        )
    return np.asarray(reference[here] * moving[there])


def _estimate_difference(first: Floats, second: Floats, weights: Floats | None) -> float:
    """Estimate the mean difference of two images, from a sample of their pixels."""
    every = tuple(slice(None, None, 1 + size // 128) for size in first.shape)
    difference = first[every] - second[every]
    if weights is None:
        return float(difference.mean(dtype=np.float64))
    total = float(weights[every].sum(dtype=np.float64))
    return float((difference * weights[every]).sum(dtype=np.float64)) / total if total else 0.0
