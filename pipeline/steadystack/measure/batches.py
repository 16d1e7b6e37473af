"""Batches of pairs as tasks; a batch of frames too large for a task is a tree of tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, as_cluster, run_tasks, run_trees, share
from steadystack.measure.budget import BatchSize
from steadystack.measure.centres import find_pair_centres, group_by_cell, make_search
from steadystack.measure.method import (
    Method,
    ReadSummary,
    prepare_block,
    read_camera_images,
    read_common_mask,
)
from steadystack.model import (
    FRAME_FIELDS,
    FRAME_RESULTS,
    PAIR_FIELDS,
    PAIR_RESULTS,
    FrameSource,
    FrameStatus,
    Ints,
    PairStatus,
    PairTable,
    Registration,
    RunError,
    Surface,
)
from steadystack.ncc import MaskedImage, Terms
from steadystack.pairs import batch_pairs
from steadystack.register import Search, compute_block_terms, make_surface, register_surfaces

log = logging.getLogger(__name__)

# Is told of a finished batch: the table, the rows of the batch, the frames that were read for it.
OnBatch: TypeAlias = Callable[[PairTable, Ints, Ints], None]


@dataclass(frozen=True)
class BatchResult:
    """What a batch gave.

    Attributes
    ----------
    table : the rows of its pairs
    frames : numbers of the frames that were read, sorted
    columns : what reading them gave, by the fields of `FRAME_RESULTS`; a value for each of `frames`
    reasons : why a frame could not be read, by its number
    """

    table: PairTable
    frames: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    reasons: dict[int, str]


@dataclass(frozen=True)
class BlockResult:
    """The terms of a batch's pairs in one block of their frames, or in several together.

    `summaries` tell what reading that part of every frame gave.
    """

    pairs: Ints
    centres: Ints | None
    terms: list[Terms | None]
    summaries: dict[int, ReadSummary]

    def plus(self, other: BlockResult) -> BlockResult:
        """The result of two blocks together; a pair without terms in one of them has none."""
        terms = [
            mine.add(others) if mine is not None and others is not None else None
            for mine, others in zip(self.terms, other.terms, strict=True)
        ]
        summaries = {
            frame: summary.plus(other.summaries[frame]) for frame, summary in self.summaries.items()
        }
        return BlockResult(self.pairs, self.centres, terms, summaries)


def measure_pairs(
    source: FrameSource,
    table: PairTable,
    method: Method,
    size: BatchSize,
    *,
    client: Engine = None,
    on_batch: OnBatch | None = None,
) -> Iterator[tuple[PairTable, int]]:
    """Measure every pair of `table` that is not measured yet, or that failed.

    Yields the table so far and how many of its rows are measured, after each batch; before that
    `on_batch` is called with the table, the rows of the batch and the frames that were read for
    them. A row does not depend on its batch, nor on where that was run. The pairs of a batch that
    is given up have the status FAILED.

    Raises
    ------
    RunError
        Where more pairs fail than the engine allows, or it cannot go on.
    """
    columns = (*PAIR_FIELDS, *FRAME_FIELDS, "failures")
    table = replace(table, **{name: getattr(table, name).copy() for name in columns})
    rows = np.flatnonzero(table.to_do)
    table.status[rows] = PairStatus.UNMEASURED.code
    table.failures.clear()
    unreadable = table.frame_read_status == FrameStatus.UNREADABLE.code
    table.frame_read_status[unreadable] = FrameStatus.UNMEASURED.code
    pairs = np.stack([table.reference, table.moving], axis=1)
    done = len(table.status) - len(rows)
    yield table, done

    in_memory = source.in_memory
    sent = source, replace(method, initial_shifts=None)  # a task is told of its own pairs
    shared = [share(client, value) if in_memory else value for value in sent]
    batches = (
        (rows[chosen], centres) for chosen, centres in cut_into_batches(pairs[rows], method, size)
    )
    results: Iterator[tuple[NDArray[Any], BatchResult | Failure]]
    if len(method.search.blocks) == 1:
        tasks = ((batch, (pairs[batch], centres)) for batch, centres in batches)
        results = run_tasks(client, measure_task, tasks, *shared)
    else:
        blocks = range(len(method.search.blocks))
        trees = (
            (batch, [(pairs[batch], centres, block) for block in blocks])
            for batch, centres in batches
        )
        results = run_trees(client, measure_block, BlockResult.plus, finish_batch, trees, *shared)
    for batch, result in results:
        if isinstance(result, Failure):
            _give_up(table, batch, result)
            frames = np.empty(0, np.int64)
        else:
            _fill_in(table, batch, result)
            frames = result.frames
        if on_batch is not None:
            on_batch(table, batch, frames)
        done += len(batch)
        yield table, done
        if isinstance(result, Failure):
            _check_failed(table, as_cluster(client).max_failed, result)


def cut_into_batches(
    pairs: Ints, method: Method, size: BatchSize
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64] | None]]:
    """Cut pairs (n, 2) into tasks: yields row numbers into them, and these pairs' centres."""
    for rows, centres in group_by_cell(method, pairs):
        for batch in batch_pairs(pairs[rows], size.frames, size.pairs):
            yield rows[batch], None if centres is None else centres[batch]


