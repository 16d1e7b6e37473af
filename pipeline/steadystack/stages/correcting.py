"""The stage that writes the corrected stack, and the mean of the steady series."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import xarray as xr

from steadystack.cluster import Engine
from steadystack.config import Config
from steadystack.correction import (
    Corrected,
    SteadyMean,
    check_own_mean,
    find_defects_left_out,
    hash_correct_settings,
    plan_corrected,
    plan_mean,
    write_corrected,
    write_mean,
    write_tiff,
)
from steadystack.durable import get_place
from steadystack.model import GROWN, UNSOLVED, InputError
from steadystack.movie import check_movie
from steadystack.outputs import (
    CORRECTED,
    MEAN,
    OWN,
    Written,
    check_image_holds_no_more,
    check_own_tiff,
    list_known_digests,
    name_run,
    read_digest,
    read_origin,
    read_written,
)
from steadystack.planning import (
    CorrectedPlan,
    Setup,
    get_default_task_bytes,
    locate_other_stack,
    read_mean_weights,
)
from steadystack.readers import StackFrames, locate_stack
from steadystack.run_log import StageMeter
from steadystack.stages.results import load_own_shifts
from steadystack.survey import FrameSums
from steadystack.units import parse_bytes
from steadystack.validity import DefectMask

Progress = Callable[[int, int], None]  # tasks done, tasks in all
Image = TypeVar("Image", Corrected, SteadyMean)


@dataclass(frozen=True)
class Summary:
    """What was written: frames moved, left or blank, the shape, and the tasks it took.

    `what` names it; `further` images were written with it.
    """

    path: str
    frames: int
    blank: int
    shape: tuple[int, ...]
    levels: int
    tasks: int
    task_bytes: int
    what: Literal["corrected", "mean", "movie"] = "corrected"
    further: tuple[Summary, ...] = ()

    def __str__(self) -> str:
        if self.what == "movie":
            return (
                f"movie of {self.frames} frames, {self.shape[0]} x {self.shape[1]} -> {self.path}"
            )
        blank = f" ({self.blank} of them blank)" if self.blank else ""
        if self.what == "mean":
            blank = f" ({self.blank} more left out)" if self.blank else ""
        mean = "mean of " if self.what == "mean" else ""
        own = (
            f"{mean}{self.frames} frames{blank} of {self.shape}, {self.levels} level(s), "
            f"{self.tasks} tasks of up to {self.task_bytes / 2**20:.0f} MiB -> {self.path}"
        )
        return "; ".join([own, *map(str, self.further)])


def check_corrected(config: Config, *, replaces: bool) -> None:
    """Refuse, before anything is measured, what is certain to fail later."""
    output = config.output
    if output.mean is not None and config.correct.labels:
        raise InputError("output.mean: labels (correct.labels) have no mean: leave one of them out")
    paths = {CORRECTED: (output.corrected, check_own_tiff), MEAN: (output.mean, check_own_mean)}
    for key, (path, check_own) in paths.items():
        if path is None:
            continue
        get_place(path).check_writable()
        if not path.rstrip("/").endswith(".zarr"):
            check_own(path)
            continue
        read_digest(path, key)
        if replaces:
            check_image_holds_no_more(path, key)
    if output.movie is not None:
        check_movie(output.movie)


def check_of_series(config: Config, attributes: Mapping[str, str]) -> None:
    """Refuse to replace images of another run by those of a grown series.

    `attributes` are those of the series' dataset.
    """
    if GROWN not in attributes:
        return
    for key in ("corrected", "mean", "movie"):
        path = getattr(config.output, key)
        if path is None or not get_place(path).exists():
            continue
        if not _is_of_run(config, path, attributes):
            raise InputError(
                f"{path} was made with the shifts of another run, or does not say which, and this "
                f"run, whose stack has grown, would replace it: set another output.{key}, or "
                "move what is there"
            )


def _is_of_run(config: Config, path: str, attributes: Mapping[str, str]) -> bool:
    """Whether this run made the image at a path, before or after its series grew."""
    known = {attributes["fingerprint"], *json.loads(attributes[GROWN])["fingerprints"]}
    found = read_origin(path)
    if found is None or found.fingerprint not in known:
        return False
    return found.run in ("", name_run(config.output.shifts, path))  # "": of an earlier version


def average_solved(
    setup: Setup,
    shifts: xr.Dataset,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write the mean of the steady series of a solved run; continues where an earlier call stopped.

    Frames whose status is not ok are left out.
    """
    check_solved(setup, shifts)
    mean = _add_checksums(setup, plan_steady_mean(setup, shifts), overwrite)
    options = {"overwrite": overwrite, "may_replace": may_replace}
    write_mean(mean, client, progress=log_progress(progress), **options)
    target = mean.work.target
    return Summary(
        path=mean.path,
        frames=mean.counted,
        blank=len(mean.work.weights) - mean.counted,
        shape=target.shape,
        levels=len(target.levels),
        tasks=mean.tasks,
        task_bytes=mean.task_bytes,
        what="mean",
    )


