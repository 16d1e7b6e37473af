"""The command that tells the shifts of frames while these are written."""

from __future__ import annotations

import time

import click

from steadystack import following, planning, stages
from steadystack.cli.options import (
    config_argument,
    get_only_input,
    override_cluster,
    scheduler_option,
)
from steadystack.cli.outcomes import conclude, echo, reporting_errors
from steadystack.config import load_config
from steadystack.model import InputError
from steadystack.terminal import show_progress


@click.command()
@config_argument
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End after this long without a new frame.",
)
@click.option("--until", type=click.IntRange(min=1), metavar="N", help="End after N frames.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="How long to wait for an incomplete frame if later frames are complete.",
)
@scheduler_option
@reporting_errors
def follow(
    config: str,
    idle: float | None,
    until: int | None,
    patience: float,
    scheduler_file: str | None,
) -> None:
    """Print shifts while the stack is being written, then do a run.

    Prints the shift of each frame, a line of JSON, as soon as the frame is complete; the stack need
    not exist yet. At the end it does what `run` does. Everything except these lines goes to
    standard error. Ctrl-C ends it without the run.
    """
    settings = override_cluster(load_config(config), scheduler_file)
    inputs, started = planning.resolve_inputs(settings), time.monotonic()
    if len(inputs) > 1:
        raise InputError(
            f"input.path gives {len(inputs)} inputs, but only one stack can be followed"
        )
    single, count = get_only_input(inputs), 0
    try:
        for line in following.follow(single, following.Pace(idle, until, patience=patience)):
            echo(line.dump())
            count += 1
    except KeyboardInterrupt as stop:
        stop.add_note(f"{count} frames were followed, and the run has not started")
        raise
    echo(f"{count} frames were followed; now running on all frames", err=True)
    with show_progress() as progress:
        shifts = stages.run(single, progress=progress)
    conclude(single, shifts, time.monotonic() - started, err=True)
