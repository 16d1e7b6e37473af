"""Write the log of a run beside its output, and lines on its progress."""

from __future__ import annotations

import json
import logging
import platform
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from steadystack.durable import explain_unwritable, get_place
from steadystack.model import InputError, escape_unprintable

LOG_NAME, SETTINGS_MARK, MAX_LINES = "run.log", "settings ", 200
# The time between two lines, seconds: at first the shortest, later this fraction of the elapsed
# time, so that a log of days stays readable, but never more than the longest.
MIN_INTERVAL_S, ELAPSED_FRACTION, MAX_INTERVAL_S = 10.0, 1 / 20, 600.0
# How often a stage that counts nothing is checked, and how long after a line was due; seconds.
WATCH_S = 5.0

if TYPE_CHECKING:  # workers count steps, and need no settings
    from steadystack.config import Config

log = logging.getLogger(__name__)
PACKAGES = ("steadystack", "dask", "distributed", "numpy", "scipy", "xarray", "zarr")
METER_NAME = f"{__name__}.meter"  # the logger of lines on progress
meter_log = logging.getLogger(METER_NAME)
IN_STAGE = "in_stage"  # marks lines that no progress bar shows

Step = TypeVar("Step")


class LineFormatter(logging.Formatter):
    """Formats a record as one line: time, name of the output, level, message.

    A traceback follows in lines of its own. The name and the message may hold any character.
    """

    def __init__(self, name: str) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._name = escape_unprintable(name)

    def usesTime(self) -> bool:  # noqa: N802
        return True

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        message = escape_unprintable(record.message)
        return f"{record.asctime} {self._name} {record.levelname} {message}"


@contextmanager
def log_to_output(config: Config, command: str, opened: float | None = None) -> Iterator[None]:
    """Append what the package logs during the block to ``run.log`` beside the output.

    The log also says how the block ends. Outputs in one folder share the file: every line names the
    output, and is written in one piece. `opened` is when the run began to be opened, before there
    was a log, by the monotonic clock; None: now.
    """
    output = config.output.shifts.rstrip("/")
    package = logging.getLogger("steadystack")
    try:
        log_handler = get_place(output).get_sibling(LOG_NAME).make_log_handler()
    except OSError as error:
        raise explain_unwritable(f"output.shifts {output}", error) from error
    log_handler.setFormatter(LineFormatter(PurePath(output).name))
    # Warnings reach the terminal by themselves only while there is no handler.
    is_unheard = not package.hasHandlers() and logging.lastResort is not None
    handlers = [log_handler, *([logging.lastResort] if is_unheard and logging.lastResort else [])]
    level = package.level
    for handler in handlers:
        package.addHandler(handler)
    package.setLevel(min(package.getEffectiveLevel(), logging.INFO))
    try:
        yield from _log_end(config, command, opened)
    finally:
        package.setLevel(level)
        for handler in handlers:
            package.removeHandler(handler)
        log_handler.close()


def _log_end(config: Config, command: str, opened: float | None) -> Iterator[None]:
    started = time.monotonic() if opened is None else opened
    log.info("%s of %s begins; %s", command, config.input.one_path, json.dumps(collect_versions()))
    log.info(SETTINGS_MARK + "%s", json.dumps(config.dump()))
    if opened is not None:
        log.info("opening: %.2f s", time.monotonic() - opened)
    try:
        yield
    except BaseException as error:
        outcome = "is refused" if isinstance(error, InputError) else "ends"
        is_expected = isinstance(error, InputError | KeyboardInterrupt)
        notes = "; ".join(getattr(error, "__notes__", []))
        log.info(
            "%s %s after %.2f s: %s %s %s",
            *(command, outcome, time.monotonic() - started, type(error).__name__, error, notes),
            exc_info=None if is_expected else error,
        )
        raise
    log.info("%s is done after %.2f s", command, time.monotonic() - started)


def read_log_lines(config: Config) -> list[str]:
    """Read the latest lines of the log on this output, without those listing its settings."""
    output = config.output.shifts.rstrip("/")
    name = escape_unprintable(PurePath(output).name)
    for handler in logging.getLogger("steadystack").handlers:
        handler.flush()
    try:
        with get_place(output).get_sibling(LOG_NAME).fetching() as file:
            all_lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    lines = [line for line in all_lines if _is_line_of(name, line)]
    return [line for line in lines if f" INFO {SETTINGS_MARK}" not in line][-MAX_LINES:]


def _is_line_of(name: str, line: str) -> bool:
    """Whether a line of the log is on the output of that name, which may have spaces."""
    after_time = line.partition(" ")[2]
    level = after_time.removeprefix(f"{name} ").partition(" ")[0]
    return after_time.startswith(f"{name} ") and level in logging.getLevelNamesMapping()


_inside_s: ContextVar[list[float] | None] = ContextVar("inside_s", default=None)


