"""What a whole run costs in time, from a few pairs that are measured at full size."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from steadystack.measure import measure_pairs
from steadystack.model import Floats, FrameStatus, InputError, Ints, PairTable, Reach
from steadystack.pairs import spread_by_separation, spread_evenly
from steadystack.planning import Plan, Setup, bound_search, format_mib, make_plan
from steadystack.survey import choose_reach, find_reach

# A pair that takes longer, seconds, is measured alone: how much of that are its frames stays open.
LONG_S = 4.0
# Pairs that are tried until one has two frames that can be measured.
TRIED = 3
# How far apart frames lie is seen on so many pairs of a run.
SEEN_PAIRS = 32
# Pairs that a run measures beside its own, to decide on settings and in its checks: so many were
# counted; and of frames that are measured in blocks.
FURTHER_PAIRS, FURTHER_IN_BLOCKS = 126, 90
# Until workers have started and imported; until dataset and report are written.
STARTING_S, WRITING_S = 3.0, 5.0

Clock = Callable[[], float]


@dataclass(frozen=True)
class Costs:
    """Seconds that a run at full size takes on this machine, about.

    Attributes
    ----------
    plan : the run; None: it would be refused
    frame_s, pair_s : of a frame that is read and made ready, and of a pair of such frames
    measured : how many pairs these are from; 0: none could be measured
    refused : why there is no plan, with the way out
    """

    plan: Plan | None
    frame_s: float = np.nan
    pair_s: float = np.nan
    measured: int = 0
    refused: str = ""

    @property
    def whole_s(self) -> float:
        """Seconds of the whole run, without a corrected stack and a mean; NaN: not known."""
        plan = self.plan
        if plan is None or not self.measured:
            return np.nan
        alone = 2 * self.frame_s + self.pair_s
        tasks = self.frame_s * plan.frame_reads + self.pair_s * plan.pairs
        tasks += (self.frame_s + self.pair_s) * plan.further_reads
        threads = max(min(plan.threads, plan.tasks), 1)
        further = min(FURTHER_PAIRS if plan.blocks == 1 else FURTHER_IN_BLOCKS, plan.pairs) * alone
        return tasks / threads + further + WRITING_S + STARTING_S * (plan.worker_bytes > 0)

    @property
    def whole_bytes(self) -> int:
        """The memory of the run on this machine, its workers included, at most; 0: not known."""
        plan = self.plan
        return 0 if plan is None else plan.own_bytes + plan.workers * plan.worker_bytes

    def describe(self) -> list[tuple[str, str]]:
        """Describe the costs for a reader, as names and values."""
        plan = self.plan
        if plan is None:
            return [("the whole run", f"would be refused: {self.refused}")]
        threads = f" with {plan.threads} threads at work" if plan.threads > 1 else ""
        known = (
            f"about {format_duration(self.whole_s)}{threads}, until shifts and report are written: "
            f"an estimate from {self.measured} pair(s) measured at full size"
            if self.measured
            else "not known: none of the pairs that were tried could be measured"
        )
        here = f", of {format_mib(plan.memory_bytes)} here" if plan.memory_bytes else ""
        elsewhere = not plan.workers and plan.worker_bytes
        each = f", and {format_mib(plan.worker_bytes)} for every worker" if elsewhere else ""
        rows = [
            ("the whole run", f"{plan.pairs} pairs of {plan.frames} frames of {plan.frame_shape}"),
            ("its time", known),
            ("its memory", f"up to {format_mib(self.whole_bytes)}{each}{here}"),
            ("to read", f"{format_mib(plan.read_bytes)} (decoded)"),
        ]
        if self.measured:
            alone = f"{2 * self.frame_s + self.pair_s:.2g} s with its two frames"
            rows.insert(2, ("a pair", alone))
        return rows


def format_duration(seconds: float) -> str:
    """Format a duration that is known roughly."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def estimate_costs(setup: Setup, shifts: Floats, clock: Clock = time.perf_counter) -> Costs:
    """Estimate what a run costs: measures one to three of its pairs, in this process.

    Parameters
    ----------
    shifts : of all frames (frames, axes), pixels, about; NaN: not known. Where it is left to a
        pilot how far is searched, it is as far as these ask for.
    """
    reach = _find_reach(setup, shifts)
    try:
        make_plan(setup)  # before a run has found how far it searches
    except InputError as error:
        advice = "" if setup.method.initial_shifts is not None else _advise(reach)
        return Costs(None, refused=f"{error}{advice}")
    bounded = setup
    if not setup.config.register_.is_decided:
        in_blocks = len(setup.method.search.blocks) > 1
        bounded = bound_search(setup, find_reach(setup) if in_blocks else reach)  # reads nothing
    plan = make_plan(bounded)
    for single in _list_candidates(setup.pairs):
        alone_s, frames = _time(bounded, single, clock)
        if not frames:
            continue
        pairs = _add_third_frame(single, setup.pairs)
        if alone_s > LONG_S or len(pairs) == 1:
            return Costs(plan, 0.0, alone_s, 1)
        together_s, frames = _time(bounded, pairs, clock)
        alone_s = min(alone_s, _time(bounded, single, clock)[0])  # the first has more to prepare
        frame_s, pair_s = _share_out(alone_s, together_s, max(frames, 2), len(pairs))
        return Costs(plan, frame_s, pair_s, len(pairs))
    return Costs(plan)


