"""The stages under the same names for the shell."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import click
import xarray as xr

from pipeline import guide, stages
from pipeline.config import Config, load_config
from pipeline.model import InputError, PairStatus, RunError
from pipeline.setup import inputs_of, only_input
from pipeline.terminal import exit_code, stoppable, told_of_progress
from pipeline.verdict import Trust

FAILED, WRONG_USE, NOT_TRUSTED = 1, 2, 3
GOES_ON = ("run", "measure", "solve", "correct")  # commands that go on where they were stopped
WORST_FIRST = {"failed": FAILED, "refused": WRONG_USE, "not trusted": NOT_TRUSTED}

config_argument = click.argument("config", type=click.Path(dir_okay=False))
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Start anew, also if the output exists."
)

scheduler_option = click.option(
    "--scheduler-file",
    type=click.Path(dir_okay=False),
    help="Run on the Dask scheduler that wrote this file, whatever `cluster` says.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="steadystack")
def main() -> None:
    """Time-lapse drift correction that works on partly unusable images.

    \b
    Start with:  steadystack init STACK > run.yaml
                 steadystack check run.yaml
                 steadystack run run.yaml

    A run ends with a verdict: good, look at it (finished, with reasons), or not to be trusted.

    Exit codes: 0 good, or look at it; 1 failed, be it only some of the pairs; 2 wrong use or
    settings; 3 finished, but the result is not to be trusted; 130 stopped by Ctrl-C, 143 by
    SIGTERM. After 1, 130 and 143 the same command goes on.
    """  # noqa: D301
    said = logging.getLogger("pipeline.cluster.kinds")
    said.setLevel(logging.INFO)
    if not any(isinstance(handler, _Said) for handler in said.handlers):
        said.addHandler(_Said())


class _Said(logging.Handler):
    """What a cluster says of itself, the link of its dashboard, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is wrong with the input in plain lines and exit code 2, instead of a traceback."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with stoppable():
                return function(*args, **kwargs)
        except InputError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(WRONG_USE)
        except RunError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)
        except KeyboardInterrupt as stop:
            _say_how_to_go_on(stop)
            sys.exit(exit_code(stop))

    return wrapped


def _say_how_to_go_on(stop: KeyboardInterrupt) -> None:
    """One line: what stopped the command, what is saved, and the command that goes on."""
    context = click.get_current_context()
    parts = [f"stopped by {str(stop) or 'Ctrl-C'}", *getattr(stop, "__notes__", [])]
    config = context.params.get("config")
    if config is not None and context.info_name in GOES_ON:
        given = [
            f"--{name} {context.params[name]}" for name in ("batches",) if context.params.get(name)
        ]
        command = " ".join([str(context.info_name), shlex.quote(config), *given])
        parts.append(f"`steadystack {command}` goes on from there")
    click.echo("; ".join(parts), err=True)


@main.command()
@config_argument
@overwrite_option
@scheduler_option
@_told
def run(config: str, overwrite: bool, scheduler_file: str | None) -> None:
    """Measure, solve and report: the whole run of a YAML file.

    Goes on where an earlier run of the same settings stopped. Of several inputs one that fails does
    not stop the others; output.summary tells what became of each.
    """
    settings = _elsewhere(load_config(config), scheduler_file)
    begun = time.monotonic()
    with told_of_progress() as progress:
        if len(inputs_of(settings)) > 1:
            _many(settings, "run", overwrite=overwrite, progress=progress)
            return
        shifts = stages.run(settings, overwrite=overwrite, progress=progress)
    _conclude(settings, shifts, time.monotonic() - begun)


@main.command()
@config_argument
@_told
def plan(config: str) -> None:
    """Say what a run will do: frames, pairs, tasks, bytes, memory. Opens no pixel of the stack."""
    for single in _each(config):
        _table(stages.plan(single).rows())


