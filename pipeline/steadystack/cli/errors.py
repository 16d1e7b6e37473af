"""What goes wrong, in plain lines and exit codes; and what a cluster says of itself."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from steadystack.model import InputError, RunError, UnreachableError
from steadystack.terminal import exit_code, stoppable

FAILED, WRONG_USE, NOT_TRUSTED = 1, 2, 3
GOES_ON = ("run", "measure", "solve", "correct")  # commands that go on where they were stopped


class Said(logging.Handler):
    """What a cluster says of itself, the link of its dashboard, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def told(function: Callable[..., Any]) -> Callable[..., Any]:
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
            goes_on = isinstance(error, UnreachableError) and _is_run()
            saved = "; what was measured is saved, and the same command goes on" if goes_on else ""
            click.echo(f"error: {error}{saved}", err=True)
            sys.exit(FAILED)
        except KeyboardInterrupt as stop:
            _say_how_to_go_on(stop)
            sys.exit(exit_code(stop))

    return wrapped


def _is_run() -> bool:
    return click.get_current_context().info_name in GOES_ON


def _say_how_to_go_on(stop: KeyboardInterrupt) -> None:
    """One line: what stopped the command, what is saved, and the command that goes on."""
    context = click.get_current_context()
    parts = [f"stopped by {str(stop) or 'Ctrl-C'}", *getattr(stop, "__notes__", [])]
    config = context.params.get("config")
    if config is not None and _is_run():
        given = [
            f"--{name} {context.params[name]}" for name in ("batches",) if context.params.get(name)
        ]
        command = " ".join([str(context.info_name), shlex.quote(config), *given])
        parts.append(f"`steadystack {command}` goes on from there")
    click.echo("; ".join(parts), err=True)
