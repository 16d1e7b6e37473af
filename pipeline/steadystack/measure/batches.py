"""Measure batches of pairs as tasks: the strategy's pairs, then more where the graph is weak.

If frames are too large for a task, a batch is a tree of tasks, with a leaf for each block.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, as_cluster, run_tasks, run_trees, share
from steadystack.measure.batch_results import BatchResult, BlockResult, join_results
from steadystack.measure.batch_tasks import (
    HeldFrames,
    finish_batch,
    measure_block,
    measure_task,
)
from steadystack.measure.budget import BatchSize
from steadystack.measure.centres import group_by_cell
from steadystack.measure.method import Method
from steadystack.measure.part_steps import (
    BlockScores,
    MeasuredPairs,
    compute_block_scores,
    finish_scores,
)
from steadystack.model import (
    FRAME_FIELDS,
    PAIR_RESULTS,
    FrameSource,
    FrameStatus,
    Ints,
    PairStatus,
    PairTable,
    RunError,
)
from steadystack.object_windows import find_steps
from steadystack.pairs import batch_pairs, choose_extra_pairs
from steadystack.solve import solve_shifts

log = logging.getLogger(__name__)

# Called after each batch with the table, the rows of the batch and the frames read for it.
OnBatch: TypeAlias = Callable[[PairTable, Ints, Ints], None]


@dataclass(frozen=True, eq=False)
class MeasuredBefore:
    """Pairs measured before in this process, whose results are reused.

    A pair is the same if its frames are from the same source, and if it is measured by the same
    method.
    """

    _tables: list[tuple[FrameSource, Method, PairTable]] = field(default_factory=list)

    def add(self, source: FrameSource, method: Method, table: PairTable) -> None:
        """Add a measured table."""
        self._tables.append((source, method, table))

    def fill_in(self, table: PairTable, source: FrameSource, method: Method) -> None:
        """Fill in known results of the pairs of a table that are not measured yet."""
        for known_source, known_method, known in self._tables:
            if known_source is not source or not known_method.is_same(method):
                continue
            pairs = zip(known.reference.tolist(), known.moving.tolist(), strict=True)
            to_do = known.to_do
            rows = {pair: row for row, pair in enumerate(pairs) if not to_do[row]}
            wanted = zip(table.reference.tolist(), table.moving.tolist(), strict=True)
            found = np.array([rows.get(pair, -1) for pair in wanted], np.int64)
            taken = np.flatnonzero((found >= 0) & table.to_do)
            table.take_results(taken, known, found[taken])
            frames = np.unique([table.reference[taken], table.moving[taken]])
            for name in FRAME_FIELDS:
                getattr(table, name)[frames] = getattr(known, name)[frames]


def measure_pairs(
    source: FrameSource,
    table: PairTable,
    method: Method,
    size: BatchSize,
    *,
    client: Engine = None,
    on_batch: OnBatch | None = None,
    held: HeldFrames | None = None,
) -> Iterator[tuple[PairTable, int]]:
    """Measure every pair of `table` that is not measured yet, or that failed.

    Fills in the table, and yields it and the number of measured rows after each batch; `on_batch`
    is called before that with the table, the rows of the batch and the frames that were read for
    them. A row does not depend on its batch, or on where that was run; the number of batches
    depends on the threads of the engine. The pairs of a batch that is given up have the status
    FAILED. `held` has frames that need not be read, if pairs are measured in this process.

    Raises
    ------
    RunError
        If more pairs fail than the engine allows, or if it cannot continue.
    """
    rows = np.flatnonzero(table.to_do)
    table.status[rows] = PairStatus.UNMEASURED.code
    table.failures.clear()
    unreadable = table.frame_read_status == FrameStatus.UNREADABLE.code
    table.frame_read_status[unreadable] = FrameStatus.UNMEASURED.code
    pairs = np.stack([table.reference[rows], table.moving[rows]], axis=1)
    done = len(table.status) - len(rows)
    yield table, done

    in_memory = source.in_memory
    # tasks get the centres of their own pairs only
    sent = source, replace(method, initial_shifts=None, places=None)
    shared = [share(client, value) if in_memory else value for value in sent]
    size = size.among(as_cluster(client).count_threads(), len(rows))
    batches = (
        (rows[chosen], (pairs[chosen], centres))
        for chosen, centres in cut_into_batches(pairs, method, size)
    )
    if len(method.search.blocks) == 1:
        results = run_tasks(client, measure_task, batches, *shared, *([held] if held else []))
    else:
        results = _run_blocks_of_channels(client, batches, method, source, shared)
    for batch, result in results:
        if isinstance(result, Failure):
            _give_up(table, batch, result)
            frames = np.empty(0, np.int64)
        else:
            _fill_in(table, batch, result)
            if method.places is not None:
                ends = table.reference[batch], table.moving[batch]
                table.shift[batch] += find_steps(method.places, *ends)
            frames = result.frames
        if on_batch is not None:
            on_batch(table, batch, frames)
        done += len(batch)
        yield table, done
        if isinstance(result, Failure):
            _check_failed(table, as_cluster(client).max_failed, result)


def _run_blocks_of_channels(
    client: Engine,
    batches: Iterable[tuple[NDArray[Any], tuple[Ints, Ints | None]]],
    method: Method,
    source: FrameSource,
    shared: list[Any],
) -> Iterator[tuple[NDArray[Any], BatchResult | Failure]]:
    """Measure batches of frames in blocks; channels in turn, for a few batches at a time."""
    if not source.channels:
        yield from _run_blocks(client, batches, method, shared)
        return
    at_a_time = max(as_cluster(client).count_threads(), 1)
    waiting = iter(batches)
    while some := list(islice(waiting, at_a_time)):
        found: dict[int, list[BatchResult]] = {int(rows[0]): [] for rows, _ in some}
        failed: dict[int, Failure] = {}
        for channel in source.channels:
            sent = [share(client, channel) if source.in_memory else channel, shared[1]]
            for rows, result in _run_blocks(client, some, method, sent):
                if isinstance(result, Failure):
                    failed[int(rows[0])] = result
                else:
                    found[int(rows[0])].append(result)
        for rows, _ in some:
            first = int(rows[0])
            yield rows, failed[first] if first in failed else join_results(found[first])


def _run_blocks(
    client: Engine,
    batches: Iterable[tuple[NDArray[Any], tuple[Ints, Ints | None]]],
    method: Method,
    shared: list[Any],
) -> Iterator[tuple[NDArray[Any], BatchResult | Failure]]:
    """Measure batches of frames cut into blocks, then evaluate their parts block by block."""
    blocks, failed = range(len(method.search.blocks)), list[tuple[NDArray[Any], Failure]]()
    trees = (
        ((batch, centres), [(pairs, centres, block) for block in blocks])
        for batch, (pairs, centres) in batches
    )
    measured = run_trees(client, measure_block, BlockResult.plus, finish_batch, trees, *shared)

    if not method.evaluates_parts:
        yield from ((batch, result) for (batch, _), result in measured)
        return

    def make_part_tasks() -> Iterator[tuple[Any, list[MeasuredPairs]]]:
        for (batch, centres), result in measured:
            if isinstance(result, Failure):
                failed.append((batch, result))
                continue
            table = result.table
            pairs = np.stack([table.reference, table.moving], axis=1)
            of_batch = MeasuredPairs(pairs, centres, table.shift, table.ncc < 0)
            yield (batch, result), [replace(of_batch, block=block) for block in blocks]

    answers = run_trees(
        client, compute_block_scores, BlockScores.plus, finish_scores, make_part_tasks(), *shared
    )
    for (batch, result), steps in answers:
        yield from failed
        failed.clear()
        if isinstance(steps, Failure):
            yield batch, steps
        else:
            result.table.part_step[:] = steps
            yield batch, result
    yield from failed


def cut_into_batches(
    pairs: Ints, method: Method, size: BatchSize
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64] | None]]:
    """Cut pairs (n, 2) into tasks: yields their row numbers, and the centres of their searches."""
    if method.initial_shifts is None:
        for batch in batch_pairs(pairs, size.frames, size.pairs, size.fewest):
            yield batch, None
        return
    for rows, centres in group_by_cell(method, pairs):
        fewest = math.ceil(size.fewest * len(rows) / len(pairs))
        for batch in batch_pairs(pairs[rows], size.frames, size.pairs, fewest):
            yield rows[batch], None if centres is None else centres[batch]


def _fill_in(table: PairTable, rows: NDArray[Any], result: BatchResult) -> None:
    """Write the result of a batch into the rows of its pairs and of its frames in a table."""
    for column in PAIR_RESULTS:
        getattr(table, column.field)[rows] = getattr(result.table, column.field)
    before = table.frame_read_status[result.frames]
    unreadable = result.columns["frame_read_status"] == FrameStatus.UNREADABLE.code
    for frame in result.frames[unreadable & (before != FrameStatus.UNREADABLE.code)].tolist():
        log.warning("frame %d is unreadable: %s", frame, result.reasons[frame])
    # a frame that was read for other pairs is kept: this failure may be temporary
    kept = unreadable & (before != FrameStatus.UNMEASURED.code)
    for name, values in result.columns.items():
        getattr(table, name)[result.frames[~kept]] = values[~kept]


def _give_up(table: PairTable, rows: NDArray[Any], failure: Failure) -> None:
    """Mark the pairs of a batch as failed."""
    table.status[rows] = PairStatus.FAILED.code
    table.failures.update(dict.fromkeys(rows.tolist(), failure.reason))
    log.warning("%d pairs failed, tries: %d: %s", len(rows), failure.tries, failure.reason)


def _check_failed(table: PairTable, most: float, failure: Failure) -> None:
    """Raise RunError if more than the share `most` of the pairs failed."""
    failed, total = table.count([PairStatus.FAILED]), len(table.status)
    if failed > most * total:
        raise RunError(
            f"{failed} of {total} pairs failed, more than cluster.max_failed {most:g} allows (the "
            f"last one: {failure.reason}); what was measured is saved: run the same command to "
            "continue"
        ) from failure.error


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

    Yields the same as `measure_pairs`; the table grows once.

    Parameters
    ----------
    first : number of rows of the first round, those of the strategy; others are of an earlier run
    extra : most pairs of the second round, as a multiple of those of the first
    """
    head = table.select_pairs(slice(first))
    if head.count([PairStatus.UNMEASURED]):
        for table, done in measure_pairs(source, head, method, size, client=client):
            yield table, done
    both = add_second_round(table, method, first, extra)
    if not both.same_pairs(table) or table.count([PairStatus.UNMEASURED]):
        yield from measure_pairs(source, both, method, size, client=client)


def add_second_round(table: PairTable, method: Method, first: int, extra: float) -> PairTable:
    """Append the pairs of the second round to the table, once those of the first are measured.

    The additional pairs depend on the rows of the first round only, not on settings of the solve,
    so a run that was stopped chooses the same ones. Their earlier measurements are kept.
    """
    head = table.select_pairs(slice(first))
    budget = math.ceil(extra * first)
    if head.count([PairStatus.UNMEASURED]) or not budget:
        return head
    solved = solve_shifts(head)
    readable = head.is_readable
    offset = solved.shift - method.expected_shifts
    bounds = method.search.max_shift
    # the variance that more pairs can reduce: not that of a frame's own error
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
    tail = PairTable.unmeasured(extra_pairs, len(head.frame_read_status), *head.sizes_of_pair)
    before = table.select_pairs(slice(first, None))
    rows = {pair: row for row, pair in enumerate(zip(before.reference, before.moving, strict=True))}
    earlier = np.array([rows.get((i, j), -1) for i, j in extra_pairs.tolist()], np.int64)
    again = np.flatnonzero(earlier >= 0)
    tail.take_results(again, before, earlier[again])
    return head.plus(tail)
