"""A run at a terminal or in a batch job: how far it is, and how it is stopped."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from steadystack import run_log, stages

# What ends a process that does not listen: time limits and preemption, a terminal that goes away.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)
)


class Stopped(KeyboardInterrupt):
    """A signal asks the run to stop; what Ctrl-C does, it does as well."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """In here the signals that would end the process raise `Stopped`, once.

    A further one is not listened to while things are saved; SIGKILL does no harm either. Signals
    that are ignored, as under nohup, stay so.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for other in taken:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    taken: dict[signal.Signals, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                taken[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def get_exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells and batch systems have it."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


@contextmanager
def show_progress(doing: str = "measuring", what: str = "pairs") -> Iterator[stages.Progress]:
    """A bar on standard error where that is a terminal, a line now and then elsewhere."""
    columns = (
        TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn(what),
        TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with ExitStack() as stack:
        if not console.is_terminal:
            lines, meter = logging.StreamHandler(), logging.getLogger(run_log.METER)
            meter.addHandler(lines)
            stack.callback(meter.removeHandler, lines)
            yield lambda done, total: None
            return
        bar = stack.enter_context(Progress(*columns, console=console))
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
