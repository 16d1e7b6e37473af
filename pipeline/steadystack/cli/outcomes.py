"""Print the outcome of a command in plain lines, and exit with the matching code."""

from __future__ import annotations

import errno
import logging
import shlex
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steadystack import quality, stages
from steadystack.config import Config
from steadystack.durable import get_place, make_absolute
from steadystack.model import (
    InputError,
    PairStatus,
    RunError,
    Trust,
    UnreachableError,
    escape_unprintable,
    hide_secrets,
)
from steadystack.terminal import Stopped, get_exit_code, stopping_on_signals

if TYPE_CHECKING:
    import xarray as xr

FAILED, WRONG_USE, UNRELIABLE = 1, 2, 3
INTERRUPTED, TERMINATED = map(get_exit_code, (KeyboardInterrupt(), Stopped(signal.SIGTERM)))
EXIT_CODES = {
    0: "good or check",
    FAILED: "failed, even if only some of the pairs did",
    WRONG_USE: "invalid usage or settings",
    UNRELIABLE: "finished, but the result is unreliable",
    INTERRUPTED: "stopped by Ctrl-C",
    TERMINATED: "stopped by SIGTERM; for other signals, 128 plus the signal number",
}
GOES_ON_AFTER = "After 1, or after a stop, run the same command to continue."
GOES_ON = (
    "run",
    "follow",
    "measure",
    "solve",
    "correct",
)  # commands that continue where they were stopped


# Options that must be repeated to continue such a command, by parameter name.
OPTIONS_TO_GO_ON = {"batches": "batches", "share": "inputs", "idle": "idle", "until": "until"}


def echo(text: str, *, err: bool = False) -> None:
    """Print a text without the secrets of URLs."""
    click.echo(hide_secrets(text), err=err)


class EchoHandler(logging.Handler):
    """A log handler that prints on standard error, for the link of a cluster's dashboard."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        echo(self.format(record), err=True)


def reporting_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a command print errors as plain lines and exit with their code, without a traceback.

    An unexpected error is also printed as a line, with the file that holds its traceback.
    """

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with stopping_on_signals():
                return function(*args, **kwargs)
        except InputError as error:
            for line in str(error).splitlines():
                echo(f"error: {line}", err=True)
            sys.exit(WRONG_USE)
        except RunError as error:
            goes_on = isinstance(error, UnreachableError) and _can_go_on()
            saved = (
                "; what was measured is saved: run the same command to continue" if goes_on else ""
            )
            echo(f"error: {error}{saved}", err=True)
            sys.exit(FAILED)
        except KeyboardInterrupt as stop:
            _print_how_to_go_on(stop)
            sys.exit(get_exit_code(stop))
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click reports them
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # nobody reads the output any more: click ends silently
            _print_unexpected(error)
            sys.exit(FAILED)

    return wrapped


def _print_unexpected(error: Exception) -> None:
    """Print an unexpected error in a line; its traceback goes into a file, or is printed, too."""
    lines = hide_secrets("".join(traceback.format_exception(error)))
    is_shown = click.get_current_context().find_root().params.get("debug", False)
    path = None if is_shown else _save_traceback(lines)
    if path is None:
        click.echo(lines, err=True, nl=False)
    if isinstance(error, OSError | MemoryError):
        cause = "an unexpected error of the operating system"
    else:
        cause = "this is a bug in steadystack"
    message = " ".join(str(error).split()) or "no message"
    location = "above" if path is None else f"in {path}"
    echo(
        f"error: {cause}: {type(error).__name__}: {message}; its traceback is {location}", err=True
    )


