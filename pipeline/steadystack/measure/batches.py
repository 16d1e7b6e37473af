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
    read_block,
    read_camera_images,
    read_common_mask,
)
from steadystack.model import (
    MEASURED,
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

UNKNOWN = FrameStatus.UNMEASURED.code

Noted: TypeAlias = Callable[[PairTable, Ints, Ints], None]


@dataclass(frozen=True)
class BatchResult:
    """What a batch found: the rows of its pairs, and what became of every frame it read."""

    table: PairTable
    frames: dict[int, tuple[FrameStatus, str]]  # with the reason, if one could not be read


@dataclass(frozen=True)
class BlockResult:
    """What a batch found in one block of its frames, or in several together."""

    pairs: Ints
    centres: Ints | None
    terms: list[Terms | None]
    seen: dict[int, ReadSummary]

    def plus(self, other: BlockResult) -> BlockResult:
        """Of both together; a pair without terms in one of them has none."""
        terms = [
            one.plus(two) if one is not None and two is not None else None
            for one, two in zip(self.terms, other.terms, strict=True)
        ]
        seen = {frame: found.plus(other.seen[frame]) for frame, found in self.seen.items()}
        return BlockResult(self.pairs, self.centres, terms, seen)


def measure_pairs(
    source: FrameSource,
    table: PairTable,
    method: Method,
    size: BatchSize,
    *,
    client: Engine = None,
    noted: Noted | None = None,
) -> Iterator[tuple[PairTable, int]]:
    """Measure every pair of `table` that is not measured yet, or that failed.

    Yields the table so far and how many of its rows are measured, after each batch; before that
    `noted` is called with the table, the rows of the batch and the frames that were read for them.
    A row does not depend on its batch, nor on where that was run. The pairs of a batch that is
    given up have the status FAILED.

    Raises
    ------
    RunError
        Where more pairs fail than the engine allows, or it cannot go on.
    """
    columns = (*MEASURED, "frame_read_status", "failures")
    table = replace(table, **{name: getattr(table, name).copy() for name in columns})
    rows = np.flatnonzero(table.to_do)
    table.status[rows] = PairStatus.UNMEASURED.code
    table.failures.clear()
    table.frame_read_status[table.frame_read_status == FrameStatus.UNREADABLE.code] = UNKNOWN
    pairs = np.stack([table.reference, table.moving], axis=1)
    done = len(table.status) - len(rows)
    yield table, done

    in_memory = source.in_memory
    sent = source, replace(method, initial_shifts=None)  # a task is told of its own pairs
    shared = [share(client, part) if in_memory else part for part in sent]
    batches = (
        (rows[part], centres) for part, centres in cut_into_batches(pairs[rows], method, size)
    )
    results: Iterator[tuple[NDArray[Any], BatchResult | Failure]]
    if len(method.search.blocks) == 1:
        tasks = ((b, (pairs[b], centres)) for b, centres in batches)
        results = run_tasks(client, measure_task, tasks, *shared)
    else:
        blocks = range(len(method.search.blocks))
        trees = ((b, [(pairs[b], centres, block) for block in blocks]) for b, centres in batches)
        results = run_trees(client, measure_block, BlockResult.plus, finish_batch, trees, *shared)
    for batch, result in results:
        if isinstance(result, Failure):
            _fail(table, batch, result)
        else:
            _fill(table, batch, result)
        if noted is not None:
            frames = [] if isinstance(result, Failure) else sorted(result.frames)
            noted(table, batch, np.array(frames, np.int64))
        done += len(batch)
        yield table, done
        if isinstance(result, Failure):
            _check_failed(table, as_cluster(client).max_failed, result)


def cut_into_batches(
    pairs: Ints, method: Method, size: BatchSize
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64] | None]]:
    """What is measured in one task: row numbers into pairs (n, 2), and the pairs' centres."""
    for rows, centres in group_by_cell(method, pairs):
        for part in batch_pairs(pairs[rows], size.frames, size.pairs):
            yield rows[part], None if centres is None else centres[part]


def measure_batch(
    pairs: Ints, source: FrameSource, method: Method, centres: Ints | None = None
) -> BatchResult:
    """Register pairs (n, 2) of frames that are one block; each frame is read and prepared once.

    `centres` are those of their searches, of one cell; None: those that the method knows.
    """
    if centres is None:
        centres = find_pair_centres(method, pairs)
    method = replace(method, search=make_search(method, centres))
    seen: dict[int, ReadSummary] = {}
    terms = _compute_terms(pairs, centres, 0, source, method, seen)
    return _register_batch(pairs, centres, terms, seen, method.search)


def measure_task(
    task: tuple[Ints, Ints | None], source: FrameSource, method: Method
) -> BatchResult:
    """`measure_batch` for pairs and their centres."""
    pairs, centres = task
    return measure_batch(pairs, source, method, centres)


