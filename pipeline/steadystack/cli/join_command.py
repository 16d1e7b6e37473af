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
    help="The series are positions that drift alike, such as the fields of a plate: one set of "
    "shifts for all, from all.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    help="Where the shifts of all frames go: .zarr, or .nc for NetCDF.",
)
@click.option(
    "--each",
    metavar="FOLDER",
    type=click.Path(),
    help="Also write the shifts of every series into FOLDER/NAME.zarr, for `steadystack correct`.",
)
@click.option("--overwrite", is_flag=True, help="Replace what an earlier call wrote there.")
@reporting_errors
def join(
    configs: tuple[str, ...], shared_drift: bool, output: str, each: str | None, overwrite: bool
) -> None:
    """Join the series of finished runs in one frame: sessions of one specimen, fields that overlap.

    Each CONFIG is the settings of a run, which may have several inputs. The mean of each
    series is measured against all others; what is found is added to its shifts. The first series
    keeps its own. With --shared-drift series need show nothing in common, if one stage carries
    them. Nothing of the runs is changed.
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
