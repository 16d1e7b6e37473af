"""From measured pairs to one shift per frame."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from steadystack.checks import CHECKED, is_majority_confirmed
from steadystack.cluster import Engine
from steadystack.dataset import read_pairs, save_shifts
from steadystack.measure import Method, refine_shifts
from steadystack.model import FrameSource, FrameTable, InputError, PairStatus, PairTable
from steadystack.run_log import collect_versions, log_stage
from steadystack.solve import interpolate_missing, solve_shifts
from steadystack.stages.measuring import OpenRun, measure_all
from steadystack.stages.results import (
    add_camera_images,
    get_lasting_attributes,
    load_own_shifts,
    make_run_dataset,
)
from steadystack.stages.sharing import gather


def solve_series(
    source: FrameSource,
    pairs: PairTable,
    method: Method,
    *,
    refine: int = 0,
    interpolate: Any = None,
    client: Engine = None,
    **options: Any,
) -> FrameTable:
    """The shift of every frame, from the measured pairs.

    Parameters
    ----------
    refine : how often every frame is then measured anew against its neighbours; reads frames
    interpolate : how frames without a shift get one; None: they get none
    options : of `solve.solve_shifts`
    """
    frames = solve_shifts(pairs, **options)
    if refine:
        frames = refine_shifts(source, pairs, frames, method, refine, client=client)
    return interpolate_missing(frames, interpolate) if interpolate is not None else frames


def is_solved(opened: OpenRun, dataset: xr.Dataset) -> bool:
    """Whether an earlier run solved the same rows with the same settings and versions."""
    if "verdict" not in dataset.attrs or "configuration" not in dataset.attrs:
        return False
    before = json.loads(dataset.attrs["configuration"]).get("solve")
    same = before == opened.setup.config.dump()["solve"]
    return bool(same and json.loads(dataset.attrs["versions"]) == collect_versions())


def solve_measured(opened: OpenRun) -> xr.Dataset:
    """The dataset with the shifts of its frames, from the pairs that are measured; on disk, too."""
    gather(opened.setup)
    measured = load_own_shifts(opened.setup)
    table, setup = read_pairs(measured), opened.setup
    if not table.count([PairStatus.UNMEASURED]) and not set(CHECKED) <= set(measured.attrs):
        measured = measure_all(opened)  # the last part has been gathered
        table = read_pairs(measured)
    if table.count([PairStatus.UNMEASURED]) == len(table.status):
        raise InputError(
            f"no pair of {opened.path} is measured yet: run `steadystack measure` first"
        )
    settings = setup.config.solve
    with log_stage("solving"):
        if settings.refine:
            setup = add_camera_images(setup, keep_at=opened.path.rstrip("/"), again=True)
        frames = solve_series(
            setup.series.source,
            table,
            setup.method,
            client=opened.engine() if settings.refine else None,
            **settings.model_dump()
            | {"leave_out_parts": is_majority_confirmed(get_lasting_attributes(measured))},
        )
        result = make_run_dataset(setup, table, frames, get_lasting_attributes(measured))
    save_shifts(result, opened.path)
    return result