def log_progress(progress: Progress | None, unit: str = "tasks") -> Progress:
    """Report progress in the log, too."""
    meter = StageMeter("", unit)

    def report(done: int, total: int) -> None:
        meter(done, total)
        if progress is not None:
            progress(done, total)

    return report


def check_solved(setup: Setup, shifts: xr.Dataset) -> None:
    path = setup.config.output.shifts
    if (shifts["component"] == UNSOLVED).all():
        raise InputError(f"{path} is not solved yet: run `steadystack solve` first")
    if setup.config.solve.channel_offsets and not shifts["channel_offset_status"].any():
        raise InputError(
            f"{path} was solved without channel_offsets: run `steadystack solve` first"
        )


def correct_solved(
    setup: Setup,
    shifts: xr.Dataset,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write the corrected stack of a solved run; continues where an earlier call stopped."""
    path = str(setup.config.output.corrected)
    check_solved(setup, shifts)
    options: dict[str, Any] = {"overwrite": overwrite, "may_replace": may_replace}
    options["progress"] = log_progress(progress)
    kept = None if overwrite else _find_kept(setup, shifts)
    stack = _add_checksums(setup, plan_stack(setup, shifts, kept), overwrite)
    if stack.before is not None and stack.before.digest != stack.work.target.digest:
        options["may_replace"] = True
    if path.rstrip("/").endswith(".zarr"):
        write_corrected(stack, client, **options)
    else:
        write_tiff(stack, **options)
    target = stack.work.target
    return Summary(
        path=path,
        frames=len(stack.frames.shift),
        blank=stack.blank,
        shape=target.shape,
        levels=len(target.levels),
        tasks=stack.tasks,
        task_bytes=stack.task_bytes,
    )


def plan_correcting(setup: Setup) -> dict[str, CorrectedPlan]:
    """Forecast the corrected stack and the mean, from an earlier run's shifts or without any."""
    output, plans = setup.config.output, dict[str, CorrectedPlan]()
    if output.corrected is None and output.mean is None:
        return plans
    is_there = setup.growth is None and get_place(output.shifts).exists()
    shifts = load_own_shifts(setup) if is_there else None
    is_solved = shifts is not None and not (shifts["component"] == UNSOLVED).all()
    for image in plan_images(setup, shifts if is_solved else None):
        target, what = image.work.target, "mean" if isinstance(image, SteadyMean) else "corrected"
        pixel_bytes = np.dtype(target.dtype).itemsize
        plans[what] = CorrectedPlan(
            shape=target.shape,
            levels=len(target.levels),
            tasks=image.tasks,
            task_bytes=image.task_bytes,
            written_bytes=sum(math.prod(level.shape) for level in target.levels) * pixel_bytes
            + math.prod(target.shape) * sum(np.dtype(dtype).itemsize for _, dtype in target.others),
            known=is_solved,
            what=what,
        )
    return plans


def plan_images(setup: Setup, shifts: xr.Dataset | None = None) -> list[Corrected | SteadyMean]:
    """Plan the images that the settings ask for; without shifts, as if nothing moved.

    Raises InputError for errors that do not depend on the shifts.
    """
    output, source = setup.config.output, setup.series.whole_frames
    if shifts is None:
        at_rest = np.zeros((source.frame_count, len(source.frame_shape)))
        variables = dict.fromkeys(("frame_shift", "frame_shift_std"), (("frame", "axis"), at_rest))
        shifts = xr.Dataset(variables, {"axis": list("zyx")[-len(source.frame_shape) :]})
    planned: list[Corrected | SteadyMean] = []
    if output.corrected is not None:
        planned.append(plan_stack(setup, shifts))
    if output.mean is not None:
        planned.append(plan_steady_mean(setup, shifts))
    return planned


def plan_stack(setup: Setup, shifts: xr.Dataset, before: Written | None = None) -> Corrected:
    """Plan the corrected stack of a run; frames of `before` may be kept."""
    path = str(setup.config.output.corrected)
    planned = plan_corrected(path, **_find_what_is_moved(setup, shifts), before=before)
    return replace(planned, attributes=_add_run(setup, planned))


def _add_run(setup: Setup, image: Corrected | SteadyMean) -> dict[str, Any]:
    """Add the name of the run to an image's attributes."""
    own = image.attributes[OWN] | {"run": name_run(setup.config.output.shifts, image.path)}
    return image.attributes | {OWN: own}


def _add_checksums(setup: Setup, image: Image, overwrite: bool) -> Image:
    """Add checksums of frames to the digest of an image of another stack, as that may be edited.

    What is at its path keeps its digest, unless one of its frames is another now.
    """
    if setup.config.correct.stack is None:
        return image
    key = CORRECTED if isinstance(image, Corrected) else MEAN
    sums = FrameSums(StackFrames(image.source), image.source.frame_numbers)
    known = [] if overwrite else list_known_digests(image.path, key)
    digest = sums.choose_digest(image.work.target.digest, known)
    own = image.attributes[OWN] | {"digest": digest}
    work = replace(image.work, target=replace(image.work.target, digest=digest))
    return replace(image, work=work, attributes=image.attributes | {OWN: own})


def _find_kept(setup: Setup, shifts: xr.Dataset) -> Written | None:
    """Find the existing corrected stack if it shows the first frames of a grown series.

    Its canvas must equal that of all frames, and the shifts must not be applied to another stack.
    """
    section, path = setup.config.correct, str(setup.config.output.corrected)
    is_fit = section.border == "same" and section.stack is None and path.endswith(".zarr")
    if not (is_fit and GROWN in shifts.attrs and get_place(path).keeps_old):
        return None
    written = read_written(path)
    channel = locate_stack(**setup.config.input.model_dump()).channel or 0
    if written is None or written.how != hash_correct_settings(section, channel):
        return None
    if len(written.shift) > shifts.sizes["frame"]:
        return None
    return written if _is_of_run(setup.config, path, shifts.attrs) else None


def plan_steady_mean(setup: Setup, shifts: xr.Dataset) -> SteadyMean:
    """Plan the mean of the steady series of a run."""
    source = locate_stack(**setup.config.input.model_dump())
    count = (source.uncut or source).frame_count
    weights = read_mean_weights(setup.config, source.frame_numbers, count)
    path = str(setup.config.output.mean)
    mean = plan_mean(path, **_find_what_is_moved(setup, shifts), weights=weights)
    return replace(mean, attributes=_add_run(setup, mean))


def _find_what_is_moved(setup: Setup, shifts: xr.Dataset) -> dict[str, Any]:
    """Which frames are moved and how, as arguments of `plan_corrected` and `plan_mean`."""
    config, series, validity = setup.config, setup.series, setup.series.validity
    how = config.correct
    if how.invalid == "fill" and (pixels := find_defects_left_out(shifts)):
        defects = DefectMask(series.whole_frames.frame_shape, pixels)
        validity = replace(validity, masks=(*validity.masks, defects))
    measured = locate_stack(**config.input.model_dump())
    source = measured if how.stack is None else locate_other_stack(how.stack, measured)
    channel = (measured.channel or 0) if how.stack is None else None
    memory = parse_bytes(config.cluster.task_memory or "") or get_default_task_bytes(config.cluster)
    return {
        "source": source,
        "shifts": shifts,
        "section": how,
        "validity": validity,
        "channel": channel,
        "memory": memory,
    }
