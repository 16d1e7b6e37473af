"""Choose extra pairs where the measured ones leave the pair graph weak.

A component that broke off, a cut through the series that few pairs cross, a frame with few pairs:
each needs pairs not yet measured, the closest in time first. The most needed pairs come first, so
that a limited budget is spent where it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.model import NO_COMPONENT, Bools, Floats, Ints

# A cut through the series, or a frame, is weak if the solution uses fewer of its pairs than this,
# and at most the fraction WEAK of those planned; it then gets the missing pairs. Among this many
# pairs a wrong one is certain to be found.
CUT_PAIRS, FRAME_PAIRS, WEAK = 6, 4, 0.5
# A frame is also weak if its deviation is BULGE times that of its best neighbours, among this many
# on each side; it then gets this many pairs.
BULGE, NEIGHBOURS, BULGE_PAIRS = 1.5, 3, 2
# How many frames on each side of a weak cut or frame may get pairs.
FAR = 32

Pair: TypeAlias = tuple[int, int]
Candidate: TypeAlias = tuple[int, int, int, Pair]  # importance, round, order


def choose_extra_pairs(
    pairs: Ints,
    used: Bools,
    component: Ints,
    readable: Bools,
    budget: int,
    *,
    std: Floats | None = None,
    within_reach: Callable[[int, int], bool] = lambda reference, moving: True,
) -> NDArray[np.int64]:
    """Choose at most `budget` further pairs to measure, the most needed first.

    First one pair for every component that broke off, to the closest frames of another one; then
    more of these, and some across every cut through the series that few pairs cross; then pairs of
    frames that have few, or are known less well than the frames on both sides, with the closest
    well-known frames. Components, cuts and frames take turns. No pair is added where the graph is
    as strong as planned.

    Parameters
    ----------
    pairs : integer array (pairs, 2), those that were measured
    used : bool array (pairs,), whether the solution uses them
    component : integer array (frames,), component of every frame; `NO_COMPONENT`: no pair that fits
    readable : bool array (frames,), whether anything can be measured in a frame
    std : array (frames,), standard deviations of the shifts; None: not considered
    within_reach : whether, as far as is known, the search can find the shift of a pair

    Returns
    -------
    integer array (added, 2), the earlier frame first; no pair of `pairs`, in either order
    """
    graph = _Graph(pairs, used, component, readable, within_reach)
    candidates = [
        *_find_joints(graph),
        *_find_cuts(graph),
        *_find_weak_frames(
            graph, _find_bulging(component, std) if std is not None else np.zeros(0, np.int64)
        ),
    ]
    chosen = list(dict.fromkeys(pair for *_, pair in sorted(candidates)))
    return np.array(chosen[: max(budget, 0)], np.int64).reshape(-1, 2)


class _Graph:
    """The measured (planned) pairs, and how many of them the solution uses."""

    def __init__(
        self,
        pairs: Ints,
        used: Bools,
        component: Ints,
        readable: Bools,
        within_reach: Callable[[int, int], bool],
    ) -> None:
        self.component, self.readable, self.within_reach = component, readable, within_reach
        self.count = len(component)
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        self.measured = set((low * self.count + high).tolist())
        self.known_frames = np.flatnonzero(readable & (component != NO_COMPONENT))
        all_pairs = np.ones(len(pairs), bool)
        self.planned, self.degree = (
            np.bincount(pairs[chosen].ravel(), minlength=self.count) for chosen in (all_pairs, used)
        )
        self.crossing_planned, self.crossing = (
            self._count_crossing(low[chosen], high[chosen]) for chosen in (all_pairs, used)
        )

    def _count_crossing(self, low: Ints, high: Ints) -> NDArray[np.int64]:
        """Count the pairs that cross the cut after every frame: (frames,)."""
        change = np.bincount(low, minlength=self.count) - np.bincount(high, minlength=self.count)
        return np.asarray(np.cumsum(change), np.int64)

    def make_pair(self, first: int, second: int) -> Pair | None:
        """Make the pair of two frames; None if it was measured or is known to be out of reach."""
        low, high = min(first, second), max(first, second)
        same_component = self.component[low] == self.component[high] != NO_COMPONENT
        if low == high or low * self.count + high in self.measured:
            return None
        return None if same_component and not self.within_reach(low, high) else (low, high)

    def find_across(self, before: Sequence[int], after: Sequence[int]) -> Iterator[Pair]:
        """Find new pairs between frames on two sides of a cut, the closest first.

        Both sides are ordered from the closest frame to the farthest.
        """
        for apart in range(len(before) + len(after) - 1):
            positions = range(max(apart - len(after) + 1, 0), min(apart, len(before) - 1) + 1)
            for position in sorted(positions, key=lambda index: abs(2 * index - apart)):
                pair = self.make_pair(before[position], after[apart - position])
                if pair is not None:
                    yield pair


def _find_joints(graph: _Graph) -> Iterator[Candidate]:
    """Find the closest pairs that join all components, at as few borders as possible."""
    known_frames, component = graph.known_frames, graph.component[graph.known_frames]
    borders = np.flatnonzero(component[1:] != component[:-1])
    joined = {int(number): int(number) for number in np.unique(component)}

    def find_root(number: int) -> int:
        while joined[number] != number:
            number = joined[number]
        return number

    for order, border in enumerate(
        borders[np.argsort(np.diff(known_frames)[borders], kind="stable")]
    ):
        first, second = int(component[border]), int(component[border + 1])
        if find_root(first) == find_root(second):
            continue
        joined[find_root(first)] = find_root(second)
        middle = known_frames[border] + known_frames[border + 1]
        before, after = (
            frames[np.argsort(np.abs(2 * frames - middle), kind="stable")][:FAR].tolist()
            for frames in (known_frames[component == first], known_frames[component == second])
        )
        for turn, pair in enumerate(islice(graph.find_across(before, after), CUT_PAIRS)):
            yield min(turn, 1), turn, order, pair


def _find_cuts(graph: _Graph) -> Iterator[Candidate]:
    """Find pairs across the cuts that few pairs cross; consecutive cuts count as one."""
    crossing, planned = graph.crossing, graph.crossing_planned
    weak = (crossing > 0) & (crossing < CUT_PAIRS) & (crossing <= WEAK * planned)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], weak, [0]])))
    for order, (begin, end) in enumerate(edges.reshape(-1, 2).tolist()):
        least, usual = int(crossing[begin:end].min()), int(planned[begin:end].max())
        thinnest = begin + np.flatnonzero(crossing[begin:end] == least)
        before = graph.known_frames[graph.known_frames <= thinnest[0]][::-1][:FAR].tolist()
        after = graph.known_frames[graph.known_frames > thinnest[-1]][:FAR].tolist()
        lacking = min(CUT_PAIRS, usual) - least
        for turn, pair in enumerate(islice(graph.find_across(before, after), lacking)):
            yield 1, turn, order, pair


def _find_weak_frames(graph: _Graph, bulging: Ints) -> Iterator[Candidate]:
    """Find pairs of frames that have few, or are `bulging`, with the closest well-known frames."""
    weak = (graph.degree < FRAME_PAIRS) & (graph.degree <= WEAK * graph.planned)
    weak &= graph.readable & (graph.planned > 0)
    lacking = np.where(weak, np.minimum(FRAME_PAIRS, graph.planned) - graph.degree, 0)
    lacking[bulging] = np.maximum(lacking[bulging], BULGE_PAIRS)
    strong = graph.known_frames[lacking[graph.known_frames] == 0]
    for frame in np.flatnonzero(lacking).tolist():
        position = int(np.searchsorted(strong, frame))
        neighbours = strong[max(position - FAR, 0) : position + FAR]
        neighbours = neighbours[np.argsort(np.abs(neighbours - frame), kind="stable")].tolist()
        pairs = (
            pair for other in neighbours if (pair := graph.make_pair(frame, other)) is not None
        )
        for turn, pair in enumerate(islice(pairs, int(lacking[frame]))):
            yield 2, turn, int(graph.degree[frame]) * graph.count + frame, pair


def _find_bulging(component: Ints, std: Floats) -> NDArray[np.int64]:
    """Find frames with a larger standard deviation than the frames on both sides.

    Deviations grow with the distance from the anchor, so a single smaller side does not count.
    """
    bulging = [np.zeros(0, np.int64)]
    for number in np.unique(component[component != NO_COMPONENT]):
        frames = np.flatnonzero((component == number) & np.isfinite(std))
        values = std[frames]
        padded = np.pad(values, NEIGHBOURS, constant_values=np.inf)
        count = len(values)
        steps = range(1, NEIGHBOURS + 1)
        before = np.min([padded[NEIGHBOURS - s : NEIGHBOURS - s + count] for s in steps], axis=0)
        after = np.min([padded[NEIGHBOURS + s : NEIGHBOURS + s + count] for s in steps], axis=0)
        bulging.append(frames[values > BULGE * np.maximum(before, after)])
    return np.concatenate(bulging)
