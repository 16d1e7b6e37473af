"""Measure pairs: batches of them as tasks, each row filled once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cluster import Engine, run_tasks, share
from pipeline.model import (
    Frame,
    FrameSource,
    FrameStatus,
    Ints,
    PairStatus,
    PairTable,
    Registration,
)
from pipeline.ncc import is_flat
from pipeline.pairs import batch_pairs, frames_held
from pipeline.preprocess import Conditioning, condition, masked_median, usable_pixels
from pipeline.register import Prepared, Search, prepare, register_prepared
from pipeline.store.arrays import ArrayFrames
from pipeline.store.masks import read_image

log = logging.getLogger(__name__)

# Frames that the stack's own median is taken over: evenly spread, enough to outvote the scene.
MEDIAN_FRAMES = 64
FEWEST_MEDIAN_FRAMES = 9
# Memory for those frames; fewer are taken where they are large.
FLAT_FIELD_BYTES = 2**30
# Transformed pixels that a task should go through: about a second of one core.
TASK_PIXELS = 4e7

MEASURED_COLUMNS = ("shift", "std", "ncc", "runner_up", "overlap", "status", "frame_status")


@dataclass(frozen=True)
class Method:
    """Everything that affects the shift of a pair, apart from the frames themselves.

    `flat_field` is an image, the path of one, or None.
    """

    search: Search
    conditioning: Conditioning = field(default_factory=Conditioning)
    flat_field: NDArray[np.float64] | str | None = None


@dataclass(frozen=True)
class BatchSize:
    """How much one task takes on, and the memory it needs for that."""

    frames: int
    pairs: int
    frame_bytes: int
    working_bytes: int

    def bytes_for(self, pairs: Ints) -> int:
        """The memory in which the pairs (n, 2) of a batch are measured."""
        return frames_held(pairs) * self.frame_bytes + self.working_bytes

    @classmethod
    def within(cls, memory: int, frame_shape: tuple[int, ...], search: Search) -> BatchSize:
        """The batch that fits into `memory` bytes; from integers alone.

        A prepared frame is three half-complex transforms in single precision. Beside the frames
        that are held, a task needs room to read and prepare one frame and to correlate one pair.
        """
        pixels = int(np.prod(frame_shape))
        padded = int(np.prod(search.fft_shape[:-1])) * (search.fft_shape[-1] // 2 + 1)
        lags = int(np.prod(search.window.shape))
        held = 3 * 8 * padded
        working = 3 * 8 * padded + 40 * lags + 16 * pixels
        frames = max(2, (memory - working) // held)
        pairs = max(1, int(TASK_PIXELS // int(np.prod(search.fft_shape))))
        frames = min(frames, pairs + 1)
        return cls(frames, pairs, held, working)


@dataclass(frozen=True)
class BatchResult:
    """What a batch found: one registration per pair, one status per frame it read."""

    registrations: list[Registration]
    frame_status: dict[int, FrameStatus]
    reasons: dict[int, str]  # of frames that could not be read


def measure_pairs(
    source: FrameSource,
    table: PairTable,
    method: Method,
    size: BatchSize,
    *,
    client: Engine = None,
) -> Iterator[tuple[PairTable, int]]:
    """Measure every pair of `table` that is not measured yet.

    Yields the table so far and how many of its rows are measured, after each batch. A row does not
    depend on its batch, nor on where that was run.
    """
    table = replace(table, **{name: getattr(table, name).copy() for name in MEASURED_COLUMNS})
    rows = np.flatnonzero(table.status == PairStatus.UNMEASURED.code)

    def pairs_of(some: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.stack([table.reference[some], table.moving[some]], axis=1)

    batches = [rows[part] for part in batch_pairs(pairs_of(rows), size.frames, size.pairs)]
    in_memory = isinstance(source, ArrayFrames)
    done = len(table.status) - len(rows)
    yield table, done

    shared = [share(client, part) if in_memory else part for part in (source, method)]
    tasks = ((batch, pairs_of(batch)) for batch in batches)
    for (batch, _), result in run_tasks(client, _measure_task, tasks, *shared):
        _fill(table, batch, result)
        done += len(batch)
        yield table, done


def _measure_task(
    task: tuple[NDArray[np.int64], Ints], source: FrameSource, method: Method
) -> BatchResult:
    return measure_batch(task[1], source, method)


def measure_batch(pairs: Ints, source: FrameSource, method: Method) -> BatchResult:
    """Register the pairs (n, 2) of frames of `source`; every frame is read and prepared once."""
    flat_field = method.flat_field
    if isinstance(flat_field, str):
        flat_field = read_image(flat_field, source.frame_shape)
    last_use = {int(frame): row for row, pair in enumerate(pairs) for frame in pair}
    prepared: dict[int, Prepared] = {}
    frame_status: dict[int, FrameStatus] = {}
    reasons: dict[int, str] = {}
    registrations = []
    for row, pair in enumerate(pairs):
        for frame in (int(pair[0]), int(pair[1])):
            if frame not in prepared:
                read = source.read(frame)
                if read.status is FrameStatus.UNREADABLE:
                    reasons[frame] = read.reason
                prepared[frame], frame_status[frame] = _prepare_frame(read, method, flat_field)
        reference, moving = (prepared[int(frame)] for frame in pair)
        registrations.append(register_prepared(reference, moving, method.search))
        for frame in {int(pair[0]), int(pair[1])}:
            if last_use[frame] == row:
                prepared[frame] = Prepared(None, prepared[frame].status)
    return BatchResult(registrations, frame_status, reasons)


def own_flat_field(source: FrameSource, conditioning: Conditioning) -> NDArray[np.float64]:
    """The masked temporal median of frames spread evenly over a stack; NaN where none is valid.

    `conditioning` says which pixels are valid.
    """
    affordable = max(
        FLAT_FIELD_BYTES // (8 * int(np.prod(source.frame_shape))), FEWEST_MEDIAN_FRAMES
    )
    count = min(MEDIAN_FRAMES, source.frame_count, affordable)
    chosen = np.unique(np.linspace(0, source.frame_count - 1, count).round().astype(int))
    frames = [source.read(int(frame)) for frame in chosen]
    usable = [usable_pixels(frame.image, frame.valid, conditioning) for frame in frames]
    return masked_median(np.stack([frame.image for frame in frames]), np.stack(usable))


def _prepare_frame(
    read: Frame, method: Method, flat_field: NDArray[np.float64] | None
) -> tuple[Prepared, FrameStatus]:
    """Find what is valid in a frame, and make it ready."""
    if read.status is FrameStatus.UNREADABLE:
        return Prepared(None, PairStatus.UNREADABLE), read.status
    if read.status is FrameStatus.MISSING:
        return Prepared(None, PairStatus.EMPTY), read.status
    # Judged on the frame as it was read: a flat field or a high-pass gives a blank frame texture.
    usable = usable_pixels(read.image, read.valid, method.conditioning)
    if not usable.any():
        return Prepared(None, PairStatus.EMPTY), FrameStatus.EMPTY
    if is_flat(read.image, usable):
        return Prepared(None, PairStatus.FLAT), FrameStatus.FLAT
    image, valid = condition(read.image, read.valid, method.conditioning, flat_field)
    prepared = prepare(image, valid, method.search.fft_shape)
    cause = {PairStatus.EMPTY: FrameStatus.EMPTY, PairStatus.FLAT: FrameStatus.FLAT}
    return prepared, cause.get(prepared.status, read.status)


def _fill(table: PairTable, rows: NDArray[Any], result: BatchResult) -> None:
    """Write the results of a batch into the rows of a table."""
    for row, found in zip(rows, result.registrations, strict=True):
        table.shift[row] = found.shift
        table.std[row] = np.sqrt(np.diag(found.covariance))
        table.ncc[row] = found.ncc
        table.runner_up[row] = found.runner_up
        table.overlap[row] = found.overlap
        table.status[row] = found.status.code
    for frame, status in result.frame_status.items():
        if status is FrameStatus.UNREADABLE and table.frame_status[frame] != status.code:
            log.warning("frame %d is unreadable: %s", frame, result.reasons[frame])
        table.frame_status[frame] = status.code
