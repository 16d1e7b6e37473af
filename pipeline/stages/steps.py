"""The stages of a run, settings in and files out: plan, measure, solve, report, and all of them.

Each stage goes on from what the one before left on disk, so that each can be run by itself, and a
run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import xarray as xr

from pipeline.cluster import Cluster, OnDemand, one_cluster
from pipeline.config import Config
from pipeline.measure import measure_pairs, solve_series, with_second_round
from pipeline.model import InputError, PairStatus, PairTable
from pipeline.report import prepare
from pipeline.setup import (
    Plan,
    Setup,
    only_input,
    open_series,
    plan_of,
    set_up,
    wanted_workers,
    workers_that_fit,
)
from pipeline.stages.dataset import (
    LOOKED_FOR,
    dataset,
    kept,
    look_for_effect,
    new_name,
    new_table,
    own_shifts,
    owner_of,
    verdict,
    versions,
    with_stills,
)
from pipeline.stages.log import Meter, logged, stage
from pipeline.stages.parts import Part, gather, on_this_machine, parsed_part, part_of, remove_parts
from pipeline.stages.reporting import write_report
from pipeline.store.files import discard, settle
from pipeline.store.journal import Journal, journal_path
from pipeline.store.locks import locked
from pipeline.store.shifts import check_replaceable, exists, read_pairs, save_shifts

Progress = Callable[[int, int], None]  # rows measured so far, rows in all

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """A run whose output nobody else writes to."""

    setup: Setup
    cluster: OnDemand
    workers: int | None  # how many fit into the memory here, where they are of this machine
    progress: Progress | None
    part: bool  # of a measuring that is shared out

    @property
    def path(self) -> str:
        return self.setup.config.output.shifts

    def engine(self) -> Cluster:
        size, frames = self.setup.size, self.setup.series.source.frame_count
        return self.cluster(self.workers, size.most_bytes(frames, len(self.setup.pairs)))


def plan(config: Config) -> Plan:
    """What a run of these settings will do; opens no pixel of the stack."""
    return plan_of(_open(only_input(config)))


def run(config: Config, *, overwrite: bool = False, progress: Progress | None = None) -> xr.Dataset:
    """Measure, solve and report: the whole run. Returns the shifts dataset, which is also on disk.

    Raises
    ------
    InputError
        Where the settings, the stack or the mask cannot be worked with; before any frame is read.
        Also if another run is at work on the same output.
    """
    with cluster_of(config) as cluster:
        return run_on(cluster, only_input(config), overwrite=overwrite, progress=progress)


def measure(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    batches: str | None = None,
) -> xr.Dataset:
    """Measure the pairs that are not measured yet, or that failed; all of them are gathered.

    What a batch of them found is saved as soon as it is there. With `batches`, such as "3/16", the
    third of 16 parts of the pairs is measured into a dataset of its own beside the output; the next
    `measure`, `solve` or `run` without it takes the rows of all parts over.
    """
    part = None if batches is None else parsed_part(batches)
    if part is not None:
        config = on_this_machine(config)
    with cluster_of(config) as cluster:
        return measure_on(
            cluster, only_input(config), overwrite=overwrite, progress=progress, part=part
        )


def solve(config: Config) -> xr.Dataset:
    """Solve for the frames' shifts from the measured pairs; only `solve.polish` reads frames."""
    with cluster_of(config) as cluster:
        return solve_on(cluster, only_input(config))


def run_on(
    cluster: OnDemand, config: Config, *, overwrite: bool = False, progress: Progress | None = None
) -> xr.Dataset:
    """`run` on a cluster that may serve other runs, too."""
    path = config.output.report
    if path is not None:
        prepare(path)
    with _job(config, "run", cluster, progress) as job:
        measured = _measure(job, overwrite)
        done = _is_solved(job, measured)
        solved = measured if done else _solve(job)
        if path is not None and not (done and exists(path)):
            with stage("report"):
                write_report(job.setup, solved, path)
        log.info("%s", verdict(solved))
        return solved


def measure_on(
    cluster: OnDemand,
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    part: Part | None = None,
) -> xr.Dataset:
    """`measure` on a cluster that may serve other runs, too."""
    with _job(config, "measure", cluster, progress, part) as job:
        return _measure(job, overwrite)


def solve_on(cluster: OnDemand, config: Config) -> xr.Dataset:
    """`solve` on a cluster that may serve other runs, too."""
    with _job(config, "solve", cluster) as job:
        return _solve(job)


def report(config: Config, *, figures: str | None = None) -> str:
    """Write the report; returns its path. `figures` is a folder for its figures, as PNG and SVG."""
    path = config.output.report
    if path is None:
        raise InputError(
            "output.report is not set: give it the path of a .html, .png, .svg or .pdf"
        )
    setup = _open(only_input(config))
    write_report(setup, own_shifts(setup), path, figures)
    return path


def cluster_of(config: Config) -> AbstractContextManager[OnDemand]:
    """The cluster of a run, which begins when it is needed."""
    path, asked = config.output.performance_report, config.cluster
    return one_cluster(asked, path)


def _open(config: Config) -> Setup:
    return set_up(config, open_series(config)[0])


