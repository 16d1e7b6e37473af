"""Write a corrected stack: as OME-Zarr, region by region, or as one OME-TIFF file."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.correction.chunks import Regions, scale_to_level
from steadystack.correction.corrected import Corrected
from steadystack.correction.regions import CorrectionPlan, correct_region, move_region
from steadystack.durable import get_place
from steadystack.model import InputError, OutputError
from steadystack.outputs import (
    CORRECTED,
    OWN,
    TaskRecord,
    check_image_holds_no_more,
    check_own_tiff,
    check_tiff,
    create_pyramid,
    explaining_write_errors,
    is_laid_out_alike,
    link_region,
    make_record,
    read_begun,
    read_digest,
    read_tiff_origin,
    write_fractions,
    write_motion,
    write_ome_tiff,
)
from steadystack.readers import get_codecs
from steadystack.warp import LocalField

log = logging.getLogger(__name__)

State = Literal["new", "begun", "done"]


def find_state(
    path: str,
    digest: str,
    layout: str,
    overwrite: bool,
    may_replace: bool = False,
    key: str = CORRECTED,
) -> State:
    """Find out whether what `key` asks for is new, begun or done.

    `digest` and `layout` are those of the store to be written. With `overwrite` it is started over;
    with `may_replace` it may replace an older one, and an unfinished one is continued. Raises
    InputError if something else is at its path, or at the path of the unfinished one.
    """
    place = get_place(path)
    build = place.open_build()
    build.settle()
    existing_digest = read_digest(path, key)
    begun = read_begun(path, key)
    if begun == (digest, layout) and not overwrite:
        return "begun"
    may_replace = may_replace or overwrite
    if existing_digest == digest and not may_replace:
        return "done"
    if existing_digest is not None and not may_replace:
        replacement = (
            "the old one stays until the new one is complete"
            if place.keeps_old
            else "the old one is removed at once"
        )
        raise InputError(
            f"{path} was made with other shifts or settings, or of other frames: write it again "
            f"with `steadystack correct --overwrite` ({replacement}), or set another {key}"
        )
    if begun is None or may_replace:
        return "new"
    if begun[0] != digest:
        raise InputError(
            f"{build.path} was started with other shifts or settings: `steadystack correct "
            "--overwrite` starts over"
        )
    return "begun" if begun[1] == layout else "new"


def write_corrected(
    corrected: Corrected,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the regions that are not written yet, and publish the stack at its path.

    Parameters
    ----------
    corrected : the stack to write
    client : what runs the tasks
    overwrite : whether to write again what was made with other shifts or settings
    progress : called with the numbers of done and of all tasks

    Raises
    ------
    InputError
        If the path holds something else; nothing is touched then.
    OutputError
        If it cannot be written; what was written is kept, and the next call goes on from it.
    """
    plan = corrected.work

    def work(remaining: Iterable[int]) -> Iterator[tuple[int, list[int] | Failure]]:
        items = ((number, number) for number in remaining)
        return run_tasks(client, correct_region, items, share(client, plan))

    def end(done: dict[int, list[int]]) -> None:
        frames = corrected.frames
        # incomplete frames are to be rewritten when the series has grown
        whole = True if frames.is_whole is None else frames.is_whole[:, None]
        shift = np.where(whole, frames.shift, np.inf)
        if not isinstance(frames.linear, LocalField):  # such a stack is not continued
            write_motion(plan.target, shift, frames.linear)
        write_fractions(plan.target, _gather_fractions(plan, done))

    write_in_steps(
        Steps(
            corrected.path,
            CORRECTED,
            corrected.attributes,
            corrected.tasks,
            begin=lambda: create_pyramid(
                plan.target, corrected.attributes, get_codecs(plan.source, plan.target.version)
            ),
            work=work,
            end=end,
            keep=lambda: _keep_regions(corrected),
        ),
        overwrite=overwrite,
        may_replace=may_replace,
        progress=progress,
    )


@dataclass(frozen=True)
class Steps:
    """How a store is written, in steps numbered from 0 that are recorded when done.

    Attributes
    ----------
    path, key : where it will be, and the key of the settings that asks for it
    attributes : of its group, with its digest and layout
    count : how many steps there are
    begin : lays out the store
    work : does the steps with the given numbers; yields each with the values to be recorded
    end : writes what follows from the values of all steps
    keep : once laid out, takes over what steps need not redo; yields those steps as `work` does
    """

    path: str
    key: str
    attributes: Mapping[str, Any]
    count: int
    begin: Callable[[], None]
    work: Callable[[Iterable[int]], Iterator[tuple[int, list[int] | Failure]]]
    end: Callable[[dict[int, list[int]]], None]
    keep: Callable[[], dict[int, list[int]]] = dict


