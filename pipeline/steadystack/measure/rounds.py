"""Measuring in rounds: the pairs of the strategy, then more where the graph is weak."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from steadystack.cluster import Engine
from steadystack.measure.batches import measure_pairs
from steadystack.measure.budget import BatchSize
from steadystack.measure.method import Method
from steadystack.model import FrameSource, FrameStatus, PairStatus, PairTable
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
    head = table.select_pairs(slice(first))
    if head.count([PairStatus.UNMEASURED]):
        for table, done in measure_pairs(source, head, method, size, client=client):
            yield table, done
    both = add_second_round(table, method, first, extra)
    if not both.same_pairs(table) or table.count([PairStatus.UNMEASURED]):
        yield from measure_pairs(source, both, method, size, client=client)


def add_second_round(table: PairTable, method: Method, first: int, extra: float) -> PairTable:
    """Append the pairs of the second round to the table, once those of its first are measured.

    The further pairs follow from the rows of the first round alone, whatever the settings of the
    solve are: a run that was stopped chooses the same ones. What was measured of them before is
    kept.
    """
    head = table.select_pairs(slice(first))
    budget = math.ceil(extra * first)
    if head.count([PairStatus.UNMEASURED]) or not budget:
        return head
    solved = solve_shifts(head)
    readable = np.isin(head.frame_read_status, [FrameStatus.OK.code, FrameStatus.INCOMPLETE.code])
    offset = solved.shift - method.expected_shifts
    bounds = method.search.max_shift
    # The variance that more pairs can lower: they tell nothing of a frame's own error.
    averaged = solved.stated_std**2 - solved.own_variance

    def within_reach(reference: int, moving: int) -> bool:
        distance = np.abs(offset[moving] - offset[reference])
        return bounds is None or bool((distance <= np.array(bounds)).all())

    extra_pairs = choose_extra_pairs(
        np.stack([head.reference, head.moving], axis=1),
        head.ok & ~solved.rejected,
        solved.component,
        readable,
        budget,
        std=np.sqrt(np.maximum(averaged, 0).sum(axis=1)),
        within_reach=within_reach,
    )
    tail = PairTable.unmeasured(extra_pairs, len(head.frame_read_status), head.shift.shape[1])
    before = table.select_pairs(slice(first, None))
    rows = {pair: row for row, pair in enumerate(zip(before.reference, before.moving, strict=True))}
    earlier = np.array([rows.get((i, j), -1) for i, j in extra_pairs.tolist()], np.int64)
    again = np.flatnonzero(earlier >= 0)
    tail.take_results(again, before, earlier[again])
    return head.plus(tail)
