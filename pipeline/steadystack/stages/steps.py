"""The stages of a run, settings in and files out: plan, measure, solve, report, and all of them.

Each stage goes on from what the one before left on disk, so that each can be run by itself, and a
run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from steadystack.cluster import OnDemand, one_cluster
from steadystack.config import Config
from steadystack.dataset import read_pairs, save_shifts
from steadystack.durable import Place, place
from steadystack.measure import solve_series
from steadystack.model import UNSOLVED, InputError, PairStatus
from steadystack.planning import (
    Plan,
    Setup,
    only_input,
    open_series,
    plan_of,
    set_up,
    wanted_workers,
    workers_that_fit,
)
from steadystack.report import prepare
from steadystack.stages.correcting import Summary, check_corrected, correct_solved, plan_correcting
from steadystack.stages.log import logged, stage
from steadystack.stages.measuring import OpenRun, Progress, measure_all
from steadystack.stages.reporting import write_report
from steadystack.stages.results import (
    LOOKED_FOR,
    dataset,
    kept,
    own_shifts,
    verdict,
    versions,
    with_stills,
)
from steadystack.stages.sharing import Part, gather, on_this_machine, parsed_part, part_of

log = logging.getLogger(__name__)


def plan(config: Config) -> Plan:
    """What a run of these settings will do; opens no pixel of the stack."""
    setup = _set_up(only_input(config))
    return replace(plan_of(setup), corrected=plan_correcting(setup))


def run(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    cluster: OnDemand | None = None,
) -> xr.Dataset:
    """Measure, solve and report: the whole run. Returns the shifts dataset, which is also on disk.

    Parameters
    ----------
    overwrite : whether to start over, even if there are results
    progress : is told how many rows are measured, of how many
    cluster : one that serves other runs, too; None: that of the settings

    Raises
    ------
    InputError
        Where the settings, the stack or the mask cannot be worked with; before any frame is read.
        Also if another run is at work on the same output.
    """
    config, path = only_input(config), config.output.report
    if path is not None:
        prepare(path)
    with open_run(config, "run", cluster, progress) as opened:
        if config.output.corrected is not None:
            check_corrected(config)
        measured = measure_all(opened, overwrite)
        done = _is_solved(opened, measured)
        solved = measured if done else _solve(opened)
        if path is not None and not (done and place(path).exists()):
            with stage("report"):
                write_report(opened.setup, solved, path)
        if config.output.corrected is not None and (solved["component"] >= 0).any():
            with stage("correcting"):
                correct_solved(opened.setup, solved, opened.engine(), overwrite=overwrite)
        log.info("%s", verdict(solved))
        return solved


def measure(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    batches: str | None = None,
    cluster: OnDemand | None = None,
) -> xr.Dataset:
    """Measure the pairs that are not measured yet, or that failed; all of them are gathered.

    What a batch of them found is saved as soon as it is there. With `batches`, such as "3/16", the
    third of 16 parts of the pairs is measured into a dataset of its own beside the output; the next
    `measure`, `solve` or `run` without it takes the rows of all parts over. `cluster` is as in
    `run`.
    """
    part = None if batches is None else parsed_part(batches)
    if part is not None:
        config = on_this_machine(config)
    with open_run(only_input(config), "measure", cluster, progress, part) as opened:
        return measure_all(opened, overwrite)


def solve(config: Config, *, cluster: OnDemand | None = None) -> xr.Dataset:
    """Solve for the frames' shifts from the measured pairs; only `solve.refine` reads frames."""
    with open_run(only_input(config), "solve", cluster) as opened:
        return _solve(opened)


def correct(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    cluster: OnDemand | None = None,
) -> Summary:
    """Write the corrected stack of a solved run; goes on where an earlier call stopped.

    Raises
    ------
    InputError
        Where shifts, stack and settings do not go together; before any frame is read.
    OutputError
        If it cannot be written; what is written is kept.
    """
    config = only_input(config)
    with open_run(config, "correct", cluster) as opened:
        check_corrected(config)
        shifts = own_shifts(opened.setup)
        return correct_solved(
            opened.setup, shifts, opened.engine(), overwrite=overwrite, progress=progress
        )