def write_in_steps(
    steps: Steps,
    *,
    overwrite: bool,
    may_replace: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Do the steps that are not done yet, and publish the store; see `write_corrected`."""
    path = steps.path
    digest, layout = (str(steps.attributes[OWN][name]) for name in ("digest", "layout"))
    state = find_state(path, digest, layout, overwrite, may_replace, steps.key)
    build = get_place(path).open_build()
    if state == "done":
        build.tidy()
        return
    check_image_holds_no_more(path, steps.key)
    if state == "new":
        with explaining_write_errors(path), build.beginning() as records:
            steps.begin()
            records += [make_record(number, counts) for number, counts in steps.keep().items()]
    with TaskRecord(path) as record:
        done = record.done
        remaining = (number for number in range(steps.count) if number not in done)
        for number, counts in steps.work(remaining):
            if isinstance(counts, Failure):
                raise OutputError(f"{path}: {counts.reason}")
            with explaining_write_errors(path):
                record.add(number, counts)
            done[number] = counts
            if progress is not None:
                progress(len(done), steps.count)
    with explaining_write_errors(path):
        steps.end(done)
        check_image_holds_no_more(path, steps.key)  # again, as labels may have been added meanwhile
        build.finish()


def _keep_regions(corrected: Corrected) -> dict[int, list[int]]:
    """Take over the regions whose frames stay; yields their numbers and `correct_region`'s result.

    The number of known pixels is given for whole frames, by the first of their regions.
    """
    before, plan = corrected.before, corrected.work
    kept = dict[int, list[int]]()
    if before is None or not is_laid_out_alike(plan.target, before.path):
        return kept
    axes, pixels = plan.target.axes, math.prod(plan.box.shape)
    levels = [*plan.target.levels, *([plan.target.valid] if plan.target.valid else [])]
    for number in range(len(plan.regions)):
        region = plan.regions.get_slices(number)
        sides = dict(zip(axes, region, strict=True))
        if not corrected.stays[sides["t"]].all():
            continue
        if link_region(
            plan.target,
            before.path,
            {level.name: scale_to_level(region, level) for level in levels},
        ):
            is_first = all(sides[axis].start == 0 for axis in axes if axis in "zyx")
            known = before.fraction[sides["t"], sides.get("c", slice(None))] * pixels * is_first
            kept[number] = known.round().astype(int).ravel().tolist()
    log.info("frames are unchanged: %d of %d tasks are skipped", len(kept), corrected.tasks)
    return kept


def _gather_fractions(plan: CorrectionPlan, done: dict[int, list[int]]) -> NDArray[np.float64]:
    """The known share of the shown pixels (frames, channels), from the counts of all tasks."""
    target = plan.target
    channels = target.shape[target.axes.index("c")] if "c" in target.axes else 1
    total = np.zeros((plan.source.frame_count, channels))
    for number, counts in done.items():
        region = dict(zip(target.axes, plan.regions.get_slices(number), strict=True))
        total_of_task = total[region["t"], region.get("c", slice(None))]
        total_of_task += np.reshape(counts, total_of_task.shape)
    return total / math.prod(plan.box.shape)


def write_tiff(
    corrected: Corrected,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a corrected stack as one OME-TIFF file, plane after plane, in this process.

    The file appears at its path when it is whole; a call that was stopped starts anew. A file for a
    remote path is written to the folder of temporary files first.

    Parameters
    ----------
    corrected : the stack to write
    overwrite : whether to replace a file of other shifts or settings
    progress : called with the numbers of written and of all frames and channels

    Raises
    ------
    InputError
        If another file is there, or it cannot hold such pixels.
    OutputError
        If it cannot be written.
    """
    path, target = corrected.path, corrected.work.target
    check_tiff(path, np.dtype(target.dtype))
    digest = str(corrected.attributes[OWN]["digest"])
    check_own_tiff(path)
    if get_place(path).exists() and not (overwrite or may_replace):
        found = read_tiff_origin(path)
        if found is not None and found.digest == digest:
            return
        raise InputError(
            f"{path} exists, but does not belong to these shifts and settings: write it again with "
            "`steadystack correct --overwrite`, or set another output.corrected"
        )
    sides = tuple(
        1 if axis in "tc" else size for axis, size in zip(target.axes, target.shape, strict=True)
    )
    plan = replace(corrected.work, regions=Regions(target.shape, sides))

    def move_planes() -> Iterator[NDArray[Any]]:
        """Move the planes (y, x) of every frame and channel, in the order of the axes."""
        count = len(plan.regions)
        for number in range(count):
            image, _ = move_region(plan, plan.regions.get_slices(number))
            yield from image.reshape(-1, *image.shape[-2:])
            if progress is not None:
                progress(number + 1, count)

    with explaining_write_errors(path), get_place(path).replacing() as partial:
        try:
            write_ome_tiff(str(partial), move_planes(), target, corrected.attributes, digest)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        check_own_tiff(path)  # writing takes long; a foreign file may be there by now
