"""Which pairs contradict the rest, and how much more the others scatter than they state.

Iteratively reweighted least squares: the sum of the residuals' lengths first (least absolute
deviations), which tells their scale; then, if anything contradicts, from a start with the pairs
that short cycles speak for, Geman & McClure's weights with a shrinking width (graduated
non-convexity: Yang et al. 2020, doi:10.1109/LRA.2020.2965893); then in or out.

Residuals count in deviations: what a pair states and what all of its component scatter beyond that,
over the square root of the part of an error that its residual shows. A pair that alone links what
lies on its sides shows nothing and is never out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Ints
from steadystack.solve.system import System

# A residual of more deviations contradicts the rest: by chance, 3 pairs of ten million in 2-D.
OUTLIER = 5.5
# Where no residual of least squares has more stated deviations, nothing can be wrong.
FINE = 8.0
# Less, px, is not the wrong peak of an NCC but a pair that is biased: the common variance's part.
SMALLEST_ERROR = 0.25
# Median of the square of a normal deviate.
MEDIAN_SQUARE = 0.4549364
# Fewer residuals than this do not tell a deviation by themselves.
FEW_RESIDUALS = 8
# Of a pair's error its residual shows at least this part, or it does not count.
LEAST_SHOWN = 1e-6
FEW_PARTS = 50
WIDTHS = (12.0, 8.5, 6.0, 4.2, 3.0)  # of Geman & McClure's weights, deviations
SETTLED = 0.2  # deviations: a step no pair's residual changes more in is the last one
MOST_STEPS = 15
UNSUPPORTED = 1e-4  # weight of a pair that no cycle speaks for, to start with
SMALLEST_WEIGHT = 1e-9  # of a pair that is out, so that every frame keeps a place


@dataclass(frozen=True, eq=False)
class Scatter:
    """How far pairs scatter beyond what they state, per component and axis, from medians.

    `order` sorts the pairs by component; pairs without a say are left out.
    """

    order: NDArray[np.intp]
    variance: NDArray[np.float64]  # (pairs, axes), as stated
    shown: NDArray[np.float64]  # (pairs,), part of an error's variance that its residual shows
    part: NDArray[np.int64]  # (pairs,), component

    @classmethod
    def of(
        cls, part: NDArray[np.int64], variance: NDArray[np.float64], shown: NDArray[np.float64]
    ) -> Scatter:
        telling = np.flatnonzero(shown > LEAST_SHOWN)
        order = telling[np.argsort(part[telling], kind="stable")]
        return cls(order, variance, shown, part)

    def excess(
        self, residual: NDArray[np.float64], among: Bools, mean: bool = False
    ) -> NDArray[np.float64]:
        """Variance (pairs, axes), px², to be added to the stated ones.

        The median of ``r² / shown / 0.455 - stated`` is right whatever the stated variances are,
        and so is the mean without the 0.455: the larger of both, with `mean`, for pairs that hold
        no wrong ones any more. Where few residuals tell it, it may be larger.
        """
        rows = self.order[among[self.order]]
        part, count = self.part[rows], int(self.part.max(initial=-1)) + 1
        shown = self.shown[rows]
        square = residual[rows] ** 2 / shown[:, None]
        found = compute_medians(square / MEDIAN_SQUARE - self.variance[rows], part, count)
        if mean:
            number = np.maximum(np.bincount(part, minlength=count), 1)
            for axis in range(square.shape[1]):
                total = np.bincount(part, square[:, axis] - self.variance[rows, axis], count)
                found[:, axis] = np.maximum(found[:, axis], total / number)
        freedom = np.maximum(np.bincount(part, shown, count), 1)
        found = np.maximum(found, 0) * (1 + FEW_RESIDUALS / freedom[:, None])
        return np.asarray(found[self.part])

    def deviations(
        self, residual: NDArray[np.float64], excess: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Length of every residual in deviations; 0 where it shows nothing."""
        length = np.sqrt((residual**2 / (self.variance + excess)).sum(axis=1))
        shows = self.shown > LEAST_SHOWN
        return np.where(shows, length / np.sqrt(np.where(shows, self.shown, 1)), 0.0)

    def contradict(
        self, residual: NDArray[np.float64], excess: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which pairs lie `OUTLIER` deviations and `SMALLEST_ERROR` or more away from the rest."""
        error = np.linalg.norm(residual, axis=1) / np.maximum(self.shown, LEAST_SHOWN)
        outlying = self.deviations(residual, excess) > OUTLIER
        return np.asarray(outlying & (error > SMALLEST_ERROR), bool)


def compute_medians(
    values: NDArray[np.float64], part: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Median (parts, axes) of the values (rows, axes) of each part; 0 where it has none.

    `part` is sorted. One by one where parts are few: partitioning is faster than sorting.
    """
    found = np.zeros((count, values.shape[1]))
    bounds = np.searchsorted(part, np.arange(count + 1))
    there = np.flatnonzero(np.diff(bounds))
    if count <= FEW_PARTS:
        for one in there:
            found[one] = np.median(values[bounds[one] : bounds[one + 1]], axis=0)
        return found
    low, high = bounds[there], bounds[there + 1]
    for axis in range(values.shape[1]):
        column = values[np.lexsort((values[:, axis], part)), axis]
        found[there, axis] = (column[(low + high - 1) // 2] + column[(low + high) // 2]) / 2
    return found


def find_consistent_pairs(
    system: System,
    part: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> Bools:
    """Which pairs (bool) do not contradict the rest.

    Parameters
    ----------
    system : the graph of all pairs
    part : component of every pair, from 0
    measured, variance : (pairs, axes), px and px²
    """
    everything = np.ones(len(measured), bool)
    if len(measured) == len(system.free):
        return everything  # no pair, or a forest: nothing goes around
    common = variance.mean(axis=1)
    # how much of its error a pair's residual shows, with weights as the residuals ask for
    _, residual, _ = system.fit(np.ones(len(measured)), measured)
    freedom = 1 - len(system.free) / len(measured)
    rough = Scatter.of(part, variance, np.full(len(measured), freedom))
    weights = 1 / (common + rough.excess(residual, everything).mean(axis=1))
    _, residual, solver = system.fit(weights, measured)
    shown = np.clip(1 - weights * solver.variances(*system.ends)[1], 0, 1)
    scatter = Scatter.of(part, variance, shown)
    if (scatter.deviations(residual, np.zeros_like(variance)) <= FINE).all():
        return everything
    return _settle(system, scatter, measured, _descend(system, scatter, measured, residual))


def _descend(
    system: System,
    scatter: Scatter,
    measured: NDArray[np.float64],
    residual: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Residuals (pairs, axes) after steps with ever more selective weights."""
    residual = _reweight(system, scatter, measured, residual, None, MOST_STEPS)
    excess = scatter.excess(residual, np.ones(len(measured), bool))
    if not scatter.contradict(residual, excess).any():
        return residual
    closed = count_closing_cycles(
        system.start,
        system.end,
        system.frame_count,
        measured,
        scatter.variance + excess,
        OUTLIER,
    )
    common = (scatter.variance + excess).mean(axis=1)
    share = np.minimum(closed / ENOUGH, 1) ** 2
    _, residual, _ = system.fit(np.maximum(share, UNSUPPORTED) / common, measured)
    for width in WIDTHS:
        most = MOST_STEPS if width == WIDTHS[-1] else 1
        residual = _reweight(system, scatter, measured, residual, width, most)
    return residual


def _reweight(
    system: System,
    scatter: Scatter,
    measured: NDArray[np.float64],
    residual: NDArray[np.float64],
    width: float | None,
    most: int,
) -> NDArray[np.float64]:
    """Residuals after reweighting until they settle, `most` times.

    The weights are Geman & McClure's of this width, or for None those of absolute deviations.
    """
    everything, common = np.ones(len(measured), bool), scatter.variance.mean(axis=1)
    for _ in range(most):
        excess = scatter.excess(residual, everything)
        length = scatter.deviations(residual, excess)
        if width is None:  # in stated deviations: those of few residuals hide what is wrong
            share = 1 / np.maximum(scatter.deviations(residual, np.zeros_like(excess)), 1)
        else:
            share = 1 / (1 + (length / width) ** 2) ** 2
        weights = np.maximum(share, SMALLEST_WEIGHT) / (common + excess.mean(axis=1))
        before = residual
        _, residual, _ = system.fit(weights, measured)
        if scatter.deviations(residual - before, excess).max() < SETTLED:
            break
    return residual


def _settle(
    system: System,
    scatter: Scatter,
    measured: NDArray[np.float64],
    residual: NDArray[np.float64],
) -> Bools:
    """Which pairs are in: those that agree with a solution of just them."""
    accepted, common = np.ones(len(measured), bool), scatter.variance.mean(axis=1)
    for step in range(MOST_STEPS):
        excess = scatter.excess(residual, accepted, mean=step > 0)
        agree = ~scatter.contradict(residual, excess)
        if step and (agree == accepted).all():
            break
        accepted = agree
        share = np.where(accepted, 1.0, SMALLEST_WEIGHT)
        _, residual, _ = system.fit(share / (common + excess.mean(axis=1)), measured)
    return accepted


# Neighbours of each end of a pair that cycles are looked for over, and cycles that are enough.
TRIANGLES, SQUARES, ENOUGH = 10, 6, 4


@dataclass(frozen=True, eq=False)
class _Steps:
    """Every pair in both directions, sorted by (tail, head)."""

    frame_count: int
    head: NDArray[np.int64]
    key: NDArray[np.int64]
    first: NDArray[np.int64]  # of every frame; one more at the end
    shift: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        start: Ints,
        end: Ints,
        frame_count: int,
        shift: NDArray[np.float64],
        variance: NDArray[np.float64],
    ) -> _Steps:
        tail, head = np.concatenate([start, end]), np.concatenate([end, start])
        key = tail * frame_count + head
        both_ways = np.concatenate([shift, -shift])
        order = np.lexsort((both_ways[:, 0], key))  # nor on the order of pairs of the same frames
        return cls(
            frame_count,
            head[order],
            key[order],
            np.searchsorted(tail[order], np.arange(frame_count + 1)),
            both_ways[order],
            np.concatenate([variance, variance])[order],
        )

    def from_frames(self, frames: Ints, choice: int, choices: int) -> tuple[Bools, Ints]:
        """Whether there is a step of that number from the frames, and which; spread evenly."""
        first, count = self.first[frames], np.diff(self.first)[frames]
        many = count > choices
        # another start for every frame: all their steps are taken in turn
        number = np.where(many, (choice * count // choices + frames) % np.maximum(count, 1), choice)
        return number < count, np.minimum(first + number, len(self.head) - 1)

    def between(self, tails: Ints, heads: Ints) -> tuple[Bools, Ints]:
        """Whether there is a step from tail to head, and which."""
        wanted = tails * self.frame_count + heads
        place = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return self.key[place] == wanted, place


def count_closing_cycles(
    start: Ints,
    end: Ints,
    frame_count: int,
    shift: NDArray[np.float64],
    variance: NDArray[np.float64],
    limit: float,
) -> NDArray[np.int64]:
    """How many short cycles through each pair close to within `limit` deviations.

    Cycles of three pairs, and of four where three make few: a sample, linear in the pairs.

    Parameters
    ----------
    shift, variance : (pairs, axes), px and px²
    """
    # what is found must not depend on which frame of a pair is its reference
    swap = start > end
    start, end = np.where(swap, end, start), np.where(swap, start, end)
    shift = np.where(swap[:, None], -shift, shift)
    steps = _Steps.of(start, end, frame_count, shift, variance)
    seen, closed = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)

    def close(rows: NDArray[np.intp], path: tuple[Ints, ...]) -> None:
        """Steps of `path` lead from the start of the pairs `rows` to their end."""
        away, spread = -shift[rows], variance[rows]
        for step in path:
            away, spread = away + steps.shift[step], spread + steps.variance[step]
        seen[rows] += 1
        closed[rows] += (away**2 / spread).sum(axis=1) <= limit**2

    rows = np.arange(len(start))
    for choice in range(TRIANGLES):
        there, one = steps.from_frames(start, choice, TRIANGLES)
        found, two = steps.between(steps.head[one], end)
        good = np.flatnonzero(there & found & (steps.head[one] != end))
        close(good, (one[good], two[good]))
    rows = np.flatnonzero(seen < ENOUGH)
    for choice in range(SQUARES):
        there, one = steps.from_frames(start[rows], choice, SQUARES)
        near = steps.head[one]
        there &= near != end[rows]
        for other in range(SQUARES):
            back, last = steps.from_frames(end[rows], other, SQUARES)
            far = steps.head[last]
            found, two = steps.between(near, far)
            good = there & back & found & (far != start[rows])
            # the last step leads from the end: the way there is its reverse
            _, three = steps.between(far[good], end[rows[good]])
            close(rows[good], (one[good], two[good], three))
    return closed
