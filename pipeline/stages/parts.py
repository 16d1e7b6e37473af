"""A measuring that is shared out: parts of the batches as runs of their own, and gathered again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.config import ClusterSection
from pipeline.measure import MEASURED
from pipeline.model import FrameStatus, InputError, PairStatus, PairTable
from pipeline.pairs import batch_pairs
from pipeline.setup import Setup
from pipeline.stages.dataset import dataset, new_table, own_shifts
from pipeline.store.parts import part_path, part_paths, remove_part
from pipeline.store.shifts import exists, read_pairs, save_shifts


def part_of(setup: Setup, number: int, count: int) -> Setup:
    """The run that measures one of so many parts of the batches, numbered from 1.

    It writes a dataset of its own. Where the workers of the whole are batch jobs those of a part
    are processes of the machine it runs on: it is a batch job itself.
    """
    if not 1 <= number <= count:
        raise InputError(f"part {number} of {count}: parts are numbered from 1 to their number")
    batches = batch_pairs(setup.pairs, setup.size.frames, setup.size.pairs)
    if count > len(batches):
        raise InputError(f"{count} parts of {len(batches)} batches: make no more parts than that")
    begin, end = (len(batches) * part // count for part in (number - 1, number))
    rows = np.sort(np.concatenate(batches[begin:end]))
    config = setup.config
    output = {"shifts": part_path(config.output.shifts, number, count), "report": None}
    update = {
        "output": config.output.model_copy(update=output),
        "cluster": _here(config.cluster),
    }
    return replace(setup, config=config.model_copy(update=update), pairs=setup.pairs[rows])


def _here(cluster: ClusterSection) -> ClusterSection:
    if not cluster.batch:
        return cluster
    kept = ("threads_per_worker", "worker_memory", "retries", "max_failed", "lost_after")
    return ClusterSection(
        kind="local",
        task_memory=cluster.task_memory,
        **{name: getattr(cluster, name) for name in kept},
    )


def gather(setup: Setup) -> None:
    """Take the rows of all parts that are there into the dataset of the run.

    Parts that are measured to the end are removed then; others may be at work.
    """
    path = setup.config.output.shifts
    parts = part_paths(path)
    if not parts:
        return
    table = read_pairs(own_shifts(setup)) if exists(path) else new_table(setup)
    found = {part: read_pairs(own_shifts(_at(setup, part))) for part in parts}
    for part in found.values():
        _take(table, part)
    save_shifts(dataset(setup, table), path)
    for name, part in found.items():
        if not part.count([PairStatus.UNMEASURED]):
            remove_part(name)


def remove_parts(setup: Setup) -> None:
    """Remove what parts of this run measured."""
    for part in part_paths(setup.config.output.shifts):
        remove_part(part)


def _at(setup: Setup, path: str) -> Setup:
    output = setup.config.output.model_copy(update={"shifts": path})
    return replace(setup, config=setup.config.model_copy(update={"output": output}))


def _take(table: PairTable, part: PairTable) -> None:
    """Write the rows that a part has measured into those of the same pairs that are still to do."""
    count = len(table.frame_status)
    of_table, of_part = (one.reference * count + one.moving for one in (table, part))
    order = np.argsort(of_table)
    place = np.searchsorted(of_table, of_part, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    if (of_table[rows] != of_part).any():
        raise InputError("a part holds pairs that the run does not: measure anew with --overwrite")
    taken = (part.status != PairStatus.UNMEASURED.code) & table.to_do[rows]
    for name in MEASURED:
        getattr(table, name)[rows[taken]] = getattr(part, name)[taken]
    for row in rows[taken].tolist():
        table.failures.pop(row, None)
    table.failures.update({int(rows[row]): why for row, why in part.failures.items() if taken[row]})
    unreadable, unknown = FrameStatus.UNREADABLE.code, FrameStatus.UNMEASURED.code
    better = part.frame_status != unknown
    better &= (part.frame_status != unreadable) | (table.frame_status == unknown)
    table.frame_status[better] = part.frame_status[better]


def parsed_part(text: str) -> tuple[int, int]:
    """(3, 16) of "3/16"."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise InputError(f"--batches {text!r} is not a part such as 3/16")
    return int(number), int(count)
