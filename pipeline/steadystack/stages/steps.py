"""The public stages of a run, from settings to files: plan, measure, solve, correct, report, run.

Each stage continues from what the previous one left on disk, so that each can be run by itself, and
a run that was stopped continues where it stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from steadystack.cluster import ClusterOnDemand, open_cluster_on_demand
from steadystack.config import Config
from steadystack.dataset import check_holds_no_more, read_attributes
from steadystack.durable import Place, get_place
from steadystack.model import UNSOLVED, InputError
from steadystack.movie import check_movie
from steadystack.outputs import check_of_run, check_own_file, mark_page, name_run
from steadystack.planning import (
    Plan,
    Setup,
    check_further,
    count_fitting_workers,
    count_wanted_workers,
    make_plan,
    open_series,
    resolve_only_input,
    set_up,
)
from steadystack.quality import verdict
from steadystack.report import list_figure_paths
from steadystack.run_log import log_stage, log_to_output
from steadystack.stages.correcting import (
    Summary,
    average_solved,
    check_corrected,
    check_of_series,
    correct_solved,
    plan_correcting,
    plan_images,
)
from steadystack.stages.measuring import (
    OpenRun,
    Progress,
    begin,
    measure_all,
    recall_run,
    settle_settings,
)
from steadystack.stages.reporting import check_report, film_solved, forecast_movie, write_report
from steadystack.stages.results import (
    check_neighbours,
    check_same_frames,
    load_own_shifts,
    publish_draft,
    settle_neighbours,
)
from steadystack.stages.sharing import (
    ShareNumber,
    parse_share,
    remove_shares,
    select_share,
    use_this_machine,
)
from steadystack.stages.solving import is_reported, is_solved, load_measured, solve_measured

log = logging.getLogger(__name__)

MEASURING = ("run", "measure")  # the commands that may begin a dataset
# What commands write besides the shifts, by key of the settings.
IMAGES = ("corrected", "mean", "movie")
WRITTEN = {"run": (*IMAGES, "report"), "correct": IMAGES, "report": ("report",)}


def plan(config: Config) -> Plan:
    """Plan what a run with these settings will do; reads no pixel of the stack."""
    setup = _set_up(resolve_only_input(config))
    if config.output.movie is not None:
        check_movie(config.output.movie)
    images = plan_correcting(setup)
    return replace(
        make_plan(setup),
        corrected=images.get("corrected"),
        mean=images.get("mean"),
        movie=None if config.output.movie is None else forecast_movie(setup),
    )


def run(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    cluster: ClusterOnDemand | None = None,
) -> xr.Dataset:
    """Measure, solve and report: do a whole run. Returns the shifts dataset, which is also on disk.

    Parameters
    ----------
    config : settings, as `load_config` returns them
    overwrite : whether to start over, even if the output exists
    progress : called with the numbers of measured pairs and of all pairs
    cluster : a cluster that also serves other runs; None: the one in the settings

    Raises
    ------
    InputError
        If the settings, the stack or the mask cannot be used; before any frame is read. Also if
        another run is writing the same output, or wrote the existing `output.report`.
    """
    config = resolve_only_input(config)
    path = config.output.report
    check_report(config, overwrite=overwrite)
    with open_run(config, "run", cluster, progress, overwrite=overwrite) as opened:
        check_corrected(config, replaces=overwrite or bool(opened.setup.draft))
        if opened.setup.draft and not overwrite:
            check_of_series(config, read_attributes(opened.setup.draft))
        plan_images(opened.setup)
        measured = measure_all(opened, is_solved_next=True)
        done = is_solved(opened, measured)
        solved = measured if done else solve_measured(opened, measured)
        if path is not None and not (done and is_reported(opened.setup, solved, path)):
            with log_stage("report"):
                write_report(opened.setup, solved, path)
        how = {"overwrite": overwrite, "may_replace": bool(opened.setup.draft)}
        for name, write in _list_images(config):
            if (solved["component"] >= 0).any():
                with log_stage(name):
                    write(opened.setup, solved, opened.engine(), **how)
        log.info("%s", verdict(solved))
        with log_stage("publishing"):
            return publish_draft(opened.setup, solved)


def measure(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    batches: str | None = None,
    cluster: ClusterOnDemand | None = None,
) -> xr.Dataset:
    """Measure the pairs that are not measured yet, or that failed; all of them are gathered.

    What a batch of them found is saved as soon as it is there. With `batches`, such as "3/16", the
    third of 16 parts of the pairs is measured into a dataset of its own beside the output; the next
    `measure`, `solve` or `run` without it takes the rows of all parts over. `cluster` is as in
    `run`.
    """
    share = None if batches is None else parse_share(batches)
    if share is not None:
        config = use_this_machine(config)
    config = resolve_only_input(config)
    with open_run(config, "measure", cluster, progress, share, overwrite) as opened:
        return publish_draft(opened.setup, measure_all(opened))


def solve(config: Config, *, cluster: ClusterOnDemand | None = None) -> xr.Dataset:
    """Solve for the frames' shifts from the measured pairs.

    Only `solve.refine`, `solve.channel_offsets`, `motion.model` and `external_reference` read
    frames.
    """
    with open_run(resolve_only_input(config), "solve", cluster) as opened:
        return solve_measured(opened, load_measured(opened))


def correct(
    config: Config,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    cluster: ClusterOnDemand | None = None,
) -> Summary:
    """Write the corrected stack of a solved run, its mean, and a movie; goes on where it stopped.

    Raises
    ------
    InputError
        Where shifts, stack and settings do not go together; before any frame is read.
    OutputError
        If it cannot be written; what is written is kept.
    """
    config = resolve_only_input(config)
    with open_run(config, "correct", cluster) as opened:
        images = _list_images(config)
        if not images:
            raise InputError(
                "none of output.corrected, output.mean and output.movie is set: set one to the "
                "path of a .zarr or .ome.tif, or of an .mp4"
            )
        check_corrected(config, replaces=overwrite)
        shifts = load_own_shifts(opened.setup)
        written, how = [], {"overwrite": overwrite, "progress": progress}
        for name, write in images:
            with log_stage(name):
                written.append(write(opened.setup, shifts, opened.engine(), **how))
        return replace(written[0], further=tuple(written[1:]))


def _list_images(config: Config) -> list[tuple[str, Callable[..., Summary]]]:
    """The images that the settings ask for: name in log and meter, and what writes each."""
    output = config.output
    wanted = [("correcting", correct_solved)] * (output.corrected is not None)
    wanted += [("averaging", average_solved)] * (output.mean is not None)
    return wanted + [("filming", film_solved)] * (output.movie is not None)


def report(config: Config, *, figures: str | None = None) -> str:
    """Write the report; returns its path. `figures` is a folder for its figures, as PNG and SVG."""
    path = config.output.report
    if path is None:
        raise InputError(
            "output.report is not set: set it to the path of a .html, .png, .svg or .pdf"
        )
    config = resolve_only_input(config)
    for target in list_figure_paths(figures) if figures is not None else ():
        check_further(config, "--figures", target)
    setup = _set_up(config)
    shifts = load_own_shifts(setup)
    check_report(config)
    check_same_frames(setup)
    if (shifts["component"] == UNSOLVED).all():
        raise InputError(f"{config.output.shifts} is not solved yet: run `steadystack solve` first")
    with _holding_written(config, "report"):
        write_report(setup, shifts, path, figures)
    return path


@contextmanager
def open_run_cluster(config: Config) -> Iterator[ClusterOnDemand]:
    """The cluster of a run, which starts when it is needed."""
    path = config.output.performance_report
    if path is None:
        with open_cluster_on_demand(config.cluster) as cluster:
            yield cluster
        return
    where = get_place(path)
    where.check_writable()
    check_own_file(path, "output.performance_report")
    run = name_run(config.output.shifts, path)
    check_of_run(path, run, "output.performance_report")
    with TemporaryDirectory(prefix="steadystack-") as folder:
        made = Path(folder, "report.html")
        with (
            _put_report(where, made, run),
            open_cluster_on_demand(config.cluster, str(made)) as cluster,
        ):
            yield cluster


@contextmanager
def _put_report(where: Place, made: Path, run: str) -> Iterator[None]:
    """Put a Dask report in its place, if one was made; if possible also that of a failed run."""
    try:
        yield
    except BaseException as error:
        if made.exists() and not where.is_cut_off_by(error):
            mark_page(made, run)
            with suppress(InputError):
                check_own_file(where.path)
                where.put(made)
        raise
    if made.exists():  # there is none without workers
        check_own_file(where.path, "output.performance_report")  # a run may take days
        mark_page(made, run)
        where.put(made)


@contextmanager
def _holding_written(config: Config, command: str) -> Iterator[None]:
    """Lock what a command writes besides the shifts against runs with other shifts."""
    with ExitStack() as locks:
        for key in WRITTEN.get(command, ()):
            if (path := getattr(config.output, key)) is not None:
                locks.enter_context(get_place(path).holding_lock(key))
        yield


def _set_up(config: Config) -> Setup:
    """The run, with an earlier call's decisions on "auto" settings."""
    return recall_run(set_up(config, open_series(config)[0]))