def report(config: Config, *, figures: str | None = None) -> str:
    """Write the report; returns its path. `figures` is a folder for its figures, as PNG and SVG."""
    path = config.output.report
    if path is None:
        raise InputError(
            "output.report is not set: give it the path of a .html, .png, .svg or .pdf"
        )
    config = only_input(config)
    setup = _set_up(config)
    shifts = own_shifts(setup)
    if (shifts["component"] == UNSOLVED).all():
        raise InputError(f"{config.output.shifts} is not solved yet: run `steadystack solve` first")
    write_report(setup, shifts, path, figures)
    return path


@contextmanager
def cluster_of(config: Config) -> Iterator[OnDemand]:
    """The cluster of a run, which begins when it is needed."""
    path = config.output.performance_report
    if path is None:
        with one_cluster(config.cluster) as cluster:
            yield cluster
        return
    where = place(path)
    where.check_writable()
    with TemporaryDirectory(prefix="steadystack-") as folder:
        made = Path(folder, "report.html")
        with _put_at(where, made), one_cluster(config.cluster, str(made)) as cluster:
            yield cluster


@contextmanager
def _put_at(where: Place, made: Path) -> Iterator[None]:
    """Put a report to its place, if one was made: of a run that failed, too, where that can be."""
    try:
        yield
    except BaseException as error:
        if made.exists() and not where.cut_off_by(error):
            where.put(made)
        raise
    if made.exists():  # not without workers
        where.put(made)


def _set_up(config: Config) -> Setup:
    return set_up(config, open_series(config)[0])


@contextmanager
def open_run(
    config: Config,
    command: str,
    cluster: OnDemand | None = None,
    progress: Progress | None = None,
    part: Part | None = None,
) -> Iterator[OpenRun]:
    """A run alone at its output, with what a dead one left there put in order."""
    with nullcontext(cluster) if cluster is not None else cluster_of(config) as on:
        setup = _set_up(config)
        if part is not None:
            setup = part_of(setup, part)
            config = setup.config
        path = config.output.shifts
        works = command != "solve" or config.solve.refine
        workers = workers_that_fit(setup) if works else None
        with place(path).locked(), logged(config, command):
            place(path).settle()
            if workers is not None and workers < wanted_workers(config.cluster):
                log.warning(
                    "%d of %d workers fit into the memory here",
                    *(workers, wanted_workers(config.cluster)),
                )
            yield OpenRun(setup, on, workers, progress, part is not None)


def _is_solved(opened: OpenRun, found: xr.Dataset) -> bool:
    """Whether an earlier run solved the same rows with the same settings and versions."""
    if "verdict" not in found.attrs or "configuration" not in found.attrs:
        return False
    before = json.loads(found.attrs["configuration"]).get("solve")
    same = before == opened.setup.config.dump()["solve"]
    return bool(same and json.loads(found.attrs["versions"]) == versions())


def _solve(opened: OpenRun) -> xr.Dataset:
    gather(opened.setup)
    measured = own_shifts(opened.setup)
    table, setup = read_pairs(measured), opened.setup
    if not table.count([PairStatus.UNMEASURED]) and not set(LOOKED_FOR) <= set(measured.attrs):
        measured = measure_all(opened, overwrite=False)  # the last part has been gathered
        table = read_pairs(measured)
    if table.count([PairStatus.UNMEASURED]) == len(table.status):
        raise InputError(f"no pair of {opened.path} is measured yet: run `measure` first")
    asked = setup.config.solve
    with stage("solving"):
        if asked.refine:
            setup = with_stills(setup, keep_at=opened.path.rstrip("/"), again=True)
        frames = solve_series(
            setup.series.source,
            table,
            setup.method,
            client=opened.engine() if asked.refine else None,
            **asked.model_dump(),
        )
        result = dataset(setup, table, frames, kept(measured))
    save_shifts(result, opened.path)
    return result
