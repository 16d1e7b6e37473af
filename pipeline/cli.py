"""The stages under the same names for the shell."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline import guide, stages
from pipeline.config import Config, load_config
from pipeline.model import InputError, OutputError, PairStatus
from pipeline.verdict import Trust

FAILED, WRONG_USE, NOT_TRUSTED = 1, 2, 3

config_argument = click.argument("config", type=click.Path(dir_okay=False))
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Start anew, also if the output exists."
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

    Exit codes: 0 good, or look at it; 1 failed or interrupted; 2 wrong use or settings; 3 finished,
    but the result is not to be trusted.
    """  # noqa: D301


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is wrong with the input in plain lines and exit code 2, instead of a traceback."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(WRONG_USE)
        except OutputError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)
        except KeyboardInterrupt:
            click.echo("stopped; what was measured is saved: the same command goes on", err=True)
            sys.exit(FAILED)

    return wrapped


@main.command()
@config_argument
@overwrite_option
@_told
def run(config: str, overwrite: bool) -> None:
    """Measure, solve and report: the whole run of a YAML file.

    Goes on where an earlier run of the same settings stopped.
    """
    settings = load_config(config)
    begun = time.monotonic()
    with _bar() as progress:
        shifts = stages.run(settings, overwrite=overwrite, progress=progress)
    _conclude(settings, shifts, time.monotonic() - begun)


@main.command()
@config_argument
@_told
def plan(config: str) -> None:
    """Say what a run will do: frames, pairs, tasks, bytes. Opens no pixel of the stack."""
    found = stages.plan(load_config(config))
    _table(
        [
            ("frames", f"{found.frames} of {found.frame_shape}"),
            ("pairs", str(found.pairs)),
            ("max_shift", f"{found.max_shift} px"),
            ("region read", f"{found.region} px in {found.blocks} block(s)"),
            ("tiles", f"{found.tile} px, transforms of {found.fft_shape}"),
            ("tasks", str(found.tasks)),
            (
                "largest task",
                f"{found.pairs_per_task} pairs, {found.frames_per_task} frames, "
                f"{found.task_bytes / 2**20:.0f} MiB of memory",
            ),
            ("to read", f"{found.read_bytes / 2**20:.1f} MiB (decoded)"),
        ]
    )


@main.command()
@config_argument
@overwrite_option
@_told
def measure(config: str, overwrite: bool) -> None:
    """Measure the pairs of a YAML file that are not measured yet."""
    settings = load_config(config)
    with _bar() as progress:
        shifts = stages.measure(settings, overwrite=overwrite, progress=progress)
    click.echo(f"{_usable(shifts)} -> {settings.output.shifts}")


@main.command()
@config_argument
@_told
def solve(config: str) -> None:
    """Solve for the frames' shifts from measured pairs, in seconds; `solve.polish` reads frames."""
    settings = load_config(config)
    begun = time.monotonic()
    shifts = stages.solve(settings)
    _conclude(settings, shifts, time.monotonic() - begun)


@main.command()
@config_argument
@click.option("--overwrite", is_flag=True, help="Make it anew, also if it exists.")
@_told
def correct(config: str, overwrite: bool) -> None:
    """Write the corrected stack of a solved run.

    Goes on where an earlier call stopped; takes its place when it is whole.
    """
    begun = time.monotonic()
    with _bar() as progress:
        made = stages.correct(load_config(config), overwrite=overwrite, progress=progress)
    blank = f" ({made.blank} of them blank)" if made.blank else ""
    click.echo(
        f"{made.frames} frames{blank} of {made.shape}, {made.levels} level(s), {made.tasks} tasks "
        f"of up to {made.task_bytes / 2**20:.0f} MiB, {time.monotonic() - begun:.1f} s -> "
        f"{made.path}"
    )


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
@_told
def report(config: str) -> None:
    """Draw the picture of a solved run."""
    click.echo(stages.report(load_config(config)))


@main.command()
@config_argument
@_told
def check(config: str) -> None:
    """Say what is understood of a YAML file, its stack and its mask; reads three frames."""
    _table(guide.check(load_config(config)))


@main.command()
@click.argument("stack")
@click.option("--channel", help="Channel by number or name.")
@click.option("--level", type=int, help="Pyramid level of an OME-Zarr image.")
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
    with _bar() as progress:
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


def _conclude(settings: Config, shifts: xr.Dataset, seconds: float) -> None:
    """One line that says what was done and whether to trust it, and the exit code."""
    verdict = stages.verdict(shifts)
    click.echo(
        f"{shifts.sizes['frame']} frames, {_usable(shifts)}, {seconds:.1f} s -> "
        f"{settings.output.shifts}: {verdict}"
    )
    if verdict.trust is Trust.NOT:
        sys.exit(NOT_TRUSTED)


def _usable(shifts: xr.Dataset) -> str:
    usable = int((shifts["pair_status"] == PairStatus.OK.code).sum())
    rejected = int((shifts["pair_status"] == PairStatus.REJECTED.code).sum())
    note = f", {rejected} rejected" if rejected else ""
    return f"{usable} of {shifts.sizes['pair']} pairs usable{note}"


def _table(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


@contextmanager
def _bar() -> Iterator[stages.Progress]:
    """A progress bar of pairs on standard error, where that is a terminal."""
    columns = (
        TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("pairs"),
        TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("pairs", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    main()