class StagePace:
    """When the next line on a stage is due: after the shortest time, later less and less often.

    `inside` is how many stages are currently running inside it, which report by themselves.
    """

    def __init__(self, stage: str = "") -> None:
        self.stage, self.inside = stage, 0
        self.started = self.last_line = time.monotonic()

    def is_due(self, now: float) -> bool:
        """Whether a line is due; `now` is of the monotonic clock."""
        pause = min(max(MIN_INTERVAL_S, ELAPSED_FRACTION * (now - self.started)), MAX_INTERVAL_S)
        return now - self.last_line >= pause

    def log_if_silent(self) -> None:
        """Log that the stage is running, if nothing was logged about it since a line was due."""
        now = time.monotonic()
        if not self.inside and self.is_due(now - WATCH_S):
            self.last_line = now
            words = f"at work for {_format_duration(now - self.started)}"
            meter_log.info("%s: %s", self.stage, words, extra={IN_STAGE: True})


# The pace of the stage that this thread is in, whatever it counts.
_pace: ContextVar[StagePace | None] = ContextVar("pace", default=None)


@contextmanager
def log_stage(name: str) -> Iterator[None]:
    """Log how long the block took, without the stages inside it, so that no time counts twice.

    While it counts nothing for long, a thread reports now and then that it is running.
    """
    started, inside_s = time.monotonic(), list[float]()
    outside, pace = _inside_s.get(), StagePace(name)
    around = _pace.get()
    token, pace_token = _inside_s.set(inside_s), _pace.set(pace)
    try:
        with _watching(pace, around):
            yield
    finally:
        _pace.reset(pace_token)
        _inside_s.reset(token)
        taken = time.monotonic() - started
        if outside is not None:
            outside.append(taken)
    log.info("%s: %.2f s", name, taken - sum(inside_s))


@contextmanager
def _watching(pace: StagePace, around: StagePace | None) -> Iterator[None]:
    """Report a stage that is silent during the block; the one `around` it is not reported then."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            pace.log_if_silent()

    thread = threading.Thread(target=watch, name=f"watch {pace.stage}", daemon=True)
    if around is not None:
        around.inside += 1
    try:
        with suppress(RuntimeError):  # no thread available: the run goes on without such lines
            thread.start()
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join(WATCH_S)  # it may be writing to an unreachable log
        if around is not None:
            around.inside -= 1
            around.last_line = time.monotonic()


def log_line(line: str) -> None:
    """Log a line on what begins; it is shown together with lines on progress."""
    meter_log.info("%s", line, extra={IN_STAGE: True})


class Meter:
    """Logs now and then how many pairs are measured, how fast, and the time that is left."""

    def __init__(self) -> None:
        self.pace, self.started, self.first_done = _pace.get() or StagePace(), time.monotonic(), -1

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first_done < 0:
            self.first_done = done
            if done:
                meter_log.info("%d of %d pairs are already measured", done, total)
        if self.pace.is_due(now) or (done == total and self.first_done < total):
            self.pace.last_line = now
            seconds = now - self.started
            meter_log.info("%s", format_progress(done, total, self.first_done, seconds))


class StageMeter:
    """Logs now and then the progress of the current work of a stage, if that takes long.

    All counts in a stage share one pace: many short steps are reported like one long step.
    """

    def __init__(self, what: str, unit: str) -> None:
        self.pace = _pace.get() or StagePace()
        self.what = ", ".join(filter(None, (self.pace.stage, what)))
        self.unit, self.started, self.first_done = unit, time.monotonic(), -1

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first_done < 0:
            self.first_done = done
        if self.pace.is_due(now):
            self.pace.last_line = now
            line = format_progress(done, total, self.first_done, now - self.started, self.unit)
            meter_log.info("%s: %s", self.what, line, extra={IN_STAGE: True})


def count_steps(steps: Iterable[Step], total: int, what: str, unit: str) -> Iterator[Step]:
    """Pass steps on, and log now and then how many of them are done, if they take long.

    Parameters
    ----------
    total : how many there will be
    what, unit : their purpose and unit: "flat field", "frames"
    """
    meter = StageMeter(what, unit)
    meter(0, total)
    for done, step in enumerate(steps, 1):
        yield step
        meter(done, total)


def format_progress(done: int, total: int, first: int, seconds: float, unit: str = "pairs") -> str:
    """Format the progress of a run that began with `first` of them done, at its own rate."""
    line = f"{done} of {total} {unit} ({done / max(total, 1):.0%})"
    rate = (done - first) / max(seconds, 1e-9)
    if not rate:
        return line
    return f"{line}, {rate:.3g} a second, {_format_duration((total - done) / rate)} left"


def _format_duration(seconds: float) -> str:
    hours, seconds_left = divmod(round(seconds), 3600)
    return f"{hours}:{seconds_left // 60:02}:{seconds_left % 60:02}"


def collect_versions() -> dict[str, str]:
    """Collect the versions of Python and of `PACKAGES`, by name."""
    return dict(_find_versions())


@cache
def _find_versions() -> dict[str, str]:
    """Find them in the packages' files, once, as imported modules do not change."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
