"""Run at a terminal or in a batch job: show progress, and stop on signals."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from steadystack import run_log, stages

if TYPE_CHECKING:
    from rich.console import Console

# Signals that end a process without a handler: time limits, preemption, a closed terminal.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)
)


class Stopped(KeyboardInterrupt):
    """Raised when a signal asks the run to stop; it stops as on Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise `Stopped` in the block, once, for signals that would end the process.

    Further ones are ignored while results are saved; SIGKILL does no harm either. Signals that are
    ignored already, as under nohup, stay so.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for other in handlers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    handlers: dict[signal.Signals, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                handlers[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)


def get_exit_code(stop: KeyboardInterrupt) -> int:
    """Get the exit code after a stop: 128 plus the number of the signal, as in shells."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


class _LinePrinter(logging.Handler):
    """Prints lines above the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, run_log.IN_STAGE, False):
            self.console.print(self.format(record), markup=False, highlight=False)


@contextmanager
def show_progress(activity: str = "measuring", unit: str = "pairs") -> Iterator[stages.Progress]:
    """Show a bar on standard error if that is a terminal, else a line now and then.

    Yields a function that takes (done, total), in `unit`. Without a unit there are only lines.
    """
    with ExitStack() as stack:
        console = _find_terminal() if unit else None
        if console is None:
            stack.enter_context(_showing_lines(logging.StreamHandler()))
            yield lambda done, total: None
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn(activity), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
            TimeRemainingColumn(),
        )  # fmt: skip
        bar = stack.enter_context(Progress(*columns, console=console))
        stack.enter_context(_showing_lines(_LinePrinter(console)))
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _find_terminal() -> Console | None:
    """The terminal on standard error; None if it is not one."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal else None


@contextmanager
def _showing_lines(handler: logging.Handler) -> Iterator[None]:
    """Show lines on progress by a handler, even if nothing else of the package is logged."""
    meter = logging.getLogger(run_log.METER_NAME)
    level = meter.level
    meter.addHandler(handler)
    meter.setLevel(logging.INFO)
    try:
        yield
    finally:
        meter.setLevel(level)
        meter.removeHandler(handler)
