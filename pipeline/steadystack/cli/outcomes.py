"""What became of a run, for a person: lines on standard output, and the exit code."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import click
import xarray as xr

from steadystack import stages
from steadystack.cli.errors import FAILED, NOT_TRUSTED, WRONG_USE
from steadystack.config import Config
from steadystack.model import PairStatus
from steadystack.setup import only_input
from steadystack.store.files import exists
from steadystack.verdict import Trust

WORST_FIRST = {"failed": FAILED, "refused": WRONG_USE, "not trusted": NOT_TRUSTED}


def run_each(settings: Config, command: stages.Command, **options: Any) -> None:
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
    listed = f" -> {settings.output.summary}" if command in stages.TABLED else ""
    click.echo(f"{len(outcomes)} inputs: {each}{listed}")
    for status, code in WORST_FIRST.items():
        if counts[status]:
            sys.exit(code)


def conclude(settings: Config, shifts: xr.Dataset, seconds: float) -> None:
    """What was written, a line each, the last with the verdict; and the exit code."""
    verdict, output = stages.verdict(shifts), only_input(settings).output
    for name, path in (("report", output.report), ("corrected stack", output.corrected)):
        if path is not None and exists(path):
            click.echo(f"{name} -> {path}")
    click.echo(
        f"{shifts.sizes['frame']} frames, {usable(shifts)}, {seconds:.1f} s -> "
        f"{output.shifts}: {verdict}"
    )
    exit_if_failed(shifts)
    if verdict.trust is Trust.NOT:
        sys.exit(NOT_TRUSTED)


def exit_if_failed(shifts: xr.Dataset) -> None:
    """Pairs that failed can still be measured: more urgent than what the rest looks like."""
    failed = int((shifts["pair_status"] == PairStatus.FAILED.code).sum())
    if failed:
        click.echo(f"{failed} pairs failed: the same command tries them again", err=True)
        sys.exit(FAILED)


def usable(shifts: xr.Dataset) -> str:
    usable = int((shifts["pair_status"] == PairStatus.OK.code).sum())
    rejected = int((shifts["pair_status"] == PairStatus.REJECTED.code).sum())
    note = f", {rejected} rejected" if rejected else ""
    return f"{usable} of {shifts.sizes['pair']} pairs usable{note}"


def table(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
