"""The commands: their words, options and help."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping

import click

from steadystack import guide, planning, stages
from steadystack.cli.first_steps import init, mask
from steadystack.cli.follow_command import follow
from steadystack.cli.join_command import join
from steadystack.cli.options import (
    config_argument,
    get_only_input,
    override_cluster,
    overwrite_option,
    scheduler_option,
)
from steadystack.cli.outcomes import (
    EXIT_CODES,
    GOES_ON_AFTER,
    EchoHandler,
    conclude,
    echo,
    exit_if_failed,
    format_usable,
    print_table,
    report_no_table,
    reporting_errors,
    run_each,
)
from steadystack.cli.view_command import view
from steadystack.config import Config, load_config
from steadystack.model import InputError
from steadystack.terminal import show_progress

ORDER = (
    "init", "mask", "check", "preview", "plan", "run", "follow", "measure", "solve", "correct",
    "report", "view", "join", "export", "schema", "demo",
)  # fmt: skip


class Ordered(click.Group):
    """A group that lists its commands in the order in which they are usually needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in `ORDER`."""
        return sorted(self.commands, key=[*ORDER, *self.commands].index)


@click.group(
    cls=Ordered,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}. "
    f"{GOES_ON_AFTER}",
)
@click.option(
    "--debug",
    is_flag=True,
    envvar="STEADYSTACK_DEBUG",
    help="Print the traceback of an unexpected error. STEADYSTACK_DEBUG=1 does the same.",
)
@click.version_option(package_name="steadystack")
def main(debug: bool) -> None:
    """Time-lapse drift correction that works on partly unusable images.

    \b
    Start with:  steadystack init STACK > run.yaml
                 steadystack check run.yaml
                 steadystack run run.yaml

    A run ends with a verdict: good, check (read the reasons) or unreliable.
    """  # noqa: D301
    for name in ("steadystack.cluster.kinds", "steadystack.following"):
        told_log = logging.getLogger(name)
        told_log.setLevel(logging.INFO)
        if not any(isinstance(handler, EchoHandler) for handler in told_log.handlers):
            told_log.addHandler(EchoHandler())


@main.command()
@config_argument
@reporting_errors
def preview(config: str) -> None:
    """Take a coarse look at the series and estimate the cost of a run.

    Takes a few seconds: measures every nth frame, averaged over boxes of pixels, and one to three
    pairs at full size. Drift and errors are in pixels of the stack; time and memory of the whole
    run are estimates. Writes NAME.preview.html beside the report of the run, or beside its shifts
    if there is no report.
    """
    inputs = planning.resolve_inputs(load_config(config))
    for single in _iterate_inputs(inputs):
        with show_progress("reading", "frames") as progress:
            found = guide.preview(single, progress)
        print_table(found.describe())


@main.command()
@config_argument
@overwrite_option
@click.option(
    "--inputs",
    "share",
    metavar="I/N",
    help=(
        "Run only share I of N of the inputs, such as 3/16: every 16th input, starting at the "
        "third."
    ),
)
@scheduler_option
@reporting_errors
def run(config: str, overwrite: bool, share: str | None, scheduler_file: str | None) -> None:
    """Do a whole run from a YAML file: measure, solve and report.

    Continues where an earlier run with the same settings stopped. If one of several inputs fails,
    the others still run; output.summary lists the outcome of each.
    """
    settings = override_cluster(load_config(config), scheduler_file)
    started = time.monotonic()
    if share is None:
        inputs = planning.resolve_inputs(settings)
    else:
        settings, inputs = stages.share_inputs(settings, share)
    with show_progress() as progress:
        if share is not None or len(inputs) > 1:
            run_each(settings, inputs, "run", overwrite=overwrite, progress=progress)
            return
        single = get_only_input(inputs)
        report_no_table(single, config)
        shifts = stages.run(single, overwrite=overwrite, progress=progress)
    conclude(single, shifts, time.monotonic() - started)


@main.command()
@config_argument
@reporting_errors
def plan(config: str) -> None:
    """Show what a run will do: pairs, tasks, bytes, memory.

    Does not read any pixels of the stack.
    """
    for single in _iterate_inputs(planning.resolve_inputs(load_config(config))):
        print_table(stages.plan(single).describe())


@main.command()
@config_argument
@overwrite_option
@click.option(
    "--batches",
    metavar="I/N",
    help="Measure only part I of N, such as 3/16, and write it to a file beside the output.",
)
@scheduler_option
@reporting_errors
def measure(config: str, overwrite: bool, batches: str | None, scheduler_file: str | None) -> None:
    """Measure the pairs that have not been measured yet.

    Parts that were measured with --batches are collected first.
    """
    settings = override_cluster(load_config(config), scheduler_file)
    inputs = planning.resolve_inputs(settings)
    if batches is not None and len(inputs) > 1:
        raise InputError(
            f"--batches {batches} works with one input, but there are {len(inputs)}: measure them "
            "without it, or set input.position or input.path to one of them"
        )
    with show_progress() as progress:
        if len(inputs) > 1:
            run_each(settings, inputs, "measure", overwrite=overwrite, progress=progress)
            return
        single = get_only_input(inputs)
        shifts = stages.measure(single, overwrite=overwrite, progress=progress, batches=batches)
    target = f"part {batches}" if batches else single.output.shifts
    echo(f"{format_usable(shifts)} -> {target}")
    exit_if_failed(shifts)


@main.command()
@config_argument
@reporting_errors
def solve(config: str) -> None:
    """Solve for the shifts of the frames from the measured pairs.

    Takes seconds and does not measure any pair again; only `solve.refine`, `solve.channel_offsets`,
    `motion.model` and `external_reference` read frames.
    """
    settings = load_config(config)
    inputs, started = planning.resolve_inputs(settings), time.monotonic()
    with show_progress("solving", ""):
        if len(inputs) > 1:
            run_each(settings, inputs, "solve")
            return
        single = get_only_input(inputs)
        shifts = stages.solve(single)
    conclude(single, shifts, time.monotonic() - started, shifts_alone=True)


@main.command()
@config_argument
@click.option("--overwrite", is_flag=True, help="Write the outputs again, even if they exist.")
@reporting_errors
def correct(config: str, overwrite: bool) -> None:
    """Write the corrected stack of a solved run, its mean and a movie.

    They are written to output.corrected, output.mean and output.movie, if these are set, with the
    options in the sections `correct` and `mean`.

    Continues where an earlier call stopped.
    """
    settings = load_config(config)
    inputs = planning.resolve_inputs(settings)
    with show_progress("correcting", "tasks") as progress:
        if len(inputs) > 1:
            run_each(settings, inputs, "correct", overwrite=overwrite, progress=progress)
            return
        started = time.monotonic()
        outcome = stages.correct(get_only_input(inputs), overwrite=overwrite, progress=progress)
    echo(f"{outcome} in {time.monotonic() - started:.1f} s")


@main.command()
@click.argument("shifts", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@reporting_errors
def export(shifts: str, target: str, overwrite: bool) -> None:
    """Export shifts for other programs.

    SHIFTS is what a run wrote to output.shifts; TARGET ends in .csv (a row per frame), .json
    (layers for napari), .affines.json (a matrix per frame, as for multiview-stitcher), .yml or
    .yaml (settings for biahub), .xml (for BigDataViewer), .displacements.ome.zarr (displacement
    fields for points, OME-Zarr 0.6) or .nc (NetCDF).
    """
    common_box = stages.export(shifts, target, overwrite=overwrite)
    note = (
        ""
        if common_box is None
        else f"; every good frame shows pixels {common_box.first} up to, not including, "
        f"{common_box.stop}"
    )
    echo(f"{target}{note}")


@main.command()
@config_argument
@click.option(
    "--figures",
    type=click.Path(file_okay=False),
    help="Also write each figure to this folder, as PNG and SVG.",
)
@reporting_errors
def report(config: str, figures: str | None) -> None:
    """Write the report of a solved run.

    It is written to output.report: a page (.html), or one picture (.png, .svg or .pdf).
    """
    settings = load_config(config)
    inputs = planning.resolve_inputs(settings)
    if figures is not None and len(inputs) > 1:
        raise InputError(f"--figures {figures} works with one input, but there are {len(inputs)}")
    if len(inputs) > 1:
        run_each(settings, inputs, "report")
    else:
        echo(stages.report(get_only_input(inputs), figures=figures))


@main.command()
@config_argument
@click.option(
    "--picture",
    metavar="FILE",
    help="Draw the three frames with invalid pixels in colour: .png, .svg or .pdf.",
)
@reporting_errors
def check(config: str, picture: str | None) -> None:
    """Show how the settings, the stack and the mask are understood.

    Reads three frames, points out anything odd in them, and tries a few pairs.
    """
    inputs = planning.resolve_inputs(load_config(config))
    if picture is not None and len(inputs) > 1:
        raise InputError(f"--picture {picture} works with one input, but there are {len(inputs)}")
    for single in _iterate_inputs(inputs):
        with show_progress("checking", ""):
            rows = guide.check(single, picture)
        print_table(rows)


main.add_command(init)
main.add_command(mask)
main.add_command(follow)
main.add_command(view)
main.add_command(join)


@main.command()
def schema() -> None:
    """Print the JSON schema of the YAML file, for editors."""
    click.echo(json.dumps(Config.model_json_schema(), indent=2))


@main.command()
@click.argument("directory", default="steadystack-demo", type=click.Path(file_okay=False))
@reporting_errors
def demo(directory: str) -> None:
    """Make a small drifting time-lapse, run it, and plot the result.

    Everything is written to DIRECTORY (default: steadystack-demo).
    """
    with show_progress() as progress:
        result = guide.demo(directory, progress=progress)
    echo(
        f"{result.shifts.sizes['frame']} frames, {result.shifts.sizes['pair']} pairs: "
        f"{result.shifts.attrs['verdict']}"
    )
    echo(f"rms error against the known drift: {result.rms_error:.3f} px")
    echo(f"settings  {result.directory / 'demo.yaml'}")
    echo(f"shifts    {result.directory / 'shifts.zarr'}")
    for picture in result.pictures:
        echo(f"picture   {picture}")


def _iterate_inputs(inputs: Mapping[str, Config]) -> Iterator[Config]:
    """Iterate over the settings of every input; prints its name before if there are several."""
    for name, single in inputs.items():
        if len(inputs) > 1:
            echo(f"\n{name}")
        yield single
