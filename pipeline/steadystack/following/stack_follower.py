"""Follow a stack that is being written, frame by frame, until it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from steadystack.config import Config
from steadystack.following.awaited_frames import AwaitedFrames, OpenStack
from steadystack.following.earlier_run import EarlierRun, recall_earlier
from steadystack.following.frame_lines import FrameLine
from steadystack.following.provisional import ProvisionalShifts
from steadystack.model import FrameStatus, InputError
from steadystack.planning import LOOKED_AT_AGAIN, resolve_only_input

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How long to wait, and when the series has ended.

    Attributes
    ----------
    idle : the series has ended after so many seconds without a frame; None: never
    until : the series has ended after so many frames; None: never
    poll : seconds between two looks at the stack
    patience : seconds to wait for an incomplete frame while later ones are complete
    """

    idle: float | None = None
    until: int | None = None
    poll: float = 0.25
    patience: float = 10.0


def follow(config: Config, pace: Pace) -> Iterator[FrameLine]:
    """Yield what is known about each frame of a stack, in order, as soon as it is complete.

    Results of an earlier run with these settings are used for frames that it has measured; the
    others are measured against some frames before them. Nothing is written. Ends as `pace` says.

    Raises
    ------
    InputError
        If settings, stack or an earlier output are unusable; data that may be half written are
        awaited for `pace.patience`.
    """
    config = resolve_only_input(config)
    config.object_.check_command("follow")
    if len(channels := config.input.list_channels()) > 1:
        raise InputError(
            f"input.channel {list(channels)} cannot be combined with follow, which looks at one "
            "channel of each frame: choose one of them"
        )
    awaited, measuring, last = AwaitedFrames(config, pace.patience), None, time.monotonic()
    while pace.until is None or awaited.next < pace.until:
        opened = awaited.look()
        is_late = pace.idle is not None and time.monotonic() - last > pace.idle
        line = None
        if opened is not None:
            if measuring is None:
                measuring = Measuring.begin(opened, config)
            line = measuring.take_next(opened, awaited, all_later=is_late)
        if line is not None:
            yield line
            awaited.next += 1
            last = time.monotonic()
        elif is_late:
            log.info("no frame for %g s", pace.idle)
            return
        else:
            awaited.pause(pace.poll)


@dataclass(frozen=True, eq=False)
class Measuring:
    """What is known about the frames so far, from an earlier run and since."""

    earlier: EarlierRun
    shifts: ProvisionalShifts

    @classmethod
    def begin(cls, opened: OpenStack, config: Config) -> Measuring:
        earlier = recall_earlier(opened.setup)
        if earlier.lines:
            log.info("%d frames are known from %s", len(earlier.lines), config.output.shifts)
        if config.motion.is_more_than_shift:
            log.info("motion.model %s is solved for at the end: until then, only shifts",
                     config.motion.model)  # fmt: skip
        if config.external_reference.path is not None:
            log.info(
                "external_reference is used at the end: until then, shifts are relative to `anchor`"
            )
        shifts = ProvisionalShifts(earlier.decide(opened.setup), earlier.table, earlier.attributes)
        return cls(earlier, shifts)

    def take_next(
        self, opened: OpenStack, awaited: AwaitedFrames, *, all_later: bool
    ) -> FrameLine | None:
        """The line of the next frame; None: keep waiting."""
        frame = awaited.next
        if frame in self.earlier.lines:
            return self.earlier.lines[frame] if frame < opened.count else None
        status = awaited.find_next(opened, all_later=all_later)
        if status is None:
            return None
        numbers, axes = opened.spec.frame_numbers, opened.spec.spatial
        shift = std = np.full(len(axes), np.nan)
        anchor = -1
        if status is FrameStatus.OK:
            estimate = self.shifts.estimate(self.earlier.decide(opened.setup), frame)
            is_doubtful = estimate.status.code in LOOKED_AT_AGAIN  # it was complete a moment ago
            if is_doubtful and awaited.is_worth_waiting(all_later=all_later):
                self.shifts.forget(frame)
                return None
            shift, std, status, anchor = (
                estimate.shift, estimate.std, estimate.status, estimate.anchor
            )  # fmt: skip
        return FrameLine(
            frame=numbers[frame],
            axes=axes,
            shift=tuple(shift.tolist()),
            std=tuple(std.tolist()),
            status=status,
            anchor=None if anchor < 0 else numbers[anchor],
            provisional=True,
        )
