"""Estimate the time of a whole run from a few pairs that are measured at full size."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from steadystack.measure import measure_pairs
from steadystack.model import Floats, InputError, Ints, PairTable, Reach
from steadystack.pairs import spread_by_separation, spread_evenly
from steadystack.planning import Plan, Setup, bound_search, format_mib, make_plan
from steadystack.survey import choose_reach, find_reach

# If a pair takes longer than this, seconds, no others are measured: the frames' share stays
# unknown.
LONG_S = 4.0
# Most pairs tried to find one with two usable frames.
TRIED = 3
# Number of a run's pairs that show how far apart frames lie.
SEEN_PAIRS = 32
# Pairs that a run measures besides its own, to decide on settings and in its checks, as counted;
# and if frames are measured in blocks.
FURTHER_PAIRS, FURTHER_IN_BLOCKS = 126, 90
# Time for workers to start and import, and for writing dataset and report.
STARTING_S, WRITING_S = 3.0, 5.0

Clock = Callable[[], float]


@dataclass(frozen=True)
class Costs:
    """Seconds that a run at full size takes on this machine, about.

    Attributes
    ----------
    plan : the run; None: it would be refused
    frame_s, pair_s : to read and prepare a frame, and to measure a pair of such frames
    measured : number of pairs these are based on; 0: none could be measured
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
        """The most memory of the run on this machine, including workers; 0: not known."""
        plan = self.plan
        return 0 if plan is None else plan.own_bytes + plan.workers * plan.worker_bytes

    def describe(self) -> list[tuple[str, str]]:
        """Describe the costs for the user, as names and values."""
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
    """Format a duration that is only roughly known."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def estimate_costs(setup: Setup, shifts: Floats, clock: Clock = time.perf_counter) -> Costs:
    """Estimate what a run costs: measures one to three of its pairs, in this process.

    Parameters
    ----------
    shifts : of all frames (frames, axes), pixels, about; NaN: not known. If the search range is
        left to a pilot, it is chosen to cover these.
    """
    reach = _find_reach(setup, shifts)
    try:
        make_plan(setup)  # before the search range is known
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
    """Estimate the largest shift of pairs, and so the search range, from approximate shifts."""
    apart = np.abs(setup.pairs[:, 1] - setup.pairs[:, 0])
    pairs = setup.pairs[spread_by_separation(apart, SEEN_PAIRS)]
    moved = np.abs(shifts[pairs[:, 1]] - shifts[pairs[:, 0]])
    known = [row for row in moved if np.isfinite(row).all()]
    return choose_reach(known, len(pairs), np.array(setup.method.search.shape))


def _advise(reach: Reach) -> str:
    """Advise on the search range, if it is known."""
    if not reach.widen or reach.bounds is None:
        return ""
    bounds = ", ".join(map(str, reach.bounds))
    return f"; judging by this preview, register.max_shift: [{bounds}] is enough"


def _list_candidates(pairs: Ints) -> Iterator[Ints]:
    """List pairs to measure, (1, 2) each: with typical separation, spread over the series."""
    apart = np.abs(pairs[:, 1] - pairs[:, 0])
    usual = np.flatnonzero(apart == np.sort(apart)[len(apart) // 2])
    for row in spread_evenly(usual, 2 * TRIED + 1)[1::2].tolist() or usual[:1].tolist():
        yield pairs[row : row + 1]


def _add_third_frame(single: Ints, pairs: Ints) -> Ints:
    """Add the pairs that join a pair's frames with the frame most often paired with them."""
    near = pairs[np.isin(pairs, single).any(axis=1)]
    others = near[~np.isin(near, single)]
    if not len(others):
        return single
    numbers, counts = np.unique(others, return_counts=True)
    chosen = np.append(single.ravel(), numbers[np.argmax(counts)])
    inside = near[np.isin(near, chosen).all(axis=1)]
    return inside[:3]


def _time(setup: Setup, pairs: Ints, clock: Clock) -> tuple[float, int]:
    """Measure pairs; returns the seconds it took, and the number of their usable frames.

    0 frames if one of them is unusable.
    """
    source = setup.series.source
    table = PairTable.of_frames(pairs, source)
    started = clock()
    deque(measure_pairs(source, table, setup.method, setup.size), maxlen=0)
    seconds = clock() - started
    frames = np.unique(pairs)
    return seconds, len(frames) if table.is_readable[frames].all() else 0


def _share_out(alone_s: float, together_s: float, frames: int, pairs: int) -> tuple[float, float]:
    """Split the seconds of one pair, and of several, into those of a frame and of a pair."""
    frame_s = (pairs * alone_s - together_s) / max(2 * pairs - frames, 1)
    frame_s = float(np.clip(frame_s, 0, alone_s / 2))
    return frame_s, alone_s - 2 * frame_s
