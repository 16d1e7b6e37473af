"""Measure the remaining shifts of boxes of the frame in pairs of frames moved by their fields."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Method
from steadystack.model import FrameSource
from steadystack.motion.fit_tasks import FrameReader, MovedPairs, iterate_pairs, move_by_field
from steadystack.motion.pair_fit import match_contrast
from steadystack.parts import PartGrid, ScoreImage, compute_scores
from steadystack.warp import LocalField

# A box is cut into this many pieces along each axis: their disagreement gives its noise.
CUTS = 4
# A box is usable if its squared gradients are at least this share of the strongest box's.
LEAST_POWER = 0.03
FEWEST_BOXES = 3
# Median over mean of the noise of boxes, with 2 and with CUTS pieces along each axis: that of chi
# squared with (pieces - 1) x axes degrees of freedom. By number of axes.
MEDIAN_CHI = {2: {2: 0.891, CUTS: 0.978}, 3: {2: 0.968, CUTS: 0.996}}


@dataclass(frozen=True)
class BoxGrid:
    """The frame, cut into boxes.

    Attributes
    ----------
    shape : of the frame, pixels
    counts : of boxes along each axis
    """

    shape: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def pieces(self) -> PartGrid:
        """The pieces that boxes are cut into."""
        return PartGrid(
            tuple(
                tuple(round(size * step / (CUTS * count)) for step in range(CUTS * count + 1))
                for size, count in zip(self.shape, self.counts, strict=True)
            )
        )

    @property
    def sides(self) -> NDArray[np.float64]:
        """The sides of a box, pixels."""
        return np.asarray(np.array(self.shape) / np.array(self.counts), np.float64)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The centres of the boxes (boxes, axes), pixels."""
        along = [
            (np.arange(count) + 0.5) * side - 0.5
            for count, side in zip(self.counts, self.sides, strict=True)
        ]
        return np.array(list(product(*along)))

    def gather(self, pieces: NDArray[np.float64]) -> NDArray[np.float64]:
        """Arrange values of pieces (pieces, ...) by box (boxes, pieces of a box, ...)."""
        ndim, rest = len(self.counts), pieces.shape[1:]
        cut = pieces.reshape(*(each for count in self.counts for each in (count, CUTS)), *rest)
        cut = np.moveaxis(cut, range(0, 2 * ndim, 2), range(ndim))
        return np.asarray(cut.reshape(-1, CUTS**ndim, *rest))


@dataclass(frozen=True, eq=False)
class PairsToScore(MovedPairs):
    """Pairs of frames whose fields are known approximately.

    Attributes
    ----------
    field : of `frames`
    boxes : to measure
    """

    field: LocalField
    boxes: BoxGrid


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """The remaining shifts of boxes in pairs; NaN where not known.

    Attributes
    ----------
    step : (pairs, boxes, axes), pixels, to be applied to the moving frame in addition
    variance : of `step` (pairs, boxes, axes), px²
    place : (pairs, boxes, axes), pixels, the centroid of the squared gradients in the box
    """

    step: NDArray[np.float64]
    variance: NDArray[np.float64]
    place: NDArray[np.float64]

    @classmethod
    def unknown(cls, pairs: int, boxes: BoxGrid) -> ScoredPairs:
        """All NaN, for this many pairs."""
        shape = (pairs, int(np.prod(boxes.counts)), len(boxes.shape))
        return cls(*(np.full(shape, np.nan) for _ in range(3)))


def score_pairs(task: PairsToScore, source: FrameSource, method: Method) -> ScoredPairs:
    """Measure the boxes in every pair, on a worker; each frame is read once."""
    reader, scored = FrameReader(source, method), ScoredPairs.unknown(len(task.pairs), task.boxes)

    def move(frame: int) -> ScoreImage | None:
        ready, at = reader.read(frame), task.find(frame)
        return None if ready is None else move_by_field(ready, task.field[at], task.boxes.shape)

    for row, reference, moving in iterate_pairs(task.pairs, move):
        told = measure_boxes(reference, moving, task.boxes, task.get_sign(row))
        if told is not None:
            scored.step[row], scored.variance[row], scored.place[row] = told
    return scored


def measure_boxes(
    reference: ScoreImage, moving: ScoreImage, boxes: BoxGrid, sign: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Measure steps, variances and places (boxes, axes) in a pair; None: too few boxes are usable.

    The variance of a box is the inverse of its information times a noise factor of all boxes. That
    follows from the disagreement of pieces within boxes, which does not depend on a box's shift.

    Parameters
    ----------
    reference, moving : frames, moved by their fields
    sign : -1 if one image is the negative of the other, else 1
    """
    matched = match_contrast(reference, moving)
    if matched is None:
        return None
    ndim = len(boxes.shape)
    scores = compute_scores(reference, matched, np.zeros(ndim), boxes.pieces, sign)
    whole, shared = np.trace(scores.plain.sum(axis=0)), np.trace(scores.shared)
    if shared <= 0 or whole <= 0:
        return None
    score, plain = boxes.gather(scores.score), boxes.gather(scores.plain).sum(axis=1)
    smallest, power = np.linalg.eigvalsh(plain)[:, 0], np.trace(plain, axis1=1, axis2=2) / ndim
    # a volume may have far less detail along z than across, in all its boxes
    most = power.max() if ndim == 2 else smallest.max()
    seen = np.flatnonzero((smallest > LEAST_POWER * most) & (power > LEAST_POWER * power.max()))
    if len(seen) < FEWEST_BOXES:
        return None
    inverse = np.linalg.inv(plain[seen])
    noise, gain = _measure_noise(score[seen], inverse), whole / shared
    step, variance, place = (np.full((len(plain), ndim), np.nan) for _ in range(3))
    step[seen] = -gain * np.einsum("bij,bj->bi", inverse, score[seen].sum(axis=1))
    variance[seen] = gain**2 * noise * np.diagonal(inverse, axis1=1, axis2=2)
    power = boxes.gather(np.trace(scores.plain, axis1=1, axis2=2))[seen]
    middles = boxes.gather(boxes.pieces.centres)[seen]
    place[seen] = (power[..., None] * middles).sum(axis=1) / power.sum(axis=1, keepdims=True)
    return step, variance, place


def _measure_noise(score: NDArray[np.float64], inverse: NDArray[np.float64]) -> float:
    """Measure the noise of the scores of boxes, relative to their information, from their pieces.

    Neighbouring pieces share some noise, more so if they are small. The results with two sizes of
    pieces are therefore extrapolated to large ones.

    Parameters
    ----------
    score : (boxes, pieces, axes)
    inverse : the inverse information of boxes (boxes, axes, axes)
    """
    ndim, found = score.shape[-1], {}
    for cuts, median in MEDIAN_CHI[ndim].items():
        whole = score.reshape(len(score), *(ndim * (cuts, CUTS // cuts)), ndim)
        count = cuts**ndim
        off = whole.sum(axis=tuple(range(2, 2 * ndim + 1, 2))).reshape(len(score), count, ndim)
        off = off - off.mean(axis=1, keepdims=True)
        spread = np.einsum("bpi,bij,bpj->b", off, inverse, off) / ndim * (count / (count - 1))
        found[cuts] = float(np.median(spread)) / median
    return max(2 * found[2] - found[CUTS], found[CUTS])
