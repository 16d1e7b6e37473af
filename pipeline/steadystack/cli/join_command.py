"""The command that joins the series of finished runs."""

from __future__ import annotations

import sys

import click

from steadystack import joining
from steadystack.cli.outcomes import UNRELIABLE, echo, reporting_errors
from steadystack.config import load_config
from steadystack.model import Trust, Verdict, escape_unprintable


@click.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(), metavar="CONFIG...")
@click.option(
    "--shared-drift",
    is_flag=True,
    help="The series are positions that drift alike, such as the fields of a plate: find one set "
    "of shifts for all of them, from all of them.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    help="Where to write the shifts of all frames: .zarr, or .nc for NetCDF.",
)
@click.option(
    "--each",
    metavar="FOLDER",
    type=click.Path(),
    help="Also write the shifts of every series to FOLDER/NAME.zarr, for `steadystack correct`.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output of an earlier call.")
@reporting_errors
def join(
    configs: tuple[str, ...], shared_drift: bool, output: str, each: str | None, overwrite: bool
) -> None:
    """Align the series of finished runs with each other.

    The series are sessions of one specimen, or fields that overlap. Each CONFIG is the settings
    file of a run, which may have several inputs. The mean of each series is measured against the
    means of all others, and the offset found is added to the shifts of the series; the first series
    keeps its shifts. With --shared-drift, the series need not show anything in common, as long as
    they share a stage. The runs themselves are not changed.
    """
    settings = [load_config(path) for path in configs]
    joined = joining.join_series(
        settings, shared_drift=shared_drift, output=output, each=each, overwrite=overwrite
    )
    describe = joining.describe_positions if shared_drift else joining.describe_means
    for line in describe(joined):
        echo(escape_unprintable(line))
    found = Verdict.read(joined.attrs)
    names = set(joined["series"].to_numpy().tolist())
    echo(
        f"{joined.sizes['frame']} frames of {len(names)} series -> {escape_unprintable(output)}: "
        f"{found.trust}"
    )
    for reason in found.reasons:
        echo(f"  {reason}")
    if found.trust is Trust.UNRELIABLE:
        sys.exit(UNRELIABLE)
