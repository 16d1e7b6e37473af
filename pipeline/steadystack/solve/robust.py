"""Find pairs that contradict the rest, and how much more the others scatter than stated.

Iteratively reweighted least squares: first the sum of the residuals' lengths is minimized (least
absolute deviations), which gives their scale; then, if any pair contradicts the rest, Geman-McClure
weights are used with a shrinking width (graduated non-convexity: Yang et al. 2020,
doi:10.1109/LRA.2020.2965893), starting with the pairs that short cycles support; in the end every
pair is in or out.

Residuals are measured in standard deviations: the stated deviation of the pair combined with the
excess scatter of its component, times the square root of the fraction of an error's variance that
the residual shows. A pair that is the only link between its two sides shows nothing of its error
and is never rejected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Ints
from steadystack.solve.system import System

# A residual of more deviations contradicts the rest; by chance 3 pairs in ten million do, in 2-D.
OUTLIER = 5.5
# If no least-squares residual exceeds this many stated deviations, no pair is wrong.
FINE = 8.0
# An error below this, px, is not a wrong peak but a bias, which the common variance covers.
SMALLEST_ERROR = 0.25
# Median of the square of a standard normal variable.
MEDIAN_SQUARE = 0.4549364
# With fewer residuals than this, a deviation cannot be estimated from them alone.
FEW_RESIDUALS = 8
# A pair whose residual shows less than this fraction of its error does not count.
LEAST_SHOWN = 1e-6
FEW_COMPONENTS = 50  # up to so many, medians are taken one component after another
WIDTHS = (12.0, 8.5, 6.0, 4.2, 3.0)  # of Geman & McClure's weights, deviations
SETTLED = 0.2  # deviations: a step that changes no residual by more is the last one
MOST_STEPS = 15
UNSUPPORTED = 1e-4  # relative weight, to start with, of a pair that no cycle supports
SMALLEST_WEIGHT = 1e-9  # relative weight of a pair that is out, so that every frame is solved for


@dataclass(frozen=True, eq=False)
class Scatter:
    """The scatter of pairs beyond their stated variances, per component and axis, from medians."""

    order: NDArray[np.intp]  # rows of pairs whose residuals show anything, sorted by component
    variance: NDArray[np.float64]  # (pairs, axes), px², as stated
    shown: NDArray[np.float64]  # (pairs,), fraction of an error's variance that its residual shows
    component: NDArray[np.int64]  # (pairs,), number of the pair's component

    @classmethod
    def make(
        cls, component: NDArray[np.int64], variance: NDArray[np.float64], shown: NDArray[np.float64]
    ) -> Scatter:
        """Sort the pairs whose residuals show anything by component."""
        rows = np.flatnonzero(shown > LEAST_SHOWN)
        order = rows[np.argsort(component[rows], kind="stable")]
        return cls(order, variance, shown, component)

    def estimate_excess(
        self, residual: NDArray[np.float64], among: Bools, mean: bool = False
    ) -> NDArray[np.float64]:
        """Estimate the variance (pairs, axes), px², to be added to the stated ones.

        `residual` is (pairs, axes), px; only the pairs in `among` (bool) count. The median of ``r²
        / shown / 0.455 - stated`` is right whatever the stated variances are, and so is the mean
        without the 0.455; with `mean`, which assumes that no wrong pairs are left, the larger of
        the two is taken. With few residuals the estimate is uncertain, and raised for that.
        """
        rows = self.order[among[self.order]]
        component, count = self.component[rows], int(self.component.max(initial=-1)) + 1
        shown = self.shown[rows]
        square = residual[rows] ** 2 / shown[:, None]
        excess = compute_medians(square / MEDIAN_SQUARE - self.variance[rows], component, count)
        if mean:
            number = np.maximum(np.bincount(component, minlength=count), 1)
            for axis in range(square.shape[1]):
                total = np.bincount(component, square[:, axis] - self.variance[rows, axis], count)
                excess[:, axis] = np.maximum(excess[:, axis], total / number)
        freedom = np.maximum(np.bincount(component, shown, count), 1)
        excess = np.maximum(excess, 0) * (1 + FEW_RESIDUALS / freedom[:, None])
        return np.asarray(excess[self.component])

    def compute_deviations(
        self, residual: NDArray[np.float64], excess: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Compute the length of every residual in deviations (pairs,); 0 if it shows nothing."""
        length = np.sqrt((residual**2 / (self.variance + excess)).sum(axis=1))
        shows = self.shown > LEAST_SHOWN
        return np.where(shows, length / np.sqrt(np.where(shows, self.shown, 1)), 0.0)

    def find_contradicting(
        self, residual: NDArray[np.float64], excess: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Find the pairs (bool) more than `OUTLIER` deviations and `SMALLEST_ERROR` px off."""
        error = np.linalg.norm(residual, axis=1) / np.maximum(self.shown, LEAST_SHOWN)
        outlying = self.compute_deviations(residual, excess) > OUTLIER
        return np.asarray(outlying & (error > SMALLEST_ERROR), bool)


def compute_medians(
    values: NDArray[np.float64], component: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Compute the median (count, axes) of values (rows, axes) by component; 0 where there is none.

    `component` (rows,) is sorted. A few components are partitioned one by one, which is faster than
    sorting all values.
    """
    medians = np.zeros((count, values.shape[1]))
    bounds = np.searchsorted(component, np.arange(count + 1))
    filled = np.flatnonzero(np.diff(bounds))
    if count <= FEW_COMPONENTS:
        for number in filled:
            medians[number] = np.median(values[bounds[number] : bounds[number + 1]], axis=0)
        return medians
    low, high = bounds[filled], bounds[filled + 1]
    for axis in range(values.shape[1]):
        column = values[np.lexsort((values[:, axis], component)), axis]
        medians[filled, axis] = (column[(low + high - 1) // 2] + column[(low + high) // 2]) / 2
    return medians


def find_consistent_pairs(
    system: System,
    component: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> Bools:
    """Find the pairs (bool) that do not contradict the rest.

    Parameters
    ----------
    system : the graph of all pairs
    component : (pairs,), number of every pair's component, from 0
    measured, variance : (pairs, axes), px and px²
    """
    all_pairs = np.ones(len(measured), bool)
    if len(measured) == len(system.free):
        return all_pairs  # no pair, or a forest: without cycles nothing contradicts
    common = variance.mean(axis=1)
    # the fraction of its error that a pair's residual shows, at weights that fit the residuals
    _, residual, _ = system.fit(np.ones(len(measured)), measured)
    freedom = 1 - len(system.free) / len(measured)
    rough = Scatter.make(component, variance, np.full(len(measured), freedom))
    weights = 1 / (common + rough.estimate_excess(residual, all_pairs).mean(axis=1))
    _, residual, solver = system.fit(weights, measured)
    shown = np.clip(1 - weights * solver.compute_variances(*system.ends)[1], 0, 1)
    scatter = Scatter.make(component, variance, shown)
    if (scatter.compute_deviations(residual, np.zeros_like(variance)) <= FINE).all():
        return all_pairs
    return _settle(system, scatter, measured, _descend(system, scatter, measured, residual))


def _descend(
    system: System,
    scatter: Scatter,
    measured: NDArray[np.float64],
    residual: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute residuals (pairs, axes) after steps with ever more selective weights."""
    residual = _reweight(system, scatter, measured, residual, None, MOST_STEPS)
    excess = scatter.estimate_excess(residual, np.ones(len(measured), bool))
    if not scatter.find_contradicting(residual, excess).any():
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
    most_steps: int,
) -> NDArray[np.float64]:
    """Reweight until residuals (pairs, axes) settle, `most_steps` times at most; return them.

    The weights are Geman-McClure's of this width; None: those of least absolute deviations.
    """
    all_pairs, common = np.ones(len(measured), bool), scatter.variance.mean(axis=1)
    for _ in range(most_steps):
        excess = scatter.estimate_excess(residual, all_pairs)
        length = scatter.compute_deviations(residual, excess)
        if width is None:  # in stated deviations: with few residuals the excess hides wrong pairs
            share = 1 / np.maximum(scatter.compute_deviations(residual, np.zeros_like(excess)), 1)
        else:
            share = 1 / (1 + (length / width) ** 2) ** 2
        weights = np.maximum(share, SMALLEST_WEIGHT) / (common + excess.mean(axis=1))
        before = residual
        _, residual, _ = system.fit(weights, measured)
        if scatter.compute_deviations(residual - before, excess).max() < SETTLED:
            break
    return residual


def _settle(
    system: System,
    scatter: Scatter,
    measured: NDArray[np.float64],
    residual: NDArray[np.float64],
) -> Bools:
    """Find the pairs (bool) that agree with the solution of these pairs alone."""
    accepted, common = np.ones(len(measured), bool), scatter.variance.mean(axis=1)
    for step in range(MOST_STEPS):
        excess = scatter.estimate_excess(residual, accepted, mean=step > 0)
        agree = ~scatter.find_contradicting(residual, excess)
        if step and (agree == accepted).all():
            break
        accepted = agree
        share = np.where(accepted, 1.0, SMALLEST_WEIGHT)
        _, residual, _ = system.fit(share / (common + excess.mean(axis=1)), measured)
    return accepted


# How many neighbours of a pair's frames are tried for cycles of three and of four pairs, and how
# many closing cycles are enough.
TRIANGLES, SQUARES, ENOUGH = 10, 6, 4


@dataclass(frozen=True, eq=False)
class _DirectedPairs:
    """Every pair in both directions, from tail to head, sorted by (tail, head)."""

    frame_count: int
    head: NDArray[np.int64]  # frame
    key: NDArray[np.int64]  # tail * frame_count + head
    first: NDArray[np.int64]  # (frames + 1,), row of the first with that tail
    shift: NDArray[np.float64]  # (rows, axes), px
    variance: NDArray[np.float64]  # (rows, axes), px²

    @classmethod
    def make(
        cls,
        start: Ints,
        end: Ints,
        frame_count: int,
        shift: NDArray[np.float64],
        variance: NDArray[np.float64],
    ) -> _DirectedPairs:
        tail, head = np.concatenate([start, end]), np.concatenate([end, start])
        key = tail * frame_count + head
        both_ways = np.concatenate([shift, -shift])
        # sorted by shift, too, so that results do not depend on the order of pairs of two frames
        order = np.lexsort((both_ways[:, 0], key))
        return cls(
            frame_count,
            head[order],
            key[order],
            np.searchsorted(tail[order], np.arange(frame_count + 1)),
            both_ways[order],
            np.concatenate([variance, variance])[order],
        )

    def choose_from(self, frames: Ints, choice: int, choices: int) -> tuple[Bools, Ints]:
        """Choose one directed pair from each of the frames: whether there is one, and its row.

        Choices 0 to `choices` - 1 are different pairs, spread evenly over those of a frame.
        """
        first, count = self.first[frames], np.diff(self.first)[frames]
        are_many = count > choices
        # each frame starts at another one, so that over many frames all pairs are used equally
        index = np.where(
            are_many, (choice * count // choices + frames) % np.maximum(count, 1), choice
        )
        return index < count, np.minimum(first + index, len(self.head) - 1)

    def find_between(self, tails: Ints, heads: Ints) -> tuple[Bools, Ints]:
        """Find a directed pair from each tail to its head: whether there is one, and its row."""
        sought = tails * self.frame_count + heads
        position = np.minimum(np.searchsorted(self.key, sought), len(self.key) - 1)
        return self.key[position] == sought, position


def count_closing_cycles(
    start: Ints,
    end: Ints,
    frame_count: int,
    shift: NDArray[np.float64],
    variance: NDArray[np.float64],
    limit: float,
) -> NDArray[np.int64]:
    """Count the short cycles through each pair that close to within `limit` deviations (pairs,).

    A sample, linear in the number of pairs: cycles of three pairs, and of four for pairs in few
    cycles of three.

    Parameters
    ----------
    shift, variance : (pairs, axes), px and px²
    """
    # the count must not depend on which of its frames is a pair's reference
    swap = start > end
    start, end = np.where(swap, end, start), np.where(swap, start, end)
    shift = np.where(swap[:, None], -shift, shift)
    directed = _DirectedPairs.make(start, end, frame_count, shift, variance)
    counted, closed = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)

    def count_cycles(rows: NDArray[np.intp], path: tuple[Ints, ...]) -> None:
        """Count cycles of the pairs `rows` with a `path` of directed pairs from start to end."""
        closing_error, spread = -shift[rows], variance[rows]
        for step in path:
            closing_error, spread = (
                closing_error + directed.shift[step],
                spread + directed.variance[step],
            )
        counted[rows] += 1
        closed[rows] += (closing_error**2 / spread).sum(axis=1) <= limit**2

    rows = np.arange(len(start))
    for choice in range(TRIANGLES):
        has_first, first = directed.choose_from(start, choice, TRIANGLES)
        is_joined, second = directed.find_between(directed.head[first], end)
        in_cycle = np.flatnonzero(has_first & is_joined & (directed.head[first] != end))
        count_cycles(in_cycle, (first[in_cycle], second[in_cycle]))
    rows = np.flatnonzero(counted < ENOUGH)
    for choice in range(SQUARES):
        has_first, first = directed.choose_from(start[rows], choice, SQUARES)
        near = directed.head[first]
        has_first &= near != end[rows]
        for other in range(SQUARES):
            has_last, last = directed.choose_from(end[rows], other, SQUARES)
            far = directed.head[last]
            is_joined, second = directed.find_between(near, far)
            in_cycle = has_first & has_last & is_joined & (far != start[rows])
            # `last` leads away from the end: the third step of the path is its reverse
            _, third = directed.find_between(far[in_cycle], end[rows[in_cycle]])
            count_cycles(rows[in_cycle], (first[in_cycle], second[in_cycle], third))
    return closed
