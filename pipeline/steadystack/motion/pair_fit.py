"""Measure the remaining motion between two frames that were moved by their known motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats, FrameTable
from steadystack.parts import PartGrid, ScoreImage, compute_scores
from steadystack.warp import LocalField, find_middle, make_affine

# A frame is cut into about this many cells along an axis, each with its own weight.
CELLS, SMALLEST_CELL = 12, {2: 4, 3: 2}  # the latter in pixels, by number of axes
# Groups of cells along an axis, for the jackknife error; the groups repeat.
GROUPS = {2: 6, 3: 4}
# Cells whose residuals exceed this many standard deviations have weight 0 (Tukey's biweight).
BIWEIGHT = 6.0
WEIGHING_STEPS = 3
MEDIAN_LENGTH = {2: 1.1774, 3: 1.5382}  # of a standard normal vector, by number of axes
LEAST_LEFT = 0.25
# If the weighted slope of the biweight is less than this share of the weights, all weights are 1.
LEAST_SLOPE = 0.1
FEWEST_CELLS = 12


@dataclass(frozen=True, eq=False)
class PairFit:
    """The remaining motion, to be applied to the moving frame in addition.

    Attributes
    ----------
    step : (coefficients,) pixels: of the generators, then the shift
    group_step : (groups, coefficients) pixels, by how much each group of cells moves it
    """

    step: NDArray[np.float64]
    group_step: NDArray[np.float64]


def choose_cell_sides(shape: Sequence[int]) -> tuple[int, ...]:
    """Choose the sides of cells, pixels: squares in images; in volumes axis by axis."""
    smallest = SMALLEST_CELL[len(shape)]
    if len(shape) == 2:
        return (max(max(shape) // CELLS, smallest),) * 2
    return tuple(max(size // CELLS, smallest) for size in shape)


def make_cells(image: ScoreImage, sides: Sequence[int]) -> tuple[PartGrid, NDArray[np.intp]]:
    """Cut a moved frame into the cells of a lattice; returns these and their groups (cells,)."""
    groups, edges, numbers = GROUPS[len(sides)], [], []
    for begin, size, side in zip(image.begin, image.values.shape, sides, strict=True):
        low, high = begin // side, -(-(begin + size) // side)
        edges.append(tuple(side * number for number in range(low, high + 1)))
        numbers.append(np.arange(low, high) // (CELLS // groups) % groups)
    group = np.ravel_multi_index(np.meshgrid(*numbers, indexing="ij"), (groups,) * len(sides))
    return PartGrid(tuple(edges)), group.ravel()


def fit_pair(
    reference: ScoreImage,
    moving: ScoreImage,
    middle: Floats,
    generators: NDArray[np.float64],
    sides: Sequence[int],
    sign: int = 1,
) -> PairFit | None:
    """Fit the remaining motion to the scores of the cells; None: too little detail.

    Parameters
    ----------
    reference, moving : frames, moved by their known motion
    middle : the centre of the linear motion (axes,), pixels of the anchor
    generators : (generators, axes, axes), per pixel
    sides : of a cell along each axis, pixels
    sign : -1 if one image is the negative of the other, else 1
    """
    ndim = len(sides)
    grid, group = make_cells(reference, sides)
    matched = match_contrast(reference, moving)
    if matched is None:
        return None
    scores = compute_scores(reference, matched, np.zeros(ndim), grid, sign)
    whole, shared = np.trace(scores.plain.sum(axis=0)), np.trace(scores.shared)
    power = np.trace(scores.plain, axis1=1, axis2=2)
    seen = np.flatnonzero(power > 1e-3 * power.max())
    if shared <= 0 or whole <= 0 or len(seen) < FEWEST_CELLS:
        return None
    score, plain = scores.score[seen], scores.plain[seen]
    place = grid.centres[seen] - middle
    linear = np.einsum("gij,cj->cig", generators, place)
    basis = np.concatenate([linear, np.tile(np.eye(ndim), (len(seen), 1, 1))], axis=2)
    left = np.zeros_like(score)
    for _ in range(WEIGHING_STEPS):
        weight, stiffness = _weigh(left, power[seen])
        information = np.einsum("c,cia,cij,cjb->ab", weight, basis, plain, basis)
        projected = np.einsum("c,cia,ci->a", weight, basis, score)
        try:
            step = -np.linalg.solve(information, projected)
        except np.linalg.LinAlgError:
            return None
        left = score + np.einsum("cij,cja,a->ci", plain, basis, step)
    moves = -np.linalg.solve(information, np.einsum("c,cia,ci->ac", weight, basis, left))
    of_cells = np.einsum("c,cia,cij,cjb->cab", weight, basis, plain, basis)
    shares = np.einsum("ab,cba->ca", np.linalg.inv(information), of_cells)
    group_step, share = np.zeros((2, GROUPS[ndim] ** ndim, len(step)))
    np.add.at(group_step, group[seen], moves.T)
    np.add.at(share, group[seen], shares)
    # corrects for the noise in the gradients, which adds no information
    gain = whole / shared
    group_step *= gain * stiffness / np.sqrt(np.clip(1 - share, LEAST_LEFT, 1))
    return PairFit(gain * step, group_step)


def match_contrast(reference: ScoreImage, moving: ScoreImage) -> ScoreImage | None:
    """Give the moving frame the mean and contrast of the reference; None: no contrast in common.

    Both are measured where the frames overlap. A difference of contrast would look like a
    magnification.
    """
    here, there = [], []
    for begin, other, size, other_size in zip(
        reference.begin, moving.begin, reference.values.shape, moving.values.shape, strict=True
    ):
        low, high = max(begin, other), min(begin + size, other + other_size)
        if high - low < 3:
            return None
        here.append(slice(low - begin, high - begin))
        there.append(slice(low - other, high - other))
    first, second = reference.values[tuple(here)], moving.values[tuple(there)]
    weights: NDArray[Any] = np.ones(first.shape, np.float32)
    for image, region in ((reference, here), (moving, there)):
        if image.weights is not None:
            weights = weights * image.weights[tuple(region)]
    total = float(weights.sum(dtype=np.float64))
    if not total:
        return None
    moments = []
    for values in (first, second):
        weighted = weights * values
        mean = float(weighted.sum(dtype=np.float64)) / total
        square = (
            float(np.einsum("i,i->", weighted.ravel(), values.ravel(), dtype=np.float64)) / total
        )
        moments.append((mean, square - mean**2))
    (mean, variance), (other_mean, other_variance) = moments
    if min(variance, other_variance) <= 0:
        return None
    scale = np.sqrt(variance / other_variance)
    values = ((moving.values - other_mean) * scale + mean).astype(np.float32)
    return ScoreImage(values, moving.weights, moving.begin)


def _weigh(
    left: NDArray[np.float64], power: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Compute weights of cells, 0..1, from the residuals of their scores (cells, axes).

    Also returns the factor by which errors are larger than with fixed weights, as the weights
    depend on the residuals. If the cells with most detail are outliers, the fit is undetermined:
    then all weights are 1, and the disagreement of the cells gives the error.
    """
    distance = np.sqrt((left**2).sum(axis=1) / power)
    scale = np.median(distance) / MEDIAN_LENGTH[left.shape[1]]
    if not scale:
        return np.ones(len(left)), 1.0
    square = np.minimum((distance / (BIWEIGHT * scale)) ** 2, 1)
    weight = (1 - square) ** 2
    slope = weight - 2 * square * (1 - square)  # of the score, mean over its directions
    held, all_held = float((slope * power).sum()), float((weight * power).sum())
    if held < LEAST_SLOPE * all_held:
        return np.ones(len(left)), 1.0
    return weight, max(all_held / held, 1.0)


def predict_shifts(
    places: NDArray[np.float64], ends: tuple[int, int], solved: FrameTable, shape: Sequence[int]
) -> NDArray[np.float64]:
    """Predict the shifts (places, axes) of a pair at places in its reference, pixels.

    They follow from the local motion of its two frames, or else from the linear one; NaN where it
    is not known. `shape` is that of a frame.
    """
    if np.isfinite(solved.local_shift).any():
        still, moving = (LocalField(solved.nodes, solved.local_shift[frame]) for frame in ends)
        laid = still.lay(places)
        return np.asarray(places - (laid - moving.at_places(laid)))
    affine = make_affine(solved.linear[list(ends)], solved.shift[list(ends)], find_middle(shape))
    if not np.isfinite(affine).all():
        return np.full_like(places, np.nan)
    lays = np.linalg.inv(affine[0]) @ affine[1]  # positions in the moving frame on the reference
    come_from = np.linalg.solve(lays[:-1, :-1], (places - lays[:-1, -1]).T).T
    return np.asarray(places - come_from)
