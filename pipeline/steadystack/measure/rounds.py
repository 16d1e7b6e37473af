"""Measuring in rounds: the pairs of the strategy, then those that these leave wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from steadystack.cluster import Engine
from steadystack.measure.batches import measure_pairs
from steadystack.measure.budget import BatchSize
from steadystack.measure.method import Method
from steadystack.model import MEASURED, FrameSource, FrameStatus, PairStatus, PairTable
from steadystack.pairs import choose_extra_pairs
from steadystack.solve import solve_shifts


def measure_rounds(
    source: FrameSource,
    table: PairTable,
    method: Method,
    size: BatchSize,
    first: int,
    extra: float = 0.0,
    *,
    client: Engine = None,
) -> Iterator[tuple[PairTable, int]]:
    """Measure every pair of `table` that is not measured yet, then those of the second round.

    Yields as `measure_pairs` does; the table grows once.

    Parameters
    ----------
    first : rows of the first round, those of the strategy; what follows is of an earlier run
    extra : pairs of the second round, at most so many times those of the first
    """
    if table.rows(slice(first)).count([PairStatus.UNMEASURED]):
        for found in measure_pairs(source, table.rows(slice(first)), method, size, client=client):
            table = found[0]
            yield found
    further = take_second_round(table, method, first, extra)
    if not further.same_pairs(table) or table.count([PairStatus.UNMEASURED]):
        yield from measure_pairs(source, further, method, size, client=client)


def take_second_round(table: PairTable, method: Method, first: int, extra: float) -> PairTable:
    """The table with the pairs that its first round leaves wanted, as far as that is measured.

    They follow from the rows of the first round alone, whatever the settings of the solve are: a
    run that was stopped chooses the same ones. What was measured of them before is kept.
    """
    head = table.rows(slice(first))
    budget = math.ceil(extra * first)
    if head.count([PairStatus.UNMEASURED]) or not budget:
        return head
    solved = solve_shifts(head)
    readable = np.isin(head.frame_read_status, [FrameStatus.OK.code, FrameStatus.INCOMPLETE.code])
    beside = solved.shift if method.initial_shifts is None else solved.shift - method.initial_shifts
    bounds = method.search.max_shift
    averaged = (
        solved.shift_std**2 - solved.own_variance
    )  # of a frame's own error pairs tell nothing

    def within_reach(reference: int, moving: int) -> bool:
        apart = np.abs(beside[moving] - beside[reference])
        return bounds is None or bool((apart <= np.array(bounds)).all())

    wanted = choose_extra_pairs(
        np.stack([head.reference, head.moving], axis=1),
        head.ok & ~solved.rejected,
        solved.component,
        readable,
        budget,
        std=np.sqrt(np.maximum(averaged, 0).sum(axis=1)),
        within_reach=within_reach,
    )
    tail = PairTable.unmeasured(wanted, len(head.frame_read_status), head.shift.shape[1])
    before = table.rows(slice(first, None))
    rows = {pair: row for row, pair in enumerate(zip(before.reference, before.moving, strict=True))}
    known = [rows.get((one, other), -1) for one, other in wanted.tolist()]
    again = np.array(known, np.int64)
    for name in MEASURED:
        getattr(tail, name)[again >= 0] = getattr(before, name)[again[again >= 0]]
    for row in np.flatnonzero(again >= 0).tolist():
        if known[row] in before.failures:
            tail.failures[row] = before.failures[known[row]]
    return head.plus(tail)
