"""What a run will do and need, from integers alone, before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from steadystack.cluster import memory_here
from steadystack.config import ClusterSection
from steadystack.measure import (
    batches_of,
    flat_field_bytes,
    refine_bytes,
    searches_of,
    static_bytes,
    static_frames,
)
from steadystack.model import InputError
from steadystack.planning.layout import (
    MIB,
    OWN_BYTES,
    ROW_BYTES,
    SHARE,
    WORKER_BYTES,
    Setup,
    wanted_workers,
)

# How often a static image's estimate reads its frames at most, and a round of refine all of them.
STATIC_READS, REFINE_READS = 12, 3


@dataclass(frozen=True)
class CorrectedPlan:
    """What the corrected stack will be: pixels per array axis, levels, tasks, bytes.

    `written_bytes` are those of all levels before they are compressed. `known` says whether they
    follow from shifts that are there: before, crop and expand count as if no frame moved.
    """

    shape: tuple[int, ...]
    levels: int
    tasks: int
    task_bytes: int
    written_bytes: int
    known: bool

    def rows(self) -> list[tuple[str, str]]:
        """The same for a reader, as names and values."""
        about = "" if self.known else " if nothing moved"
        return [
            ("corrected", f"{self.shape}{about} in {self.levels} level(s)"),
            ("its tasks", f"{self.tasks} of up to {_mib(self.task_bytes)} of memory"),
            ("to write", f"{_mib(self.written_bytes)} before it is compressed"),
        ]


@dataclass(frozen=True)
class Plan:
    """What a run will do: numbers of frames, pairs and tasks, bytes to read and bytes it needs.

    Of a frame only `region` is read (pixels per axis), in `blocks`; the first of them is cut into
    tiles of `tile` pixels with transforms of `fft_shape`. `task_bytes` and what a task has of
    frames and pairs are the largest task's. With a prior, `max_shift` is around it; pairs are
    measured in `centres` groups of about the same centre of the search (0: no prior). At most
    `extra_pairs` more are measured in a second round, with its own tasks. `further_bytes` are read
    at most for flat field, static image and refine. `refine_bytes` is what a task of the refine
    needs, `own_bytes` what this process does; `workers` of those that are `wanted` fit into
    `memory_bytes` (0: they are not of this machine), each of them of `worker_bytes`. `corrected`
    is None where no corrected stack is asked for.
    """

    frames: int
    frame_shape: tuple[int, ...]
    region: tuple[int, ...]
    blocks: int
    tile: tuple[int, ...]
    fft_shape: tuple[int, ...]
    max_shift: tuple[int, ...]
    centres: int
    pairs: int
    extra_pairs: int
    tasks: int
    frames_per_task: int
    pairs_per_task: int
    read_bytes: int
    further_bytes: int
    task_bytes: int
    refine_bytes: int
    own_bytes: int
    worker_bytes: int
    wanted: int
    workers: int
    memory_bytes: int
    corrected: CorrectedPlan | None = None

    def rows(self) -> list[tuple[str, str]]:
        """The same for a reader, as names and values."""
        further = f", and up to {_mib(self.further_bytes)} more" if self.further_bytes else ""
        extra, groups = self.extra_pairs, self.centres
        more = f", and at most {extra} in a second round where they are wanted" if extra else ""
        around = (
            f" around the initial shifts, pairs in {groups} group(s) of about the same centre"
            if groups
            else ""
        )
        rows = [
            ("frames", f"{self.frames} of {self.frame_shape}"),
            ("pairs", f"{self.pairs}{more}"),
            ("max_shift", f"{self.max_shift} px{around}"),
            ("region read", f"{self.region} px in {self.blocks} block(s)"),
            ("tiles", f"{self.tile} px, transforms of {self.fft_shape}"),
            ("tasks", str(self.tasks)),
            (
                "largest task",
                f"{self.pairs_per_task} pairs, {self.frames_per_task} frames, "
                f"{_mib(self.task_bytes)} of memory",
            ),
            ("to read", f"{_mib(self.read_bytes)} (decoded){further}"),
            ("this process", _mib(self.own_bytes)),
        ]
        if self.refine_bytes:
            rows.insert(-2, ("task of refine", _mib(self.refine_bytes)))
        if self.memory_bytes:
            fit = f"{self.workers} of {self.wanted}" if self.wanted > 1 else str(self.workers)
            each = f"{_mib(self.worker_bytes)} each, of {_mib(self.memory_bytes)} here"
            rows.append(("workers", f"{fit}, {each}"))
        elif self.wanted:
            rows.append(("workers", f"{_mib(self.worker_bytes)} each, wherever they are"))
        return rows + (self.corrected.rows() if self.corrected else [])


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count < 100 * MIB else f"{count / MIB:.0f} MiB"


@dataclass(frozen=True)
class Needs:
    """Bytes of memory that a run needs.

    Attributes
    ----------
    task, refine : of a task that measures pairs at most, and of one of the refine
    own : of this process, without tasks
    worker : of a worker process with its tasks
    """

    task: int
    refine: int
    own: int
    worker: int


def needs_of(setup: Setup) -> Needs:
    """What a run needs at most; quick for any number of pairs."""
    config, size, search = setup.config, setup.size, setup.method.search
    count, pixels = setup.series.source.frame_count, math.prod(search.shape)
    task = size.most_bytes(count, len(setup.pairs))
    refine = refine_bytes(pixels, setup.series.chunk_bytes) if config.solve.refine else 0
    before = [0]
    if config.preprocess.flat_field == "median":
        pixels = math.prod(search.blocks[0].moving_shape)
        before.append(flat_field_bytes(count, pixels, setup.series.pixel_bytes))
    if config.preprocess.fixed_pattern == "estimate":
        before.append(max(task, static_bytes(pixels)))
    own = OWN_BYTES + ROW_BYTES * len(setup.pairs) + max(before)
    worker = WORKER_BYTES + config.cluster.threads_per_worker * max(task, refine)
    return Needs(task, refine, own, worker)


def workers_that_fit(setup: Setup, needs: Needs | None = None) -> int | None:
    """How many worker processes of the local kind fit into the memory here, of those wanted.

    None for workers that are not of this machine, or none.

    Raises InputError where not even one fits, with the key to change.
    """
    needs, given, here = needs or needs_of(setup), setup.config.cluster, memory_here()
    if given.kind == "in-process":
        _check(max(needs.task, needs.refine) + needs.own, here, setup.config.cluster, needs)
        return None
    if given.kind != "local":
        return None
    _check(max(needs.own + needs.worker, int(needs.worker / SHARE)), here, given, needs)
    fit = min(int(SHARE * here) // needs.worker, (here - needs.own) // needs.worker)
    return min(wanted_workers(given), fit)


def _check(needed: int, here: int, given: ClusterSection, needs: Needs) -> None:
    if needed <= here:
        return
    ways = ["lower register.max_shift"]
    if given.threads_per_worker > 1 and given.kind == "local":
        ways.insert(0, f"lower cluster.threads_per_worker {given.threads_per_worker}")
    if given.task_memory is not None:
        ways.insert(0, f"lower cluster.task_memory {given.task_memory}")
    if needs.refine > needs.task:
        ways.insert(0, "set solve.refine to 0")
    raise InputError(
        f"the run needs {_mib(needed)} of memory (a task {_mib(max(needs.task, needs.refine))}), "
        f"and there are {_mib(here)} here: {' or '.join(ways)}"
    )


def plan_of(setup: Setup) -> Plan:
    """The work in numbers, from integers alone."""
    size, series, given = setup.size, setup.series, setup.config.cluster
    searches = searches_of(setup.method, setup.pairs)
    search = max(searches, key=lambda one: math.prod(one.layouts[0].fft_shape))
    batches = [rows for rows, _ in batches_of(setup.pairs, setup.method, size)]
    frames_read = [len(np.unique(setup.pairs[batch])) for batch in batches]
    task_bytes = [size.bytes_for(setup.pairs[batch]) for batch in batches]
    largest = int(np.argmax(task_bytes))
    read_pixels = sum(math.prod(block.moving_shape) for block in search.blocks)
    needs = needs_of(setup)
    local = given.kind == "local"
    return Plan(
        frames=series.source.frame_count,
        frame_shape=series.source.frame_shape,
        region=search.shape,
        blocks=len(search.blocks),
        tile=search.layouts[0].tile,
        fft_shape=search.layouts[0].fft_shape,
        max_shift=tuple(
            last - after
            for last, (_, after) in zip(
                setup.method.search.window.last, setup.method.search.margin, strict=True
            )
        ),
        centres=len(searches) if setup.method.prior is not None else 0,
        pairs=len(setup.pairs),
        extra_pairs=math.ceil(setup.config.pairs.extra * len(setup.pairs)),
        tasks=len(batches) * len(search.blocks),
        frames_per_task=frames_read[largest],
        pairs_per_task=len(batches[largest]),
        read_bytes=sum(frames_read) * read_pixels * series.pixel_bytes,
        further_bytes=_further_frames(setup) * read_pixels * series.pixel_bytes,
        task_bytes=task_bytes[largest],
        refine_bytes=needs.refine,
        own_bytes=needs.own + (0 if given.kind != "in-process" else max(needs.task, needs.refine)),
        worker_bytes=needs.worker if given.kind != "in-process" else 0,
        wanted=wanted_workers(given) if local else int(given.kind != "in-process"),
        workers=workers_that_fit(setup, needs) or 0,
        memory_bytes=memory_here() if local else 0,
    )


def _further_frames(setup: Setup) -> int:
    """How many frames are read at most, beside those of the pairs."""
    config, count = setup.config, setup.series.source.frame_count
    frames = REFINE_READS * config.solve.refine * count
    if config.preprocess.fixed_pattern == "estimate":
        frames += STATIC_READS * static_frames(count, math.prod(setup.method.search.shape))
    if config.preprocess.flat_field == "median":
        frames += min(count, 64)
    return frames