def _find_reach(setup: Setup, shifts: Floats) -> Reach:
    """Find how far pairs of a run lie apart, and so how far to search, by shifts known about."""
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    pairs = setup.pairs[spread_by_separation(apart, SEEN_PAIRS)]
    moved = np.abs(shifts[pairs[:, 1]] - shifts[pairs[:, 0]])
    known = [row for row in moved if np.isfinite(row).all()]
    return choose_reach(known, len(pairs), np.array(setup.method.search.shape))


def _advise(reach: Reach) -> str:
    """Advise on how far to search, where that is seen."""
    if not reach.widen or reach.bounds is None:
        return ""
    bounds = ", ".join(map(str, reach.bounds))
    return f"; judging by this preview, register.max_shift: [{bounds}] is enough"


def _list_candidates(pairs: Ints) -> Iterator[Ints]:
    """List pairs to measure, (1, 2) each: of usual separation, spread over the series."""
    apart = np.abs(pairs[:, 1] - pairs[:, 0])
    usual = np.flatnonzero(apart == np.sort(apart)[len(apart) // 2])
    for row in spread_evenly(usual, 2 * TRIED + 1)[1::2].tolist() or usual[:1].tolist():
        yield pairs[row : row + 1]


def _add_third_frame(single: Ints, pairs: Ints) -> Ints:
    """Add those pairs to one that join its frames with the frame that most of them share."""
    near = pairs[np.isin(pairs, single).any(axis=1)]
    others = near[~np.isin(near, single)]
    if not len(others):
        return single
    numbers, counts = np.unique(others, return_counts=True)
    chosen = np.append(single.ravel(), numbers[np.argmax(counts)])
    inside = near[np.isin(near, chosen).all(axis=1)]
    return inside[:3]


def _time(setup: Setup, pairs: Ints, clock: Clock) -> tuple[float, int]:
    """Measure pairs; gives the seconds it took, and how many of their frames can be measured.

    0 frames where one of them cannot be.
    """
    source = setup.series.source
    table = PairTable.of_frames(pairs, source)
    started = clock()
    deque(measure_pairs(source, table, setup.method, setup.size), maxlen=0)
    seconds = clock() - started
    frames = np.unique(pairs)
    good = (FrameStatus.OK.code, FrameStatus.INCOMPLETE.code)
    usable = np.isin(table.frame_read_status[frames], good).all()
    return seconds, len(frames) if usable else 0


def _share_out(alone_s: float, together_s: float, frames: int, pairs: int) -> tuple[float, float]:
    """Share out the seconds of one pair, and of several with so many frames: of a frame, a pair."""
    frame_s = (pairs * alone_s - together_s) / max(2 * pairs - frames, 1)
    frame_s = float(np.clip(frame_s, 0, alone_s / 2))
    return frame_s, alone_s - 2 * frame_s