@contextmanager
def _job(
    config: Config,
    command: str,
    cluster: OnDemand,
    progress: Progress | None = None,
    part: Part | None = None,
) -> Iterator[Job]:
    """A run alone at its output, with what a dead one left there put in order."""
    setup = _open(config)
    if part is not None:
        setup = part_of(setup, part)
        config = setup.config
    path = config.output.shifts
    works = command != "solve" or config.solve.polish
    workers = workers_that_fit(setup) if works else None
    with locked(path), logged(config, command):
        settle(path)
        if workers is not None and workers < wanted_workers(config.cluster):
            log.warning(
                "%d of %d workers fit into the memory here", workers, wanted_workers(config.cluster)
            )
        yield Job(setup, cluster, workers, progress, part is not None)


def _measure(job: Job, overwrite: bool) -> xr.Dataset:
    found = _begun(job, overwrite)
    table = _with_second_round(job, read_pairs(found))
    missing, rows = int(table.to_do.sum()), len(table.status)
    looked_for = job.part or set(LOOKED_FOR) <= set(found.attrs)
    if not missing and rows == found.sizes["pair"] and looked_for:
        log.info("all %d pairs are measured already", rows)
        discard(journal_path(job.path))
        return found
    with stage("preparing"):
        setup = with_stills(job.setup, keep_at=job.path.rstrip("/"), again=missing < rows)
    found, table = _in_rounds(job, setup, found, table)
    known = kept(found)
    if not job.part:
        with stage("looking for what could be wrong"):
            known |= look_for_effect(setup, table)
    found = dataset(setup, table, known=known)
    save_shifts(found, job.path)
    discard(journal_path(job.path))
    return found


def _in_rounds(
    job: Job, setup: Setup, found: xr.Dataset, table: PairTable
) -> tuple[xr.Dataset, PairTable]:
    """The pairs of the strategy measured, then those that they leave wanted."""
    while table.to_do.any():
        found = _of_these_rows(job, found, table)
        with stage("measuring"), Journal(job.path, owner_of(found), table) as journal:
            table = _measured(job, setup, found, table, journal)
        further = _with_second_round(job, table)
        if len(further.status) == len(table.status):
            break  # what is still to do failed
        table = further
    return found, table


def _with_second_round(job: Job, table: PairTable) -> PairTable:
    """The table with the pairs that its first round leaves wanted, once that is measured.

    A part of the batches knows its own pairs only.
    """
    setup = job.setup
    if job.part:
        return table
    return with_second_round(table, setup.method, len(setup.pairs), setup.config.pairs.extra)


def _of_these_rows(job: Job, found: xr.Dataset, table: PairTable) -> xr.Dataset:
    """The dataset on disk with the rows of the table: those of the second round come later."""
    if len(table.status) == found.sizes["pair"]:
        return found
    found = dataset(job.setup, table, known=kept(found))
    save_shifts(found, job.path)
    return found


def _begun(job: Job, overwrite: bool) -> xr.Dataset:
    """The dataset as an earlier run of the same settings left it, or a new one."""
    if overwrite:
        remove_parts(job.path)
    else:
        gather(job.setup)
    if exists(job.path) and not overwrite:
        return own_shifts(job.setup)
    check_replaceable(job.path)
    found = dataset(job.setup, new_table(job.setup), known=new_name())
    save_shifts(found, job.path)
    return found


def _measured(
    job: Job, setup: Setup, found: xr.Dataset, table: PairTable, journal: Journal
) -> PairTable:
    """The table with its missing rows measured; the journal is ahead of the dataset until then."""
    source, method, size, meter = setup.series.source, setup.method, setup.size, Meter()
    done = 0
    try:
        rows = measure_pairs(source, table, method, size, client=job.engine(), noted=journal.append)
        for table, done in rows:
            meter(done, len(table.status))
            if job.progress is not None:
                job.progress(done, len(table.status))
    except BaseException as error:
        error.add_note(f"{done} of {len(table.status)} pairs are measured and saved")
        save_shifts(dataset(setup, table, known=kept(found)), job.path)
        raise
    return table


def _is_solved(job: Job, found: xr.Dataset) -> bool:
    """Whether an earlier run solved the same rows with the same settings and versions."""
    if "verdict" not in found.attrs or "configuration" not in found.attrs:
        return False
    before = json.loads(found.attrs["configuration"]).get("solve")
    same = before == job.setup.config.dump()["solve"]
    return bool(same and json.loads(found.attrs["versions"]) == versions())


def _solve(job: Job) -> xr.Dataset:
    gather(job.setup)
    measured = own_shifts(job.setup)
    table, setup = read_pairs(measured), job.setup
    if not table.to_do.any() and not set(LOOKED_FOR) <= set(measured.attrs):
        measured = _measure(job, overwrite=False)  # the last part has been gathered
        table = read_pairs(measured)
    if table.count([PairStatus.UNMEASURED]) == len(table.status):
        raise InputError(f"no pair of {job.path} is measured yet: run `measure` first")
    asked = setup.config.solve
    with stage("solving"):
        if asked.polish:
            setup = with_stills(setup, keep_at=job.path.rstrip("/"), again=True)
        frames = solve_series(
            setup.series.source,
            table,
            setup.method,
            client=job.engine() if asked.polish else None,
            **asked.model_dump(),
        )
        result = dataset(setup, table, frames, kept(measured))
    save_shifts(result, job.path)
    return result