@main.command()
@config_argument
@overwrite_option
@click.option(
    "--batches",
    metavar="I/N",
    help="Only part I of N, into a file beside the output.",
)
@scheduler_option
@_told
def measure(config: str, overwrite: bool, batches: str | None, scheduler_file: str | None) -> None:
    """Measure the pairs of a YAML file that are not measured yet.

    What was measured in parts (--batches) is gathered first.
    """
    settings = _elsewhere(load_config(config), scheduler_file)
    with told_of_progress() as progress:
        if len(inputs_of(settings)) > 1 and batches is None:
            _many(settings, "measure", overwrite=overwrite, progress=progress)
            return
        shifts = stages.measure(settings, overwrite=overwrite, progress=progress, batches=batches)
    where = f"part {batches}" if batches else only_input(settings).output.shifts
    click.echo(f"{_usable(shifts)} -> {where}")
    _exit_if_failed(shifts)


@main.command()
@config_argument
@_told
def solve(config: str) -> None:
    """Solve for the frames' shifts from measured pairs, in seconds; `solve.polish` reads frames."""
    settings = load_config(config)
    begun = time.monotonic()
    if len(inputs_of(settings)) > 1:
        _many(settings, "solve")
    else:
        _conclude(settings, stages.solve(settings), time.monotonic() - begun)


@main.command()
@config_argument
@click.option("--overwrite", is_flag=True, help="Make it anew, also if it exists.")
@_told
def correct(config: str, overwrite: bool) -> None:
    """Write the corrected stack of a solved run.

    Goes on where an earlier call stopped; takes its place when it is whole.
    """
    settings = load_config(config)
    with told_of_progress("correcting", "tasks") as progress:
        if len(inputs_of(settings)) > 1:
            _many(settings, "correct", overwrite=overwrite, progress=progress)
            return
        begun = time.monotonic()
        made = stages.correct(settings, overwrite=overwrite, progress=progress)
    click.echo(f"{made} in {time.monotonic() - begun:.1f} s")


@main.command()
@click.argument("shifts", type=click.Path())
@click.argument("target", type=click.Path(dir_okay=False))
@click.option("--overwrite", is_flag=True, help="Also if the file exists.")
@_told
def export(shifts: str, target: str, overwrite: bool) -> None:
    """Write SHIFTS for other programs: TARGET ends in .csv, .json (napari) or .nc (NetCDF)."""
    common = stages.export(shifts, target, overwrite=overwrite)
    seen = "" if common is None else f"; every good frame shows {common.first} to {common.stop}"
    click.echo(f"{target}{seen}")


@main.command()
@config_argument
@click.option(
    "--figures", type=click.Path(file_okay=False), help="Folder for the figures, as PNG and SVG."
)
@_told
def report(config: str, figures: str | None) -> None:
    """Write the page, or draw the picture, of a solved run."""
    settings = load_config(config)
    count = len(inputs_of(settings))
    if figures is not None and count > 1:
        raise InputError(f"--figures {figures} is for one input, and there are {count}")
    if count == 1:
        click.echo(stages.report(settings, figures=figures))
    else:
        _many(settings, "report")


@main.command()
@config_argument
@click.option("--picture", help="Draw these frames and what is not valid: .png, .svg or .pdf.")
@_told
def check(config: str, picture: str | None) -> None:
    """Say what is understood of a YAML file, its stack and its mask; reads three frames."""
    count = len(inputs_of(load_config(config)))
    if picture is not None and count > 1:
        raise InputError(f"--picture {picture} is for one input, and there are {count}")
    for single in _each(config):
        _table(guide.check(single, picture))


@main.command()
@click.argument("stack")
@click.option("--channel", help="Channel by number or name.")
@click.option("--level", type=int, help="Pyramid level.")
@click.option("--position", help="Image of a plate, such as B/03/0.")
@click.option("--series", type=int, help="Image of a collection or of a TIFF file.")
@click.option("--axes", help="A letter of tczyx per array dimension.")
@click.option("--variable", help="Array of an xarray group.")
@_told
def init(stack: str, **keys: Any) -> None:
    """Look at a stack and print commented settings for it."""
    given = {key: value for key, value in keys.items() if value is not None}
    click.echo(guide.init(stack, **given), nl=False)