def _save_traceback(lines: str) -> str | None:
    """Write a traceback into the temporary folder; its path, None if it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="steadystack-error-", suffix=".txt", delete=False, encoding="utf-8",
            errors="backslashreplace",
        ) as file:  # fmt: skip
            file.write(lines)
    except OSError:
        return None
    return file.name


def _can_go_on() -> bool:
    """Whether the current command can continue where it was stopped."""
    return click.get_current_context().info_name in GOES_ON


def _print_how_to_go_on(stop: KeyboardInterrupt) -> None:
    """Print in a line what stopped the command, what is saved, and the command that continues."""
    context = click.get_current_context()
    clauses = [f"stopped by {str(stop) or 'Ctrl-C'}", *getattr(stop, "__notes__", [])]
    config = context.params.get("config")
    if config is not None and _can_go_on():
        options = [
            f"--{option} {context.params[name]}"
            for name, option in OPTIONS_TO_GO_ON.items()
            if context.params.get(name)
        ]
        command = " ".join([str(context.info_name), shlex.quote(config), *options])
        clauses.append(f"`steadystack {command}` continues from there")
    echo("; ".join(clauses), err=True)


WORST_FIRST = {"failed": FAILED, "refused": WRONG_USE, "unreliable": UNRELIABLE}


def run_each(
    settings: Config, inputs: Mapping[str, Config], command: stages.Command, **options: Any
) -> None:
    """Run a command on all inputs, printing a line for each; exits with their worst code."""

    def print_outcome(outcome: stages.Outcome) -> None:
        echo(
            f"{outcome.name}: {outcome.status}, {outcome.usable_pairs} of {outcome.pairs} pairs "
            f"usable, {outcome.seconds:.1f} s -> {outcome.shifts}: {outcome.verdict}"
            if outcome.pairs
            else f"{outcome.name}: {outcome.status}: {outcome.verdict}"
        )

    outcomes = stages.run_all(settings, command, inputs=inputs, on_outcome=print_outcome, **options)
    counts = Counter(outcome.status for outcome in outcomes)
    counts_by_status = ", ".join(f"{count} {status}" for status, count in counts.items())
    table = f" -> {settings.output.summary}" if command in stages.TABLED else ""
    echo(f"{len(outcomes)} input{'s' * (len(outcomes) != 1)}: {counts_by_status}{table}")
    for status, code in WORST_FIRST.items():
        if counts[status]:
            sys.exit(code)


def report_no_table(single: Config, config: str) -> None:
    """Say, if output.summary is set, that one input has no table; `config` is the settings file."""
    usual = type(single.output).model_fields["summary"].default
    if single.output.summary != make_absolute(usual, Path(config).parent):
        echo(
            "output.summary: not written, as there is one input: it is the table of several",
            err=True,
        )


def conclude(
    single: Config,
    shifts: xr.Dataset,
    seconds: float,
    *,
    err: bool = False,
    shifts_alone: bool = False,
) -> None:
    """Print what was written and the verdict; exits if pairs failed or the result is unreliable.

    With `shifts_alone`, nothing else was written: other existing outputs are of other shifts.
    """
    verdict, output = quality.verdict(shifts), single.output
    for name, path in (
        ("report", output.report),
        ("corrected stack", output.corrected),
        ("mean", output.mean),
        ("movie", output.movie),
    ):
        if path is not None and not shifts_alone and get_place(path).exists():
            echo(f"{name} -> {escape_unprintable(path)}", err=err)
    echo(
        f"{shifts.sizes['frame']} frames, {format_usable(shifts)}, {seconds:.1f} s -> "
        f"{escape_unprintable(output.shifts)}: {verdict.trust}",
        err=err,
    )
    for reason in verdict.reasons:
        echo(f"  {reason}", err=err)
    exit_if_failed(shifts)
    if verdict.trust is Trust.UNRELIABLE:
        sys.exit(UNRELIABLE)


def exit_if_failed(shifts: xr.Dataset) -> None:
    """Exit with code 1 if pairs failed: they must be measured before the verdict matters."""
    failed = int((shifts["pair_status"] == PairStatus.FAILED.code).sum())
    if failed:
        echo(f"{failed} pairs failed: run the same command to try them again", err=True)
        sys.exit(FAILED)


def format_usable(shifts: xr.Dataset) -> str:
    """How many pairs are usable, and how many are rejected, as text."""
    usable = int((shifts["pair_status"] == PairStatus.OK.code).sum())
    rejected = int((shifts["pair_status"] == PairStatus.REJECTED.code).sum())
    note = f", {rejected} rejected" if rejected else ""
    return f"{usable} of {shifts.sizes['pair']} pairs usable{note}"


def print_table(rows: list[tuple[str, str]]) -> None:
    """Print names and values, the values below each other."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        echo(f"{name:<{width}}  {escape_unprintable(value)}")
