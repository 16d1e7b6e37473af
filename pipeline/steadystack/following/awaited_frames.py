"""Wait for a stack that is being written, and for whole frames of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from steadystack.config import Config
from steadystack.csv_files import read_pair_list
from steadystack.durable import get_place
from steadystack.model import FrameStatus, InputError, RunError, escape_unprintable, is_of_one_value
from steadystack.planning import Setup, open_series, set_up
from steadystack.readers import INPUT_SUFFIXES, StackFrames, StackSpec, locate_stack

# A look at the stack may take this share of the time: pauses are longer where it takes long.
LOOKING = 0.25
ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OpenStack:
    """A stack as it is at a moment, and a run of it as the settings have it."""

    spec: StackSpec
    setup: Setup

    @property
    def count(self) -> int:
        """The frames that there are, whole or not."""
        return self.spec.frame_count


class AwaitedFrames:
    """Looks a stack up again and again, and goes from one whole frame to the next.

    A frame is whole that can be read, of which nothing is missing, and whose pixels differ: those
    that nobody has written yet may read as one value. `patience` is for how long, s, a frame that
    is not whole is awaited while later ones are, and for how long a stack may be one that cannot be
    used: files may be half written.
    """

    def __init__(self, config: Config, patience: float) -> None:
        self._config, self._patience = config, patience
        self._opened: OpenStack | None = None
        self._trouble, self._troubled_since = "", 0.0
        self._passed_since: float | None = None  # since a later frame than the awaited is whole
        self._doubted_since: dict[
            int, float
        ] = {}  # frames that are whole, and could not be measured
        self._later = 0  # the last frame that has been found whole
        self._looked = 0.0  # seconds that the last look took
        self._said = set[str]()
        self.next = 0  # the frame that is awaited

    def pause(self, seconds: float) -> None:
        """Sleep so many seconds, or longer where looking takes long."""
        time.sleep(max(seconds, self._looked * (1 / LOOKING - 1)))

    def look(self) -> OpenStack | None:
        """Look the stack up; None: it is not there yet, or not to be used yet.

        Raises
        ------
        InputError
            If there is something that cannot be used for longer than half-written files explain,
            or frames are of another kind than before.
        """
        begun = time.monotonic()
        try:
            found = self._look()
        except (MemoryError, RunError):
            raise
        except Exception as error:  # half-written metadata may raise anything
            self._wait_out(error)
            return None
        finally:
            self._looked = time.monotonic() - begun
        if found is not None:
            self._trouble = ""
            self._check_same(found)
            self._opened = found
        return found

    def _look(self) -> OpenStack | None:
        spec = locate_stack(**self._config.input.model_dump())
        if spec.frame_count < 2:
            self._say(f"{spec.path} has {spec.frame_count} frame")
            return None
        before = self._opened
        if before is not None and (before.spec.digest, before.count) == (
            spec.digest,
            spec.frame_count,
        ):
            return before
        config, count = self._config, spec.frame_count
        if config.solve.anchor >= count:  # it comes later
            config = _replace_in(config, "solve", anchor=0)
        if name_later_frames(config, count):
            self._say_once("pairs names frames that come later: until the end, each frame is "
                           "measured against some before it")  # fmt: skip
            config = _replace_in(config, "pairs", strategy="consecutive", list=None, path=None)
        series, spec = open_series(config)
        if config.mask.saturation == "auto":  # as the first frames have it, and not looked for anew
            saturation = series.validity.saturation
            self._config = _replace_in(self._config, "mask", saturation=saturation)
        return OpenStack(spec, replace(set_up(config, series), config=config))

    def _wait_out(self, error: Exception) -> None:
        """Say what is wrong with the stack; raises it if it stays so and more files do not help."""
        message = " ".join(str(error).split()) or type(error).__name__
        is_new = self._say(message)
        is_over = time.monotonic() - self._troubled_since > self._patience
        if is_over and not is_new and not self._may_come():
            raise error

    def _say(self, message: str) -> bool:
        """Say what is waited for, and whether that is new."""
        if message == self._trouble:
            return False
        self._trouble, self._troubled_since = message, time.monotonic()
        log.info("waiting: %s", escape_unprintable(message))
        return True

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            log.info("%s", message)

    def _may_come(self) -> bool:
        """Whether what is wrong with the stack may be that nothing, or little, is written yet."""
        path, settings = self._config.input.one_path, self._config.input.model_dump()
        if self._opened is not None:
            return True  # it was there
        place = get_place(path)
        if place.is_pattern:
            if not place.list_files():
                return True
        elif not place.exists():
            return True
        elif place.is_folder():
            names = [file.rsplit("/", 1)[-1].lower() for file in place.list_files()]
            if not any(name.endswith(INPUT_SUFFIXES) or name in ZARR_METADATA for name in names):
                return True
        if settings["frames"] is None:
            return False
        try:
            return locate_stack(**settings | {"frames": None}).frame_count > 0
        except InputError:
            return False

    def _check_same(self, found: OpenStack) -> None:
        """Refuse a stack whose frames are of another kind than before, or that was begun anew."""
        if self._opened is None:
            return
        spec, both = found.spec, (self._opened.spec, found.spec)
        if found.count < self.next:
            raise InputError(
                f"{spec.path} has {found.count} frames, but {self.next} have been followed: it was "
                "started over; run the command again"
            )
        kinds = [(one.spatial, one.frame_shape, one.dtype) for one in both]
        if kinds[0] != kinds[1]:
            raise InputError(f"{spec.path} is now a different stack: {kinds[0]} became {kinds[1]}")

    def find_next(self, opened: OpenStack, *, all_later: bool = False) -> FrameStatus | None:
        """Find out whether the frame `next` can be told of.

        Parameters
        ----------
        all_later : whether all later frames are looked at, not only some, and not waited for
            longer: for when the series has ended

        Returns
        -------
        OK if it is whole; what is wrong with it if it is not, and later ones have been for longer
        than the patience; None: it is waited for.
        """
        begun = time.monotonic()
        try:
            return self._find_next(opened, all_later)
        finally:
            self._looked += time.monotonic() - begun

    def _find_next(self, opened: OpenStack, all_later: bool) -> FrameStatus | None:
        source = StackFrames(opened.spec)
        if self.next >= opened.count:
            return None
        status, is_whole = look_at_frame(source, self.next)
        if is_whole:
            self._passed_since = None
            return status
        if self._later <= self.next:
            behind = range(self.next + 1, opened.count)
            looked_at = behind if all_later else list_later(behind)
            whole = (frame for frame in looked_at if look_at_frame(source, frame)[1])
            self._later = max(self._later, next(whole, 0))
        if self._later <= self.next:
            self._passed_since = None
            return None
        now = time.monotonic()
        if self._passed_since is None or all_later:
            self._passed_since = now - self._patience if all_later else now
        return status if now - self._passed_since >= self._patience else None

    def is_worth_waiting(self, *, all_later: bool) -> bool:
        """Whether `next`, which is whole and could not be measured, may be tried again.

        So it is where its mask cannot be read: for as long as the patience lasts.
        """
        now = time.monotonic()
        since = self._doubted_since.setdefault(self.next, now)
        return not all_later and now - since < self._patience


def name_later_frames(config: Config, count: int) -> bool:
    """Whether `pairs` names frames that a stack of so many does not have yet."""
    pairs = config.pairs
    if pairs.strategy == "reference":
        return pairs.reference >= count
    if pairs.strategy != "list":
        return False
    listed = read_pair_list(pairs.path) if pairs.path is not None else pairs.list
    return bool(np.max(np.asarray(listed), initial=-1) >= count)


def list_later(behind: range) -> Iterator[int]:
    """List some frames of a range: near its beginning, farther and farther from it, the last."""
    distance = 1
    while distance < len(behind):
        yield behind[distance - 1]
        distance *= 2
    yield from behind[-1:]


def look_at_frame(source: StackFrames, frame: int) -> tuple[FrameStatus, bool]:
    """Look at a frame: its status as it is read, and whether it is whole."""
    read = source.read(frame)
    is_whole = read.status is FrameStatus.OK and not is_of_one_value(read.image)
    return read.status, is_whole


def _replace_in(config: Config, section: str, **values: object) -> Config:
    """The settings with other values in a section."""
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})
