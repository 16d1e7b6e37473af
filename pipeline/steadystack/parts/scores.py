"""Scores: the contributions of the parts of the frame to the fit of a pair at its shift.

Near the peak, the shift of a pair is that of a least-squares fit of one image to the other. Its
score, gradient times difference, is a sum over pixels, and so over parts. A part's score, divided
by the information of the whole frame, is the step by which the part moves the shift of the whole.
At the best shift the steps of all parts sum to 0, and their spread gives the error of the shift by
the infinitesimal jackknife (Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans,
ch. 6), whatever its cause: noise, a scene that changes, an object that moves independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats, Slices
from steadystack.parts.grid import PartGrid
from steadystack.parts.score_sums import Weights, sum_information, sum_scores
from steadystack.parts.smoothing import ScoreImage

# Scores use a fixed filter, whereas the shift uses one fitted to the pair: if noise is the only
# error, the steps are too large by about this factor.
FILTER_EXCESS = 1.15
# With fewer parts there is no jackknife error.
FEWEST_PARTS = 4
# The mean difference is estimated from about this many pixels.
LEVEL_SAMPLE = 2**12


@dataclass(frozen=True, eq=False)
class PartScores:
    """Sums over the pixels of a pair, by part; those of several regions of the frame are additive.

    Attributes
    ----------
    score : (parts, axes), gradient times difference
    plain : (parts, axes, axes), products of the mean gradients, which include noise
    shared : (axes, axes), products of one image's gradients with the other's, without noise
    """

    score: NDArray[np.float64]
    plain: NDArray[np.float64]
    shared: NDArray[np.float64]

    def add(self, other: PartScores) -> PartScores:
        """Add the sums over another region."""
        return PartScores(
            self.score + other.score, self.plain + other.plain, self.shared + other.shared
        )

    def compute_steps(self, moves: Sequence[bool]) -> NDArray[np.float64]:
        """Compute by how much each part moves the shift of the whole (parts, axes), pixels.

        See `compute_steps_of_pairs`.
        """
        return np.asarray(compute_steps_of_pairs([self], moves)[0])


def compute_steps_of_pairs(
    pairs: Sequence[PartScores], moves: Sequence[bool]
) -> NDArray[np.float64]:
    """Compute by how much each part moves the shift of each pair (pairs, parts, axes), pixels.

    They are taken at the best shift according to the scores, where they sum to 0. NaN for pairs
    without enough detail.

    Parameters
    ----------
    pairs : the scores of the pairs, all of the same grid
    moves : for each axis, whether shifts along it are measured; along others the steps are 0
    """
    axes = np.flatnonzero(moves)
    score, plain, shared = (
        np.stack([getattr(scores, name) for scores in pairs])
        for name in ("score", "plain", "shared")
    )
    steps = np.zeros(score.shape)
    if not len(axes):
        return steps
    score, plain = score[..., axes], plain[..., axes[:, None], axes]
    shared, whole = shared[:, axes[:, None], axes], plain.sum(axis=1)
    told = (np.linalg.eigvalsh(np.stack([shared, whole])) > 0).all(axis=(0, 2))
    shared[~told] = whole[~told] = np.eye(len(axes))
    best = np.linalg.solve(whole, score.sum(axis=1)[..., None])
    off = np.einsum("...ab,...b->...a", plain, best[:, None, :, 0]) - score
    steps[..., axes] = np.linalg.solve(shared, off.swapaxes(1, 2)).swapaxes(1, 2) / FILTER_EXCESS
    steps[~told] = np.nan
    return steps


def compute_jackknife_std(steps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute the error of a shift (..., axes) from the steps of its parts (..., parts, axes).

    Parts with a NaN along any axis do not count; NaN with fewer than `FEWEST_PARTS` others.
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
    """Compute the scores of the parts of a region for a pair at a shift.

    Parameters
    ----------
    shift : lays the moving frame on the reference (axes,), pixels; rounded to whole pixels
    grid : the parts of the reference frame
    sign : -1 if one image is the negative of the other, else 1
    """
    ndim, parts = len(shift), int(np.prod(grid.shape))
    here, there = _find_overlap(reference, moving, np.rint(shift).astype(int))
    if any(side.stop - side.start < 3 for side in here):
        nothing = np.zeros((parts, ndim)), np.zeros((parts, ndim, ndim)), np.zeros((ndim, ndim))
        return PartScores(*nothing)
    first, second = reference.values[here], moving.values[there]
    if sign < 0:
        second = -second
    weights = (
        None if reference.weights is None else reference.weights[here],
        None if moving.weights is None else moving.weights[there],
    )
    level = _estimate_difference(first, second, weights)
    bounds = [
        np.clip(np.array(edges) - begin - side.start, 1, side.stop - side.start - 1)
        for edges, begin, side in zip(grid.edges, reference.begin, here, strict=True)
    ]
    score = sum_scores(first, second, weights, bounds, level).reshape(ndim, parts).T / 4
    plain, shared = sum_information(first, second, weights, bounds)
    return PartScores(score, plain.reshape(ndim, ndim, parts).transpose(2, 0, 1), shared)


def _find_overlap(
    reference: ScoreImage, moving: ScoreImage, shift: NDArray[np.int64]
) -> tuple[Slices, Slices]:
    """Find the slices of both regions that overlap at a shift of whole pixels."""
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


def _estimate_difference(first: Floats, second: Floats, weights: Weights) -> float:
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