def measure_batch(
    pairs: Ints, source: FrameSource, method: Method, centres: Ints | None = None
) -> BatchResult:
    """Register pairs (n, 2) of frames that are one block; each frame is read and prepared once.

    `centres` are those of their searches, of one cell; None: those that the method knows.
    """
    if centres is None:
        centres = find_pair_centres(method, pairs)
    method = replace(method, search=make_search(method, centres))
    summaries: dict[int, ReadSummary] = {}
    terms = _iterate_terms(pairs, centres, 0, source, method, summaries)
    return _register_batch(pairs, centres, terms, summaries, method.search)


def measure_task(
    task: tuple[Ints, Ints | None], source: FrameSource, method: Method
) -> BatchResult:
    """Register the pairs of one task, (pairs, centres), on a worker."""
    pairs, centres = task
    return measure_batch(pairs, source, method, centres)


def measure_block(
    task: tuple[Ints, Ints | None, int], source: FrameSource, method: Method
) -> BlockResult:
    """The terms of pairs in one block of their frames; each is read once."""
    pairs, centres, block = task
    method = replace(method, search=make_search(method, centres))
    summaries: dict[int, ReadSummary] = {}
    terms = list(_iterate_terms(pairs, centres, block, source, method, summaries))
    return BlockResult(pairs, centres, terms, summaries)


def finish_batch(result: BlockResult, source: FrameSource, method: Method) -> BatchResult:
    """Register the pairs of a batch whose blocks have all been joined."""
    search = make_search(method, result.centres)
    return _register_batch(result.pairs, result.centres, result.terms, result.summaries, search)


def _iterate_terms(
    pairs: Ints,
    centres: Ints | None,
    block: int,
    source: FrameSource,
    method: Method,
    summaries: dict[int, ReadSummary],
) -> Iterator[Terms | None]:
    """Yield the terms of every pair in a block, None if one of its frames is of no use.

    None also where the frames do not touch as far as is searched. Every frame that is read adds its
    summary to `summaries`: those of a pair are there when its terms are. A frame is held from its
    first pair to its last.
    """
    camera_images = read_camera_images(method, source.frame_shape, block)
    common = read_common_mask(source, block, method)
    search = method.search
    last_use = {int(frame): row for row, pair in enumerate(pairs) for frame in pair}
    held: dict[int, MaskedImage] = {}
    for row, (reference, moving) in enumerate(pairs.tolist()):
        for frame in (reference, moving):
            if frame not in summaries:
                masks = list(dict.fromkeys([common, *(image.mask for image in held.values())]))
                image, summaries[frame] = prepare_block(
                    source, frame, block, method, camera_images, masks
                )
                if image is not None:
                    held[frame] = image
        alone = len(search.blocks) == 1 and not all(
            summaries[frame].pair_status is PairStatus.OK for frame in (reference, moving)
        )
        centre = None if centres is None else centres[row].tolist()
        apart = centre is not None and not search.touches(centre)
        if alone or apart or reference not in held or moving not in held:
            yield None
        else:
            stays = held[reference].crop(search.blocks[block].core)
            yield compute_block_terms(stays, held[moving], search, block, method.keep, centre)
        for frame in {reference, moving}:
            if last_use[frame] == row:
                held.pop(frame, None)