def measure_block(
    task: tuple[Ints, Ints | None, int], source: FrameSource, method: Method
) -> BlockResult:
    """The terms of pairs in one block of their frames; each is read once."""
    pairs, centres, block = task
    method = replace(method, search=make_search(method, centres))
    seen: dict[int, ReadSummary] = {}
    terms = list(_compute_terms(pairs, centres, block, source, method, seen))
    return BlockResult(pairs, centres, terms, seen)


def finish_batch(found: BlockResult, source: FrameSource, method: Method) -> BatchResult:
    """Register pairs whose terms are complete."""
    search = make_search(method, found.centres)
    return _register_batch(found.pairs, found.centres, found.terms, found.seen, search)


def _compute_terms(
    pairs: Ints,
    centres: Ints | None,
    block: int,
    source: FrameSource,
    method: Method,
    seen: dict[int, ReadSummary],
) -> Iterator[Terms | None]:
    """The terms of every pair in a block, None if one of its frames is of no use.

    None also where the frames do not touch as far as is searched. `seen` is filled on the way. A
    frame is held from its first pair to its last.
    """
    camera_images = read_camera_images(method, source.frame_shape, block)
    common = read_common_mask(source, block, method)
    search = method.search
    last_use = {int(frame): row for row, pair in enumerate(pairs) for frame in pair}
    held: dict[int, MaskedImage] = {}
    for row, (reference, moving) in enumerate(pairs.tolist()):
        for frame in (reference, moving):
            if frame not in seen:
                masks = list(dict.fromkeys([common, *(image.mask for image in held.values())]))
                image, seen[frame] = read_block(source, frame, block, method, camera_images, masks)
                if image is not None:
                    held[frame] = image
        alone = len(search.blocks) == 1 and not all(
            seen[frame].pair_status is PairStatus.OK for frame in (reference, moving)
        )
        centre = None if centres is None else centres[row].tolist()
        apart = centre is not None and not search.touches(centre)
        if alone or apart or reference not in held or moving not in held:
            yield None
        else:
            stays = held[reference].part(search.blocks[block].core)
            yield compute_block_terms(stays, held[moving], search, block, method.keep, centre)
        for frame in {reference, moving}:
            if last_use[frame] == row:
                held.pop(frame, None)


def _register_batch(
    pairs: Ints,
    centres: Ints | None,
    terms: Iterable[Terms | None],
    seen: dict[int, ReadSummary],
    search: Search,
) -> BatchResult:
    """Registrations from terms, as rows."""
    table = PairTable.unmeasured(pairs, 0, len(search.shape))
    lags = [None] * len(pairs) if centres is None else centres.tolist()
    surfaces = (
        _make_surface([seen[frame] for frame in pair], found, search, centre)
        for pair, found, centre in zip(pairs.tolist(), terms, lags, strict=True)
    )
    for row, registration in enumerate(register_surfaces(surfaces, search)):
        _put(table, row, registration)
    frames = {frame: (found.frame_status, found.reason) for frame, found in seen.items()}
    return BatchResult(table, frames)


def _make_surface(
    both: list[ReadSummary], terms: Terms | None, search: Search, centre: list[int] | None
) -> Surface | Registration:
    statuses = {one.pair_status for one in both}
    for status in (PairStatus.UNREADABLE, PairStatus.EMPTY, PairStatus.FLAT):
        if status in statuses:
            return Registration.unknown(len(search.shape), status)
    if terms is None:  # frames that do not touch as far as is searched
        return Registration.unknown(len(search.shape), PairStatus.LOW_OVERLAP)
    return make_surface(terms, search, centre=centre)


def _put(table: PairTable, row: int, found: Registration) -> None:
    table.shift[row] = found.shift
    table.shift_std[row] = np.sqrt(np.diag(found.covariance))
    table.ncc[row] = found.ncc
    table.second_peak_ratio[row] = found.second_peak_ratio
    table.overlap[row] = found.overlap
    table.status[row] = found.status.code


def _fill(table: PairTable, rows: NDArray[Any], result: BatchResult) -> None:
    """Write the results of a batch into the rows of a table."""
    for name in MEASURED:
        getattr(table, name)[rows] = getattr(result.table, name)
    for frame, (status, reason) in result.frames.items():
        if status is FrameStatus.UNREADABLE:
            if table.frame_read_status[frame] == status.code:
                continue
            log.warning("frame %d is unreadable: %s", frame, reason)
            if table.frame_read_status[frame] != UNKNOWN:
                continue  # it was read for other pairs: what failed now may pass
        table.frame_read_status[frame] = status.code


def _fail(table: PairTable, rows: NDArray[Any], failure: Failure) -> None:
    """Give up the rows of a batch."""
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
