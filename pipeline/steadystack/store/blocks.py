"""Parts of several frames and channels at a time: what whole stacks are moved by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, FrameStatus, Slices
from steadystack.store.stacks import StackFrames, StackSpec


@dataclass(frozen=True)
class BlockSpec(StackSpec):
    """A stack that is read by `frames` frames and `channels` channels at a time.

    Chunks that hold several frames or channels are decoded once for all of them.
    """

    frames: int = 1
    channels: int = 1

    @classmethod
    def of(cls, spec: StackSpec, channel: int, frames: int, channels: int) -> BlockSpec:
        given = {field.name: getattr(spec, field.name) for field in fields(StackSpec)}
        given["channel"] = channel
        return cls(**given, frames=frames, channels=channels)

    def selection(self, frame: int, part: Slices | None = None) -> Slices:
        """The slices of the array that hold the frames from `frame` on."""
        channel = self.channel or 0
        more = {
            "t": slice(frame, frame + self.frames),
            "c": slice(channel, channel + self.channels),
        }
        one = super().selection(frame, part)
        return tuple(more.get(axis, side) for axis, side in zip(self.axes, one, strict=True))

    def as_frame(self, block: NDArray[Any]) -> NDArray[Any]:
        """A block as an array with the axes t, c and `spatial`, also if the stack lacks them."""
        names = ("t", "c", *self.spatial)
        order = [self.axes.index(axis) for axis in names if axis in self.axes]
        rest = [axis for axis in range(block.ndim) if axis not in order]
        shape = [block.shape[self.axes.index(a)] if a in self.axes else 1 for a in names]
        return block.transpose(*rest, *order).reshape(shape)


def read_block(
    spec: StackSpec, frames: range, channels: range, part: Slices
) -> tuple[NDArray[Any], Bools | None]:
    """A part of consecutive frames and channels, as (t, c, [z,] y, x).

    Returns
    -------
    image, valid : `valid` is None if all of it is; nothing is of what cannot be read
    """
    asked = BlockSpec.of(spec, channels.start, len(frames), len(channels))
    found = StackFrames(asked).read(frames.start, part)
    if found.status is FrameStatus.UNREADABLE:
        shape = (len(frames), len(channels), *(side.stop - side.start for side in part))
        return np.zeros(shape, spec.dtype), np.zeros(shape, bool)
    return found.image, None if found.status is FrameStatus.OK else found.valid


def groups(wanted: range, chunk: int) -> Iterator[range]:
    """Indices cut where a chunk of so many ends."""
    for begin in range(wanted.start // chunk * chunk, wanted.stop, chunk):
        yield range(max(begin, wanted.start), min(begin + chunk, wanted.stop))