def _register_batch(
    pairs: Ints,
    centres: Ints | None,
    terms: Iterable[Terms | None],
    summaries: dict[int, ReadSummary],
    search: Search,
) -> BatchResult:
    """Register pairs by their terms; `summaries` may be filled while these are gone through."""
    table = PairTable.unmeasured(pairs, 0, len(search.shape))
    centre_of = [None] * len(pairs) if centres is None else centres.tolist()
    surfaces = (
        _make_surface([summaries[frame] for frame in pair], terms_of_pair, search, centre)
        for pair, terms_of_pair, centre in zip(pairs.tolist(), terms, centre_of, strict=True)
    )
    for row, registration in enumerate(register_surfaces(surfaces, search)):
        _set_row(table, row, registration)
    frames = np.array(sorted(summaries), np.int64)
    read = [summaries[frame] for frame in frames.tolist()]
    columns = {
        column.field: np.array([summary.value_of(column) for summary in read], column.dtype)
        for column in FRAME_RESULTS
    }
    reasons = {frame: summary.reason for frame, summary in summaries.items() if summary.reason}
    return BatchResult(table, frames, columns, reasons)


def _make_surface(
    both: list[ReadSummary], terms: Terms | None, search: Search, centre: list[int] | None
) -> Surface | Registration:
    """The surface of a pair; or its registration, where a frame is of no use."""
    statuses = {summary.pair_status for summary in both}
    for status in (PairStatus.UNREADABLE, PairStatus.EMPTY, PairStatus.FLAT):
        if status in statuses:
            return Registration.unknown(len(search.shape), status)
    if terms is None:  # frames that do not touch as far as is searched
        return Registration.unknown(len(search.shape), PairStatus.LOW_OVERLAP)
    return make_surface(terms, search, centre=centre)


def _set_row(table: PairTable, row: int, registration: Registration) -> None:
    table.shift[row] = registration.shift
    table.shift_std[row] = np.sqrt(np.diag(registration.covariance))
    table.ncc[row] = registration.ncc
    table.second_peak_ratio[row] = registration.second_peak_ratio
    table.overlap[row] = registration.overlap
    table.status[row] = registration.status.code


def _fill_in(table: PairTable, rows: NDArray[Any], result: BatchResult) -> None:
    """Write the result of a batch into the rows of a table, and into those of its frames."""
    for column in PAIR_RESULTS:
        getattr(table, column.field)[rows] = getattr(result.table, column.field)
    before = table.frame_read_status[result.frames]
    unreadable = result.columns["frame_read_status"] == FrameStatus.UNREADABLE.code
    for frame in result.frames[unreadable & (before != FrameStatus.UNREADABLE.code)].tolist():
        log.warning("frame %d is unreadable: %s", frame, result.reasons[frame])
    # A frame that was read for other pairs stays as it was: what failed now may pass.
    kept = unreadable & (before != FrameStatus.UNMEASURED.code)
    for name, values in result.columns.items():
        getattr(table, name)[result.frames[~kept]] = values[~kept]


def _give_up(table: PairTable, rows: NDArray[Any], failure: Failure) -> None:
    """Mark the pairs of a batch as failed."""
    table.status[rows] = PairStatus.FAILED.code
    table.failures.update(dict.fromkeys(rows.tolist(), failure.reason))
    log.warning("%d pairs failed, tries: %d: %s", len(rows), failure.tries, failure.reason)


def _check_failed(table: PairTable, most: float, failure: Failure) -> None:
    """Stop a run of which too much fails."""
    failed, total = table.count([PairStatus.FAILED]), len(table.status)
    if failed > most * total:
        raise RunError(
            f"{failed} of {total} pairs failed, more than cluster.max_failed {most:g} allows (the "
            f"last one: {failure.reason}); what was measured is saved: run the same command to "
            "continue"
        ) from failure.error