@main.command()
def schema() -> None:
    """Print the JSON schema of the YAML file, for editors."""
    click.echo(json.dumps(Config.model_json_schema(), indent=2))


@main.command()
@click.argument("directory", default="steadystack-demo", type=click.Path(file_okay=False))
@_told
def demo(directory: str) -> None:
    """Make a small drifting time-lapse in DIRECTORY, run it, and draw it."""
    with told_of_progress() as progress:
        made = guide.demo(directory, progress=progress)
    click.echo(
        f"{made.shifts.sizes['frame']} frames, {made.shifts.sizes['pair']} pairs: "
        f"{made.shifts.attrs['verdict']}"
    )
    click.echo(f"error against the known drift: {made.rms_error:.3f} px (root mean square)")
    click.echo(f"settings  {made.directory / 'demo.yaml'}")
    click.echo(f"shifts    {made.directory / 'shifts.zarr'}")
    for picture in made.pictures:
        click.echo(f"picture   {picture}")


def _each(path: str) -> Iterator[Config]:
    """The settings of every input of a YAML file, its name before it if there are several."""
    found = inputs_of(load_config(path))
    for name, single in found.items():
        if len(found) > 1:
            click.echo(f"\n{name}")
        yield single


def _many(settings: Config, command: stages.Command, **options: Any) -> None:
    """All inputs of the settings, a line for each; the exit code is the worst of theirs."""

    def tell(outcome: stages.Outcome) -> None:
        click.echo(
            f"{outcome.name}: {outcome.status}, {outcome.usable_pairs} of {outcome.pairs} pairs "
            f"usable, {outcome.seconds:.1f} s -> {outcome.shifts}: {outcome.verdict}"
            if outcome.pairs
            else f"{outcome.name}: {outcome.status}: {outcome.verdict}"
        )

    outcomes = stages.run_all(settings, command, told=tell, **options)
    counts = Counter(outcome.status for outcome in outcomes)
    each = ", ".join(f"{count} {status}" for status, count in counts.items())
    table = f" -> {settings.output.summary}" if command in stages.TABLED else ""
    click.echo(f"{len(outcomes)} inputs: {each}{table}")
    for status, code in WORST_FIRST.items():
        if counts[status]:
            sys.exit(code)


def _conclude(settings: Config, shifts: xr.Dataset, seconds: float) -> None:
    """One line that says what was done and whether to trust it, and the exit code."""
    verdict = stages.verdict(shifts)
    click.echo(
        f"{shifts.sizes['frame']} frames, {_usable(shifts)}, {seconds:.1f} s -> "
        f"{only_input(settings).output.shifts}: {verdict}"
    )
    _exit_if_failed(shifts)
    if verdict.trust is Trust.NOT:
        sys.exit(NOT_TRUSTED)


def _exit_if_failed(shifts: xr.Dataset) -> None:
    """Pairs that failed can still be measured: more urgent than what the rest looks like."""
    failed = int((shifts["pair_status"] == PairStatus.FAILED.code).sum())
    if failed:
        click.echo(f"{failed} pairs failed: the same command tries them again", err=True)
        sys.exit(FAILED)


def _elsewhere(settings: Config, scheduler_file: str | None) -> Config:
    """The same settings on another cluster, if one is given."""
    if scheduler_file is None:
        return settings
    update = {"kind": "scheduler-file", "scheduler_file": scheduler_file, "address": None}
    if settings.cluster.security == "temporary":
        update["security"] = None
    return settings.model_copy(update={"cluster": settings.cluster.model_copy(update=update)})


def _usable(shifts: xr.Dataset) -> str:
    usable = int((shifts["pair_status"] == PairStatus.OK.code).sum())
    rejected = int((shifts["pair_status"] == PairStatus.REJECTED.code).sum())
    note = f", {rejected} rejected" if rejected else ""
    return f"{usable} of {shifts.sizes['pair']} pairs usable{note}"


def _table(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
