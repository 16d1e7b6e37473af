"""Pairs to be added where those that were measured leave the graph weak.

A part of the series that broke off, a place that few pairs lead across, a frame with few pairs:
each asks for pairs that were not measured yet, the closest in time first. The most needed come
first, so that a budget is spent where it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.model import LONE, Bools, Floats, Ints

# A cut through the series, or a frame, with fewer pairs in the solution than this, and no more than
# that part of what was planned, is weak; it asks for what it lacks. Wrong pairs are found for sure
# where more than so many others contradict them.
CUT_PAIRS, FRAME_PAIRS, WEAK = 6, 4, 0.5
# So is a frame whose deviation is so many times that of the best of its neighbours on both sides.
BULGE, NEIGHBOURS, BULGE_PAIRS = 1.5, 3, 2
# How far to look for pairs, in frames on each side of a weak place.
FAR = 32

Pair: TypeAlias = tuple[int, int]
Wanted: TypeAlias = tuple[int, int, int, Pair]  # importance, round, order


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
    """Pairs to measure beside those that are measured, at most `budget`, the most needed first.

    First one for every part of the series that broke off, to the closest frames of another part;
    then more of them, and some across every cut through the series that few pairs lead across; then
    for frames that few pairs speak for, or that are known less well than the frames on both sides,
    to the closest frames that are well known. The places take turns. Where the graph is as strong
    as it was planned, nothing is added.

    Parameters
    ----------
    pairs : integer array (pairs, 2), those that were measured
    used : bool array (pairs,), whether the solution makes use of them
    component : integer array (frames,), connected part of every frame; `LONE`: no pair that fits
    readable : bool array (frames,), whether anything can be measured in a frame
    std : array (frames,), standard deviations of the shifts; None: not looked at
    within_reach : whether a pair of frames may be found, as far as is known

    Returns
    -------
    integer array (added, 2), the earlier frame first; no pair of `pairs`, in either order
    """
    graph = _Graph(pairs, used, component, readable, within_reach)
    wanted = [
        *_find_joints(graph),
        *_find_cuts(graph),
        *_find_weak_frames(
            graph, _find_bulging(component, std) if std is not None else np.zeros(0, np.int64)
        ),
    ]
    chosen = list(dict.fromkeys(pair for *_, pair in sorted(wanted)))
    return np.array(chosen[: max(budget, 0)], np.int64).reshape(-1, 2)


class _Graph:
    """The measured pairs, and what became of them."""

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
        self.known = np.flatnonzero(readable & (component != LONE))
        every = np.ones(len(pairs), bool)
        self.planned, self.degree = (
            np.bincount(pairs[which].ravel(), minlength=self.count) for which in (every, used)
        )
        self.crossing_planned, self.crossing = (
            self._crossing(low[which], high[which]) for which in (every, used)
        )

    def _crossing(self, low: Ints, high: Ints) -> NDArray[np.int64]:
        """How many pairs lead across the cut behind every frame."""
        change = np.bincount(low, minlength=self.count) - np.bincount(high, minlength=self.count)
        return np.asarray(np.cumsum(change), np.int64)

    def new(self, one: int, other: int) -> Pair | None:
        """The pair of two frames, if it may be worth to be measured."""
        low, high = min(one, other), max(one, other)
        alike = self.component[low] == self.component[high] != LONE
        if low == high or low * self.count + high in self.measured:
            return None
        return None if alike and not self.within_reach(low, high) else (low, high)

    def across(self, before: Sequence[int], after: Sequence[int]) -> Iterator[Pair]:
        """New pairs of frames on two sides, each given from the closest on; the closest first."""
        for apart in range(len(before) + len(after) - 1):
            places = range(max(apart - len(after) + 1, 0), min(apart, len(before) - 1) + 1)
            for place in sorted(places, key=lambda at: abs(2 * at - apart)):
                pair = self.new(before[place], after[apart - place])
                if pair is not None:
                    yield pair


def _find_joints(graph: _Graph) -> Iterator[Wanted]:
    """Pairs between parts of the series: as few places as join all of them, the closest ones."""
    known, part = graph.known, graph.component[graph.known]
    places = np.flatnonzero(part[1:] != part[:-1])
    joined = {int(number): int(number) for number in np.unique(part)}

    def root(number: int) -> int:
        while joined[number] != number:
            number = joined[number]
        return number

    for order, place in enumerate(places[np.argsort(np.diff(known)[places], kind="stable")]):
        one, other = int(part[place]), int(part[place + 1])
        if root(one) == root(other):
            continue
        joined[root(one)] = root(other)
        middle = known[place] + known[place + 1]
        before, after = (
            frames[np.argsort(np.abs(2 * frames - middle), kind="stable")][:FAR].tolist()
            for frames in (known[part == one], known[part == other])
        )
        for turn, pair in enumerate(islice(graph.across(before, after), CUT_PAIRS)):
            yield min(turn, 1), turn, order, pair


def _find_cuts(graph: _Graph) -> Iterator[Wanted]:
    """Pairs across the cuts that few pairs lead across; cuts in a row are one place."""
    crossing, planned = graph.crossing, graph.crossing_planned
    weak = (crossing > 0) & (crossing < CUT_PAIRS) & (crossing <= WEAK * planned)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], weak, [0]])))
    for order, (begin, end) in enumerate(edges.reshape(-1, 2).tolist()):
        least, usual = int(crossing[begin:end].min()), int(planned[begin:end].max())
        thinnest = begin + np.flatnonzero(crossing[begin:end] == least)
        before = graph.known[graph.known <= thinnest[0]][::-1][:FAR].tolist()
        after = graph.known[graph.known > thinnest[-1]][:FAR].tolist()
        lacking = min(CUT_PAIRS, usual) - least
        for turn, pair in enumerate(islice(graph.across(before, after), lacking)):
            yield 1, turn, order, pair


def _find_weak_frames(graph: _Graph, bulging: Ints) -> Iterator[Wanted]:
    """Pairs for single frames, to the closest ones that are well known."""
    weak = (graph.degree < FRAME_PAIRS) & (graph.degree <= WEAK * graph.planned)
    weak &= graph.readable & (graph.planned > 0)
    lacking = np.where(weak, np.minimum(FRAME_PAIRS, graph.planned) - graph.degree, 0)
    lacking[bulging] = np.maximum(lacking[bulging], BULGE_PAIRS)
    strong = graph.known[lacking[graph.known] == 0]
    for frame in np.flatnonzero(lacking).tolist():
        place = int(np.searchsorted(strong, frame))
        near = strong[max(place - FAR, 0) : place + FAR]
        near = near[np.argsort(np.abs(near - frame), kind="stable")].tolist()
        pairs = (pair for other in near if (pair := graph.new(frame, other)) is not None)
        for turn, pair in enumerate(islice(pairs, int(lacking[frame]))):
            yield 2, turn, int(graph.degree[frame]) * graph.count + frame, pair


def _find_bulging(component: Ints, std: Floats) -> NDArray[np.int64]:
    """Frames that are known less well than what lies around them.

    Deviations grow with the distance from the anchor: only what lies between two that are smaller
    counts.
    """
    found = [np.zeros(0, np.int64)]
    for part in np.unique(component[component != LONE]):
        frames = np.flatnonzero((component == part) & np.isfinite(std))
        values = std[frames]
        padded = np.pad(values, NEIGHBOURS, constant_values=np.inf)
        count = len(values)
        steps = range(1, NEIGHBOURS + 1)
        before = np.min([padded[NEIGHBOURS - s : NEIGHBOURS - s + count] for s in steps], axis=0)
        after = np.min([padded[NEIGHBOURS + s : NEIGHBOURS + s + count] for s in steps], axis=0)
        found.append(frames[values > BULGE * np.maximum(before, after)])
    return np.concatenate(found)
