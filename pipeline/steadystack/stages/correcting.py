"""The stage that writes the corrected stack."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from steadystack.cluster import Engine
from steadystack.config import Config
from steadystack.correction import (
    Corrected,
    find_defects_left_out,
    plan_corrected,
    write_corrected,
    write_tiff,
)
from steadystack.durable import get_place
from steadystack.model import UNSOLVED, InputError
from steadystack.outputs import check_own_tiff, read_digest
from steadystack.planning import CorrectedPlan, Setup, get_default_task_bytes
from steadystack.readers import StackSpec, locate_stack
from steadystack.stages.results import load_own_shifts
from steadystack.units import parse_bytes
from steadystack.validity import DefectMask

Progress = Callable[[int, int], None]  # tasks done, tasks in all


@dataclass(frozen=True)
class Summary:
    """What was written: frames moved, left or blank, the shape, and the tasks it took."""

    path: str
    frames: int
    blank: int
    shape: tuple[int, ...]
    levels: int
    tasks: int
    task_bytes: int

    def __str__(self) -> str:
        blank = f" ({self.blank} of them blank)" if self.blank else ""
        return (
            f"{self.frames} frames{blank} of {self.shape}, {self.levels} level(s), {self.tasks} "
            f"tasks of up to {self.task_bytes / 2**20:.0f} MiB -> {self.path}"
        )


def check_corrected(config: Config) -> None:
    """Refuse what can be known to go wrong before anything is measured."""
    path = config.output.corrected
    if path is None:
        raise InputError("output.corrected is not set: set it to the path of a .zarr or .ome.tif")
    get_place(path).check_writable()
    if path.rstrip("/").endswith(".zarr"):
        read_digest(path)
    else:
        check_own_tiff(path)


def correct_solved(
    setup: Setup,
    shifts: xr.Dataset,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write the corrected stack of a solved run; goes on where an earlier call stopped."""
    path, shifts_path = str(setup.config.output.corrected), setup.config.output.shifts
    if (shifts["component"] == UNSOLVED).all():
        raise InputError(f"{shifts_path} is not solved yet: run `steadystack solve` first")
    options: dict[str, Any] = {
        "overwrite": overwrite,
        "may_replace": may_replace,
        "progress": progress,
    }
    stack = plan_stack(setup, shifts)
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


def plan_correcting(setup: Setup) -> CorrectedPlan | None:
    """What the corrected stack will be and need: of an earlier run's shifts, or of none."""
    output = setup.config.output
    if output.corrected is None:
        return None
    shifts = load_own_shifts(setup) if get_place(output.shifts).exists() else None
    is_solved = shifts is not None and not (shifts["component"] == UNSOLVED).all()
    if shifts is None or not is_solved:
        source = setup.series.source
        at_rest = np.zeros((source.frame_count, len(source.frame_shape)))
        axes = list("zyx")[-len(source.frame_shape) :]
        shifts = xr.Dataset({"frame_shift": (("frame", "axis"), at_rest)}, {"axis": axes})
    stack = plan_stack(setup, shifts)
    target = stack.work.target
    return CorrectedPlan(
        shape=target.shape,
        levels=len(target.levels),
        tasks=stack.tasks,
        task_bytes=stack.task_bytes,
        written_bytes=sum(math.prod(level.shape) for level in target.levels)
        * np.dtype(target.dtype).itemsize,
        known=is_solved,
    )


def plan_stack(setup: Setup, shifts: xr.Dataset) -> Corrected:
    """The corrected stack of a run, before a pixel is read."""
    config, series, validity = setup.config, setup.series, setup.series.validity
    how = config.correct
    if how.invalid == "fill" and (pixels := find_defects_left_out(shifts)):
        defects = DefectMask(series.source.frame_shape, pixels)
        validity = replace(validity, masks=(*validity.masks, defects))
    measured = locate_stack(**config.input.model_dump())
    source = measured if how.stack is None else _locate_other(how.stack, measured)
    channel = (measured.channel or 0) if how.stack is None else None
    memory = parse_bytes(config.cluster.task_memory or "") or get_default_task_bytes(config.cluster)
    return plan_corrected(
        str(config.output.corrected), source, shifts, how, validity, channel, memory
    )


def _locate_other(path: str, measured: StackSpec) -> StackSpec:
    """A second stack, checked to have the frames of the first."""
    try:
        spec = locate_stack(path, channel=0)
    except InputError as error:
        raise InputError(f"correct.stack: {error}") from error
    axes = ("t", *measured.spatial)
    if any(spec.size(axis) != measured.size(axis) for axis in axes):
        shapes = [{axis: stack.size(axis) for axis in axes} for stack in (spec, measured)]
        raise InputError(
            f"correct.stack: {path} has {shapes[0]}, but the measured stack has {shapes[1]}: "
            "number and size of the frames must agree"
        )
    return spec
