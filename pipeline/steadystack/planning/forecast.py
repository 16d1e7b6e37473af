"""Forecast what a run will do and need, from sizes and counts, before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from steadystack.cluster import read_available_memory
from steadystack.config import ClusterSection
from steadystack.defects import estimate_field_bytes, estimate_search_bytes
from steadystack.measure import (
    count_fixed_pattern_frames,
    cut_into_batches,
    estimate_fixed_pattern_bytes,
    estimate_flat_field_bytes,
    estimate_refine_bytes,
    list_searches,
)
from steadystack.model import COLUMNS, NODE_DIMS, InputError, count_parts
from steadystack.planning.layout import (
    MIB,
    OWN_BYTES,
    ROW_BYTES,
    SHARE,
    WORKER_BYTES,
    Setup,
    count_wanted_workers,
)

# Most times that the estimate of a fixed pattern reads its frames, and how often a round of
# refinement, or the whole fit of the linear motion, reads all frames.
STATIC_READS, REFINE_READS, MOTION_READS = 12, 3, 8
# Most frames read for the mean that is compared with an external reference, and the memory for
# registering it at every shift, bytes per pixel: 480 to 640 were observed.
OUTSIDE_READS, OUTSIDE_PIXEL_BYTES = 32, 700


@dataclass(frozen=True)
class CorrectedPlan:
    """Forecast of the corrected stack, mean or movie: pixels per array axis, levels, tasks, bytes.

    A movie has 0 `levels`. `written_bytes` are those of all levels before they are compressed.
    `known` says whether the numbers follow from solved shifts; before that, crop and expand are
    planned as if no frame moved.
    """

    shape: tuple[int, ...]
    levels: int
    tasks: int
    task_bytes: int
    written_bytes: int
    known: bool
    what: str = "corrected"

    def describe(self) -> list[tuple[str, str]]:
        """Describe the corrected stack for the user, as names and values."""
        condition = "" if self.known else " if nothing moved"
        return [
            (
                self.what,
                f"{self.shape}{condition}" + f" in {self.levels} level(s)" * bool(self.levels),
            ),
            ("its tasks", f"{self.tasks} of up to {format_mib(self.task_bytes)} of memory"),
            ("to write", f"{format_mib(self.written_bytes)} before compression"),
        ]


@dataclass(frozen=True)
class Plan:
    """Forecast of a run: numbers of frames, pairs and tasks, bytes to read and bytes it needs.

    Only the `region` of a frame is read (pixels per axis), in `blocks`; the first of them is cut
    into tiles of `tile` pixels with transforms of `fft_shape`. `task_bytes`, `frames_per_task` and
    `pairs_per_task` are those of the largest task. With initial shifts, `max_shift` is around them;
    pairs are measured in `centres` groups with similar centres of the search (0: none). At most
    `extra_pairs` more are measured in a second round, with its own tasks. At most `further_bytes`
    are read for flat field, fixed pattern and refinement. A refinement task needs `refine_bytes`,
    this process `own_bytes`; `workers` of the `wanted_workers` fit into `memory_bytes` (0: they are
    not on this machine), each needing `worker_bytes`. The shifts dataset has `dataset_bytes` before
    compression. `corrected`, `mean` and `movie` are None where they are not asked for. With `auto`
    a run lowers `max_shift` to what some of its pairs require.
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
    wanted_workers: int
    workers: int
    memory_bytes: int
    dataset_bytes: int
    corrected: CorrectedPlan | None = None
    mean: CorrectedPlan | None = None
    movie: CorrectedPlan | None = None
    auto: bool = False
    frame_reads: int = 0
    further_reads: int = 0
    threads: int = 1

    def describe(self) -> list[tuple[str, str]]:
        """Describe the plan for the user, as names and values."""
        further = f", and up to {format_mib(self.further_bytes)} more" if self.further_bytes else ""
        extra, groups = self.extra_pairs, self.centres
        more = (
            f", and at most {extra} more in a second round where they are needed" if extra else ""
        )
        around = (
            f" around the initial shifts; {groups} group(s) of pairs with about the same centre"
            if groups
            else ""
        )
        auto = " at most (auto: a run determines how far it searches)" if self.auto else ""
        rows = [
            ("frames", f"{self.frames} of {self.frame_shape}"),
            ("pairs", f"{self.pairs}{more}"),
            ("max_shift", f"{self.max_shift} px{around}{auto}"),
            ("region read", f"{self.region} px in {self.blocks} block(s)"),
            ("tiles", f"{self.tile} px, transforms of {self.fft_shape}"),
            ("tasks", str(self.tasks)),
            (
                "largest task",
                f"{self.pairs_per_task} pairs, {self.frames_per_task} frames, "
                f"{format_mib(self.task_bytes)} of memory",
            ),
            ("to read", f"{format_mib(self.read_bytes)} (decoded){further}"),
            ("this process", format_mib(self.own_bytes)),
        ]
        if self.refine_bytes:
            rows.insert(-2, ("refine task", format_mib(self.refine_bytes)))
        if self.memory_bytes:
            fitting = str(self.workers)
            if self.wanted_workers > 1:
                fitting = f"{self.workers} of {self.wanted_workers}"
            each = f"{format_mib(self.worker_bytes)} each, of {format_mib(self.memory_bytes)} here"
            rows.append(("workers", f"{fitting}, {each}"))
        elif self.wanted_workers:
            rows.append(("workers", f"{format_mib(self.worker_bytes)} each, wherever they run"))
        disk = self.dataset_bytes
        for image in (self.corrected, self.mean, self.movie):
            if image:
                rows += image.describe()
                disk += image.written_bytes
        return [
            *rows,
            (
                "disk",
                f"{format_mib(disk)} before compression; twice that with --overwrite, until the "
                "new results are complete",
            ),
        ]