@contextmanager
def open_run(
    config: Config,
    command: str,
    cluster: ClusterOnDemand | None = None,
    progress: Progress | None = None,
    share: ShareNumber | None = None,
    overwrite: bool = False,
) -> Iterator[OpenRun]:
    """Open a run that has its output to itself, and clean up after one that died.

    With `overwrite`, or if an earlier call with it was stopped, the run writes a draft beside the
    existing dataset, which stays until the draft is complete.
    """
    begun = time.monotonic()
    with ExitStack() as ends:
        on = cluster or ends.enter_context(open_run_cluster(config))
        setup = set_up(config, open_series(config)[0])
        if not overwrite:
            setup = recall_run(setup)
        if share is not None:
            setup = select_share(setup, share)
            config = setup.config
        path = config.output.shifts
        works = command != "solve" or config.solve_reads_frames
        workers = count_fitting_workers(setup) if works else None
        with (
            get_place(path).holding_lock(),
            _holding_written(config, command),
            log_to_output(config, command, begun),
            log_stage("closing"),
            ends.pop_all(),  # workers end while the log is still open
            log_stage("between stages"),
        ):
            settle_neighbours(path)
            is_replaced = overwrite or command == "solve" or setup.growth is not None
            if is_replaced:
                check_holds_no_more(path)
            if command in MEASURING:
                check_neighbours(setup)
            if workers is not None and workers < count_wanted_workers(config.cluster):
                log.warning(
                    "%d of %d workers fit into the memory here",
                    *(workers, count_wanted_workers(config.cluster)),
                )
            opened = OpenRun(setup, on, workers, progress, share is not None)
            if command in MEASURING:
                if overwrite:
                    remove_shares(path)
                opened = replace(opened, setup=begin(setup, overwrite))
                if opened.setup.draft and not is_replaced:  # from an earlier call
                    check_holds_no_more(path)
            check_same_frames(opened.setup)
            if command in MEASURING:
                if not opened.setup.is_settled and not config.cluster.starts_cluster:
                    opened.engine()  # a missing one is reported before frames are read
                with log_stage("deciding on settings"):
                    opened = replace(opened, setup=settle_settings(opened.setup))
            yield opened
