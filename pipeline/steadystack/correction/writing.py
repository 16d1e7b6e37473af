"""A corrected stack on its way to disk: as OME-Zarr, region by region; as one OME-TIFF file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.correction.chunks import Regions
from steadystack.correction.corrected import Corrected
from steadystack.correction.regions import CorrectionPlan, correct_region, move_region
from steadystack.durable import get_place
from steadystack.model import InputError, OutputError
from steadystack.outputs import (
    OWN,
    TaskRecord,
    check_tiff,
    create_pyramid,
    explaining_write_errors,
    read_begun,
    read_digest,
    read_tiff_digest,
    write_fractions,
    write_ome_tiff,
)
from steadystack.readers import get_codecs

State = Literal["new", "begun", "done"]


def find_state(path: str, digest: str, layout: str, overwrite: bool) -> State:
    """What there is of a corrected stack.

    Raises InputError if its path, or that of what was begun, holds something else.
    """
    where = get_place(path)
    build = where.open_build()
    build.settle()
    there = read_digest(path)
    if there == digest and not overwrite:
        return "done"
    if there is not None and not overwrite:
        goes = (
            "the old one stays until the new one is complete"
            if where.keeps_old
            else "the old one is removed at once"
        )
        raise InputError(
            f"{path} was made with other shifts or settings: `steadystack correct --overwrite` "
            f"writes it again ({goes}), or set another output.corrected"
        )
    begun = read_begun(path)
    if begun is None or overwrite:
        return "new"
    if begun[0] != digest:
        raise InputError(
            f"{build.path} was begun with other shifts or settings: `steadystack correct "
            "--overwrite` starts over"
        )
    return "begun" if begun[1] == layout else "new"


def write_corrected(
    stack: Corrected,
    client: Engine,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write what is not written yet, and put the stack in its place.

    Raises
    ------
    InputError
        If the path holds something else; nothing is touched then.
    OutputError
        If it cannot be written; what is there is kept, and the next call goes on from it.
    """
    path, work = stack.path, stack.work
    digest, layout = (str(stack.attributes[OWN][key]) for key in ("digest", "layout"))
    state = find_state(path, digest, layout, overwrite)
    build = get_place(path).open_build()
    if state == "done":
        build.tidy()
        return
    if state == "new":
        codecs = get_codecs(work.source, work.target.version)
        with explaining_write_errors(path), build.beginning():
            create_pyramid(work.target, stack.attributes, codecs)
    with TaskRecord(path) as record:
        done = record.done
        left = ((number, number) for number in range(stack.tasks) if number not in done)
        for number, counts in run_tasks(client, correct_region, left, share(client, work)):
            if isinstance(counts, Failure):
                raise OutputError(f"{path}: {counts.reason}")
            with explaining_write_errors(path):
                record.add(number, counts)
            done[number] = counts
            if progress is not None:
                progress(len(done), stack.tasks)
    with explaining_write_errors(path):
        write_fractions(work.target, _gather_fractions(work, done))
        build.finish()


def _gather_fractions(work: CorrectionPlan, done: dict[int, list[int]]) -> NDArray[np.float64]:
    """(frames, channels): the known part of what is shown."""
    target = work.target
    channels = target.shape[target.axes.index("c")] if "c" in target.axes else 1
    total = np.zeros((work.source.frame_count, channels))
    for number, counts in done.items():
        side = dict(zip(target.axes, work.regions.at(number), strict=True))
        some = total[side["t"], side.get("c", slice(None))]
        some += np.reshape(counts, some.shape)
    return total / math.prod(work.box.shape)


def write_tiff(
    stack: Corrected,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write every frame and channel, one after the other, in this process.

    The file takes its place when it is whole; a call that was stopped starts anew. One for a remote
    path is written to the folder of temporary files first.

    Raises
    ------
    InputError
        If another file is there, or it cannot hold such pixels.
    OutputError
        If it cannot be written.
    """
    path, target = stack.path, stack.work.target
    check_tiff(path, np.dtype(target.dtype))
    digest = str(stack.attributes[OWN]["digest"])
    if get_place(path).exists() and not overwrite:
        if read_tiff_digest(path) == digest:
            return
        raise InputError(
            f"{path} exists, but does not belong to these shifts and settings: `steadystack "
            "correct --overwrite` writes it again, or set another output.corrected"
        )
    sides = tuple(
        1 if axis in "tc" else size for axis, size in zip(target.axes, target.shape, strict=True)
    )
    work = replace(stack.work, regions=Regions(target.shape, sides))

    def planes() -> Iterator[NDArray[Any]]:
        count = len(work.regions)
        for number in range(count):
            image, _ = move_region(work, work.regions.at(number))
            yield from image.reshape(-1, *image.shape[-2:])
            if progress is not None:
                progress(number + 1, count)

    with explaining_write_errors(path), get_place(path).replacing() as partial:
        try:
            write_ome_tiff(str(partial), planes(), target, stack.attributes, digest)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