def format_mib(count: int) -> str:
    """Bytes as text, in MiB."""
    return f"{count / MIB:.1f} MiB" if count < 100 * MIB else f"{count / MIB:.0f} MiB"


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes of memory that a run needs.

    Attributes
    ----------
    task, refine : the most that a task needs which measures pairs, and one of the refinement
    own : this process, without tasks
    worker : a worker process with its tasks
    """

    task: int
    refine: int
    own: int
    worker: int


def estimate_needs(setup: Setup) -> MemoryNeeds:
    """Estimate the memory that a run needs at most; quick for any number of pairs."""
    config, size, search = setup.config, setup.size, setup.method.search
    count, pixels = setup.series.source.frame_count, math.prod(search.shape)
    task = size.most_bytes(count, len(setup.pairs))
    # frames of several blocks are shifted alone where motion.model is auto
    reads = config.solve_reads_frames and (config.motion.model != "auto" or len(search.blocks) == 1)
    refine = estimate_refine_bytes(pixels, setup.series.chunk_bytes) if reads else 0
    if setup.series.outside is not None:
        refine = max(refine, OUTSIDE_PIXEL_BYTES * pixels + setup.series.chunk_bytes)
    estimates = [0]
    whole = math.prod(setup.series.source.frame_shape)
    if config.mask.field_of_view is not None and len(search.blocks) == 1:
        estimates.append(estimate_field_bytes(whole, setup.series.pixel_bytes))
    if config.mask.defects is not None and len(search.blocks) == 1:
        estimates.append(estimate_search_bytes(count, whole, setup.series.pixel_bytes))
    if config.preprocess.flat_field == "median":
        pixels = math.prod(search.blocks[0].moving_shape)
        estimates.append(estimate_flat_field_bytes(count, pixels, setup.series.pixel_bytes))
    if config.preprocess.fixed_pattern == "estimate":
        estimates.append(max(task, estimate_fixed_pattern_bytes(pixels)))
    own_bytes = OWN_BYTES + ROW_BYTES * len(setup.pairs) + max(estimates)
    worker = WORKER_BYTES + config.cluster.threads_per_worker * max(task, refine)
    return MemoryNeeds(task, refine, own_bytes, worker)


def count_fitting_workers(setup: Setup, needs: MemoryNeeds | None = None) -> int | None:
    """Count how many of the wanted local worker processes fit into the memory of this machine.

    None if workers are not on this machine, or there are none.

    Raises InputError, with the key to change, if not even one fits.
    """
    needs = needs or estimate_needs(setup)
    section, available = setup.config.cluster, read_available_memory()
    if section.kind == "in-process":
        _check_memory(max(needs.task, needs.refine) + needs.own, available, section, needs)
        return None
    if section.kind != "local":
        return None
    _check_memory(
        max(needs.own + needs.worker, int(needs.worker / SHARE)), available, section, needs
    )
    count = min(int(SHARE * available) // needs.worker, (available - needs.own) // needs.worker)
    return min(count_wanted_workers(section), count)


def _check_memory(needed: int, available: int, section: ClusterSection, needs: MemoryNeeds) -> None:
    """Refuse a run that needs more bytes than are available, with the keys to change."""
    if needed <= available:
        return
    remedies = ["lower register.max_shift"]
    if section.threads_per_worker > 1 and section.kind == "local":
        remedies.insert(0, f"lower cluster.threads_per_worker {section.threads_per_worker}")
    if section.task_memory is not None:
        remedies.insert(0, f"lower cluster.task_memory {section.task_memory}")
    if needs.refine > needs.task:
        remedies.insert(0, "set solve.refine to 0 and motion.model to translation")
    raise InputError(
        f"the run needs {format_mib(needed)} of memory "
        f"(a task {format_mib(max(needs.task, needs.refine))}), "
        f"but there are {format_mib(available)} here: {' or '.join(remedies)}"
    )


def make_plan(setup: Setup) -> Plan:
    """Plan the work of a run in numbers, from sizes and counts alone."""
    series, section, needs = setup.series, setup.config.cluster, estimate_needs(setup)
    fitting = count_fitting_workers(setup, needs)
    threads = _count_threads(section, fitting)
    size = setup.size.among(threads, len(setup.pairs))
    searches = list_searches(setup.method, setup.pairs)
    largest_search = max(searches, key=lambda search: math.prod(search.layouts[0].fft_shape))
    batches = [rows for rows, _ in cut_into_batches(setup.pairs, setup.method, size)]
    frames_read = [len(np.unique(setup.pairs[batch])) for batch in batches]
    task_bytes = [size.bytes_for(setup.pairs[batch]) for batch in batches]
    largest, further = int(np.argmax(task_bytes)), _count_further_frames(setup)
    read_pixels = sum(math.prod(block.moving_shape) for block in largest_search.blocks)
    channels = max(len(series.source.channels), 1)
    is_local, in_process = section.kind == "local", section.kind == "in-process"
    return Plan(
        frames=series.source.frame_count,
        frame_shape=series.whole_frames.frame_shape,
        region=largest_search.shape,
        blocks=len(largest_search.blocks),
        tile=largest_search.layouts[0].tile,
        fft_shape=largest_search.layouts[0].fft_shape,
        max_shift=tuple(
            last - after
            for last, (_, after) in zip(
                setup.method.search.window.last, setup.method.search.margin, strict=True
            )
        ),
        auto=not setup.config.register_.is_decided,
        centres=len(searches) if setup.method.initial_shifts is not None else 0,
        pairs=len(setup.pairs),
        extra_pairs=math.ceil(setup.config.pairs.extra * len(setup.pairs)),
        tasks=len(batches) * len(largest_search.blocks),
        frames_per_task=frames_read[largest],
        pairs_per_task=len(batches[largest]),
        read_bytes=channels * sum(frames_read) * read_pixels * series.pixel_bytes,
        further_bytes=further * read_pixels * series.pixel_bytes,
        task_bytes=task_bytes[largest],
        refine_bytes=needs.refine,
        own_bytes=needs.own + (max(needs.task, needs.refine) if in_process else 0),
        worker_bytes=0 if in_process else needs.worker,
        wanted_workers=count_wanted_workers(section) if is_local else int(not in_process),
        workers=fitting or 0,
        memory_bytes=read_available_memory() if is_local else 0,
        dataset_bytes=_count_dataset_bytes(setup),
        frame_reads=sum(frames_read),
        further_reads=further,
        threads=threads,
    )


def _count_threads(section: ClusterSection, fitting: int | None) -> int:
    """Count the threads to cut tasks for; 1 if only a running cluster could tell."""
    workers = fitting or 0
    if section.uses_batch_jobs:
        workers = section.workers or section.workers_per_job
    return max(workers * section.threads_per_worker, 1)


def _count_dataset_bytes(setup: Setup) -> int:
    """Count the bytes of the shifts dataset before compression."""
    source = setup.series.source
    ndim = len(source.frame_shape)
    sizes = {
        "pair": math.ceil((1 + setup.config.pairs.extra) * len(setup.pairs)),
        "frame": source.frame_count,
        "part": count_parts(ndim),
        "channel": max(len(source.channels), 1),
        **dict.fromkeys(NODE_DIMS, 1),
        **dict(zip(NODE_DIMS[-ndim:], setup.config.motion.count_most_nodes(ndim), strict=True)),
        "axis": ndim,
        "of_axis": ndim,
    }
    return sum(
        math.prod(sizes[dim] for dim in column.dims) * np.dtype(column.dtype).itemsize
        for column in COLUMNS
    )


def _count_further_frames(setup: Setup) -> int:
    """Count the most frames that are read besides those of the pairs."""
    config, count = setup.config, setup.series.source.frame_count
    frames = REFINE_READS * config.solve.refine * count
    if config.motion.is_more_than_shift:
        frames += MOTION_READS * count
    if setup.series.outside is not None:
        frames += min(OUTSIDE_READS, count)
    if config.preprocess.fixed_pattern == "estimate":
        frames += STATIC_READS * count_fixed_pattern_frames(
            count, math.prod(setup.method.search.shape)
        )
    if config.preprocess.flat_field == "median":
        frames += min(count, 64)
    return frames
