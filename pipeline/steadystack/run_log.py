"""What a run tells on its way: a log beside its output, and how far it is."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

from steadystack.config import Config
from steadystack.durable import get_place
from steadystack.model import InputError

NAME, SETTINGS, MOST_LINES = "run.log", "settings ", 200
# A line at most so often at first, seconds; later every twentieth of the time that has gone by, as
# a log of days has to be read, too, but never less often than that.
OFTEN_S, PART, SELDOM_S = 10.0, 1 / 20, 600.0

log = logging.getLogger(__name__)
PACKAGES = ("steadystack", "dask", "distributed", "numpy", "scipy", "xarray", "zarr")
METER = f"{__name__}.meter"  # the logger of lines that say how far it is
meter_log = logging.getLogger(METER)


@contextmanager
def log_to_output(config: Config, command: str) -> Iterator[None]:
    """Append to ``run.log`` beside the output what happens in here, and how it ends.

    Everything that the package logs goes there. Outputs of one folder share the file: every line
    names the output, and is written in one piece.
    """
    output = config.output.shifts.rstrip("/")
    package = logging.getLogger("steadystack")
    try:
        file = get_place(output).get_sibling(NAME).make_log_handler()
    except OSError as error:
        raise InputError(f"output.shifts {output} cannot be written: {error}") from error
    line = f"%(asctime)s {PurePath(output).name} %(levelname)s %(message)s"
    file.setFormatter(logging.Formatter(line, "%Y-%m-%dT%H:%M:%S%z"))
    # Warnings reach the terminal by themselves only while nobody listens.
    alone = not package.hasHandlers() and logging.lastResort is not None
    handlers = [file, *([logging.lastResort] if alone and logging.lastResort else [])]
    level = package.level
    for handler in handlers:
        package.addHandler(handler)
    package.setLevel(min(package.getEffectiveLevel(), logging.INFO))
    try:
        yield from _log_end(config, command)
    finally:
        package.setLevel(level)
        for handler in handlers:
            package.removeHandler(handler)
        file.close()


def _log_end(config: Config, command: str) -> Iterator[None]:
    begun = time.monotonic()
    log.info("%s of %s begins; %s", command, config.input.one_path, json.dumps(collect_versions()))
    log.info(SETTINGS + "%s", json.dumps(config.dump()))
    try:
        yield
    except BaseException as error:
        what = "is refused" if isinstance(error, InputError) else "ends"
        expected = isinstance(error, InputError | KeyboardInterrupt)
        notes = "; ".join(getattr(error, "__notes__", []))
        log.info(
            "%s %s after %.1f s: %s %s %s",
            *(command, what, time.monotonic() - begun, type(error).__name__, error, notes),
            exc_info=None if expected else error,
        )
        raise
    log.info("%s is done after %.1f s", command, time.monotonic() - begun)


def read_log_lines(config: Config) -> list[str]:
    """The latest lines of the log that tell of this output; not those that repeat its settings."""
    output = config.output.shifts.rstrip("/")
    name = PurePath(output).name
    for handler in logging.getLogger("steadystack").handlers:
        handler.flush()
    try:
        with get_place(output).get_sibling(NAME).fetching() as file:
            text = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    own = [
        line for line in text if line.split(" ")[1:2] == [name] and f" INFO {SETTINGS}" not in line
    ]
    return own[-MOST_LINES:]


@contextmanager
def log_stage(name: str) -> Iterator[None]:
    """Log how long something took, if it was long enough to wonder."""
    begun = time.monotonic()
    yield
    log.info("%s: %.1f s", name, time.monotonic() - begun)


class Meter:
    """Says now and then how far the pairs are, how fast they go and when they will be done."""

    def __init__(self) -> None:
        self.begun = self.told = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done
            if done:
                meter_log.info("%d of %d pairs are already measured", done, total)
        pause = min(max(OFTEN_S, PART * (now - self.begun)), SELDOM_S)
        if now - self.told >= pause or (done == total and self.first < total):
            self.told = now
            meter_log.info("%s", format_progress(done, total, self.first, now - self.begun))


def format_progress(done: int, total: int, first: int, seconds: float) -> str:
    """How far a run is that began with `first` pairs done; the rate is that of this run."""
    line = f"{done} of {total} pairs ({done / max(total, 1):.0%})"
    rate = (done - first) / max(seconds, 1e-9)
    if not rate:
        return line
    return f"{line}, {rate:.3g} a second, {_format_duration((total - done) / rate)} left"


def _format_duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def collect_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
