"""Wait for a stack that is being written, and for complete frames of it."""

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

# Looking at the stack may take this share of the time: if it is slow, pauses are longer.
LOOKING = 0.25
ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OpenStack:
    """A stack as it is at the moment, and the run that the settings define on it."""

    spec: StackSpec
    setup: Setup

    @property
    def count(self) -> int:
        """The number of frames that exist, complete or not."""
        return self.spec.frame_count


class AwaitedFrames:
    """Looks at a stack again and again, and proceeds from one complete frame to the next.

    A frame is complete if it can be read, nothing of it is missing, and its pixels differ: frames
    not yet written may read as one value. `patience` is how long, s, an incomplete frame is awaited
    while later ones are complete, and how long a stack may be unusable, as files may be half
    written.
    """

    def __init__(self, config: Config, patience: float) -> None:
        self._config, self._patience = config, patience
        self._opened: OpenStack | None = None
        self._trouble, self._troubled_since = "", 0.0
        self._passed_since: float | None = None  # since a frame after the awaited one is complete
        self._doubted_since: dict[int, float] = {}  # complete frames that could not be measured
        self._later = 0  # the last frame found complete
        self._looked = 0.0  # duration of the last look, seconds
        self._said = set[str]()
        self.next = 0  # the frame that is awaited

    def pause(self, seconds: float) -> None:
        """Sleep so many seconds, or longer if looking is slow."""
        time.sleep(max(seconds, self._looked * (1 / LOOKING - 1)))

    def look(self) -> OpenStack | None:
        """Look at the stack; None: it does not exist yet, or cannot be used yet.

        Raises
        ------
        InputError
            If the stack has been unusable for longer than half-written files explain, or if its
            frames are of another kind than before.
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
        if config.solve.anchor >= count:  # the anchor comes later
            config = _replace_in(config, "solve", anchor=0)
        if name_later_frames(config, count):
            self._say_once("pairs names frames that come later: until the end, each frame is "
                           "measured against some before it")  # fmt: skip
            config = _replace_in(config, "pairs", strategy="consecutive", list=None, path=None)
        series, spec = open_series(config)
        if config.mask.saturation == "auto":  # as found in the first frames, not determined again
            saturation = series.validity.saturation
            self._config = _replace_in(self._config, "mask", saturation=saturation)
        return OpenStack(spec, replace(set_up(config, series), config=config))

    def _wait_out(self, error: Exception) -> None:
        """Report what is wrong with the stack; raise it if it persists and files do not help."""
        message = " ".join(str(error).split()) or type(error).__name__
        is_new = self._say(message)
        is_over = time.monotonic() - self._troubled_since > self._patience
        if is_over and not is_new and not self._may_come():
            raise error

    def _say(self, message: str) -> bool:
        """Report what is being waited for; returns whether that is new."""
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
        """Whether the stack may be unusable because nothing, or little, has been written yet."""
        path, settings = self._config.input.one_path, self._config.input.model_dump()
        if self._opened is not None:
            return True  # it existed before
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
        """Refuse a stack whose frames are of another kind than before, or that was started over."""
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
        """Find out whether the frame `next` can be reported.

        Parameters
        ----------
        all_later : whether to check all later frames, not only some, without further waiting: for
            use when the series has ended

        Returns
        -------
        OK if it is complete; its status if it is not, and later ones have been for longer than the
        patience; None: keep waiting.
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
        """Whether to retry `next`, which is complete but could not be measured.

        That is so if its mask cannot be read, for as long as the patience lasts.
        """
        now = time.monotonic()
        since = self._doubted_since.setdefault(self.next, now)
        return not all_later and now - since < self._patience


def name_later_frames(config: Config, count: int) -> bool:
    """Whether `pairs` names frames that a stack of `count` frames does not have yet."""
    pairs = config.pairs
    if pairs.strategy == "reference":
        return pairs.reference >= count
    if pairs.strategy != "list":
        return False
    listed = read_pair_list(pairs.path) if pairs.path is not None else pairs.list
    return bool(np.max(np.asarray(listed), initial=-1) >= count)


def list_later(behind: range) -> Iterator[int]:
    """List some frames of a range: near its beginning, at growing distances, and the last."""
    distance = 1
    while distance < len(behind):
        yield behind[distance - 1]
        distance *= 2
    yield from behind[-1:]


def look_at_frame(source: StackFrames, frame: int) -> tuple[FrameStatus, bool]:
    """Look at a frame: its status on reading, and whether it is complete."""
    read = source.read(frame)
    is_whole = read.status is FrameStatus.OK and not is_of_one_value(read.image)
    return read.status, is_whole


def _replace_in(config: Config, section: str, **values: object) -> Config:
    """The settings with other values in a section."""
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})
