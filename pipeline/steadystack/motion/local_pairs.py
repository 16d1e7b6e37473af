"""What boxes of the frame say of the shifts that are left between frames moved by their fields."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import Method
from steadystack.model import FrameSource
from steadystack.motion.fit_tasks import FrameReader, MovedPairs, go_through_pairs
from steadystack.motion.moved_images import move_by_field
from steadystack.motion.pair_fit import match_contrast
from steadystack.parts import PartGrid, ScoreImage, compute_scores
from steadystack.warp import LocalField

# A box is cut so often along each axis: the disagreement of its pieces is its noise.
CUTS = 4
# A box tells something if it has this share of the gradients of the one that has most.
LEAST_POWER = 0.03
FEWEST_BOXES = 3
# Median over mean of the noise of boxes, from halves along each axis and from all pieces: of chi
# squared with as many degrees of freedom as pieces less one, times axes. By axes.
MEDIAN_CHI = {2: {2: 0.891, CUTS: 0.978}, 3: {2: 0.968, CUTS: 0.996}}


@dataclass(frozen=True)
class BoxGrid:
    """The frame, cut into boxes: so many along each axis."""

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
        """The middles of the boxes (boxes, axes), pixels."""
        along = [
            (np.arange(count) + 0.5) * side - 0.5
            for count, side in zip(self.counts, self.sides, strict=True)
        ]
        return np.array(list(product(*along)))

    def gather(self, pieces: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is told of pieces (pieces, ...), by box (boxes, pieces of a box, ...)."""
        ndim, rest = len(self.counts), pieces.shape[1:]
        cut = pieces.reshape(*(each for count in self.counts for each in (count, CUTS)), *rest)
        cut = np.moveaxis(cut, range(0, 2 * ndim, 2), range(ndim))
        return np.asarray(cut.reshape(-1, CUTS**ndim, *rest))


@dataclass(frozen=True, eq=False)
class PairsToScore(MovedPairs):
    """Pairs of frames whose fields are known about.

    Attributes
    ----------
    field : of these frames
    boxes : that are asked
    """

    field: LocalField
    boxes: BoxGrid


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """What has to be applied to moving frames beyond what was, (pairs, boxes, axes) pixels.

    With its variance, px², and the place that it is of: where in the box there is something to see,
    in the mean, pixels. NaN where not known.
    """

    step: NDArray[np.float64]
    variance: NDArray[np.float64]
    place: NDArray[np.float64]

    @classmethod
    def unknown(cls, pairs: int, boxes: BoxGrid) -> ScoredPairs:
        """Nothing known of so many pairs."""
        shape = (pairs, int(np.prod(boxes.counts)), len(boxes.shape))
        return cls(*(np.full(shape, np.nan) for _ in range(3)))


def score_pairs(task: PairsToScore, source: FrameSource, method: Method) -> ScoredPairs:
    """Ask the boxes of every pair, on a worker; each frame is read once."""
    reader, scored = FrameReader(source, method), ScoredPairs.unknown(len(task.pairs), task.boxes)

    def move(frame: int) -> ScoreImage | None:
        ready, at = reader.read(frame), task.find(frame)
        return None if ready is None else move_by_field(ready, task.field[at], task.boxes.shape)

    for row, reference, moving in go_through_pairs(task.pairs, move):
        told = ask_boxes(reference, moving, task.boxes, task.get_sign(row))
        if told is not None:
            scored.step[row], scored.variance[row], scored.place[row] = told
    return scored


def ask_boxes(
    reference: ScoreImage, moving: ScoreImage, boxes: BoxGrid, sign: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """The steps, variances and places (boxes, axes) of a pair; None: too little is seen.

    The noise of scores goes by the information of a box, times what the disagreement of pieces
    within boxes, which no shift of a box changes, says for all boxes together.
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
    # along z a volume may have far less detail than across it, and all boxes of it alike
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
    """Measure the noise of boxes' scores, over their information, by the spread of their pieces.

    Pieces beside each other share some of it: the more, the smaller they are. What those of two
    sizes say is extrapolated to pieces as large as can be.

    Parameters
    ----------
    score : (boxes, pieces, axes)
    inverse : of the information of boxes (boxes, axes, axes)
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
