"""The frames of a series without the offsets that the camera's rows and columns add to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from steadystack.defects.lines import take_lines_away
from steadystack.model import ChangedFrames, Frame, FrameSource, Slices


@dataclass(frozen=True)
class LinelessFrames(ChangedFrames):
    """Frames less the means of their own rows and columns, within the region that is read."""

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        read = self.frames.read(frame, region)
        image = take_lines_away(read.image, read.valid)
        if read.valid.any():  # roots and logarithms need the level kept
            image[read.valid] += read.image[read.valid].mean(dtype=np.float64)
        return replace(read, image=image.astype(np.float32))


@dataclass(frozen=True)
class LevelledFrames(ChangedFrames):
    """Frames with each row and column raised to the level of the brightest one; (): unchanged.

    As lines are only raised, no value falls below those of the stack, as roots and logarithms need.
    A frame of one value has no lines, and is unchanged.
    """

    rows: tuple[float, ...] = ()
    columns: tuple[float, ...] = ()

    @property
    def channels(self) -> tuple[FrameSource, ...]:
        """Lines are corrected in the first channel only."""
        first, *others = self.frames.channels or (None,)
        return () if first is None else (replace(self, frames=first), *others)

    @property
    def digest(self) -> str:
        """A hash of what is subtracted."""
        text = f"{self.rows} {self.columns}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        read = self.frames.read(frame, region)
        values = read.image[read.valid]
        if not values.size or values.min() == values.max():
            return read
        sides = (region or tuple(slice(0, size) for size in self.frame_shape))[-2:]
        image = read.image.astype(np.result_type(read.image.dtype, np.float32))
        for lines, side, axis in ((self.rows, sides[0], 1), (self.columns, sides[1], 0)):
            if lines:
                along = (max(lines) - np.asarray(lines[side])).astype(image.dtype)
                image += np.expand_dims(along, axis)
        return replace(read, image=image)
