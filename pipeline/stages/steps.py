"""The stages of a run, settings in and files out: plan, measure, solve, report, and all of them.

Each stage goes on from what the one before left on disk, so that each can be run by itself, and a
run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import xarray as xr

from pipeline.cluster import connect
from pipeline.config import Config
from pipeline.correct import mean_before_and_after
from pipeline.measure import measure_pairs, solve_series
from pipeline.model import InputError, PairStatus
from pipeline.report import prepare_figure, save_figure, series_figure
from pipeline.setup import Plan, Setup, open_series, plan_of, set_up
from pipeline.stages.correcting import check_corrected, correct_solved
from pipeline.stages.dataset import (
    STATIC_EFFECT,
    dataset,
    look_for_effect,
    new_table,
    own_shifts,
    verdict,
    with_stills,
)
from pipeline.store.shifts import exists, read_pairs, remove, save_shifts

Progress = Callable[[int, int], None]  # rows measured so far, rows in all

CHECKPOINT_S = 5.0


def plan(config: Config) -> Plan:
    """What a run of these settings will do; opens no pixel of the stack."""
    return plan_of(_open(config))


def run(config: Config, *, overwrite: bool = False, progress: Progress | None = None) -> xr.Dataset:
    """Measure, solve and report: the whole run. Returns the shifts dataset, which is also on disk.

    Raises
    ------
    InputError
        Where the settings, the stack or the mask cannot be worked with; before any frame is read.
    """
    if config.output.report is not None:
        prepare_figure(config.output.report)
    setup = _open(config)
    if config.output.corrected is not None:
        check_corrected(config)
    _measure(setup, overwrite, progress)
    solved = _solve(setup)
    if config.output.corrected is not None:
        with connect(**config.cluster.model_dump(exclude={"task_memory"})) as client:
            correct_solved(setup, solved, client, overwrite=overwrite)
    if config.output.report is not None:
        _report(setup, solved, config.output.report)
    return solved


def measure(
    config: Config, *, overwrite: bool = False, progress: Progress | None = None
) -> xr.Dataset:
    """Measure the pairs that are not measured yet.

    The rows are saved every few seconds, and in the end, however it comes.
    """
    return _measure(_open(config), overwrite, progress)


def solve(config: Config) -> xr.Dataset:
    """Solve for the frames' shifts from the measured pairs; only `solve.polish` reads frames."""
    return _solve(_open(config))


def report(config: Config) -> str:
    """Draw the result; returns the path of the picture."""
    path = config.output.report
    if path is None:
        raise InputError("output.report is not set: give it the path of a .png, .svg or .pdf")
    setup = _open(config)
    _report(setup, own_shifts(setup), path)
    return path


def _open(config: Config) -> Setup:
    return set_up(config, open_series(config)[0])


def _measure(setup: Setup, overwrite: bool, progress: Progress | None) -> xr.Dataset:
    path = setup.config.output.shifts
    if overwrite and exists(path):
        remove(path)
    if exists(path):
        found = own_shifts(setup)
        table = read_pairs(found)
        if not table.count([PairStatus.UNMEASURED]) and STATIC_EFFECT in found.attrs:
            return found
    else:
        table = new_table(setup)
        save_shifts(dataset(setup, table), path)

    setup = with_stills(setup, keep_at=path.rstrip("/"))
    source, method, size = setup.series.source, setup.method, setup.size
    saved = time.monotonic()
    with connect(**setup.config.cluster.model_dump(exclude={"task_memory"})) as client:
        try:
            for latest, done in measure_pairs(source, table, method, size, client=client):
                table = latest
                if progress is not None:
                    progress(done, len(table.status))
                if time.monotonic() - saved > CHECKPOINT_S:
                    save_shifts(dataset(setup, table), path)
                    saved = time.monotonic()
        finally:
            save_shifts(dataset(setup, table), path)
    found = dataset(setup, table, looked_for=look_for_effect(setup, table))
    save_shifts(found, path)
    return found


def _solve(setup: Setup) -> xr.Dataset:
    path = setup.config.output.shifts
    measured = own_shifts(setup)
    table = read_pairs(measured)
    if table.count([PairStatus.UNMEASURED]) == len(table.status):
        raise InputError(f"no pair of {path} is measured yet: run `measure` first")
    asked, engine = setup.config.solve, setup.config.cluster.model_dump(exclude={"task_memory"})
    if asked.polish:
        setup = with_stills(setup, keep_at=path.rstrip("/"), again=True)
    else:
        engine = {"kind": "in-process"}
    with connect(**engine) as client:
        source, method = setup.series.source, setup.method
        frames = solve_series(source, table, method, client=client, **asked.model_dump())
    looked_for = {name: measured.attrs[name] for name in (STATIC_EFFECT,) if name in measured.attrs}
    result = dataset(setup, table, frames, looked_for)
    save_shifts(result, path)
    return result


def _report(setup: Setup, shifts: xr.Dataset, path: str) -> None:
    before, after = mean_before_and_after(
        setup.series.source, shifts["shift"].to_numpy(), setup.method.conditioning
    )
    name = setup.config.input.path.rstrip("/").rsplit("/", 1)[-1]
    save_figure(series_figure(shifts, before, after, f"{name}: {verdict(shifts)}"), path)
