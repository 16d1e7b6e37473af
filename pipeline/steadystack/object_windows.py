"""Windows that follow an object: frames cut to its position, and the shifts measured there.

A window has the sides of the box around the object's mask, and lies at whole pixels. In it the
object hardly moves, under a constant mask; a shift between frames is the one measured between
windows plus the offset of the windows themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, ChangedFrames, Frame, FrameSource, Ints, PairTable, Slices

# Most pixels that shifts between windows are searched within; never more than a quarter of the
# sides.
WINDOW_SEARCH = 8


@dataclass(frozen=True)
class ObjectWindows(ChangedFrames):
    """Frames of a source, cut to windows in which only the object is valid.

    Pixels outside the frame are not valid; a frame without a window has no valid pixels.

    Attributes
    ----------
    sides : of a window, pixels
    places : the first pixel of each frame's window; None: the object is not visible
    mask : of the object in a window, as bits in C order
    """

    sides: tuple[int, ...]
    places: tuple[tuple[int, ...] | None, ...]
    mask: bytes

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.sides

    @property
    def search(self) -> tuple[int, ...]:
        """The search range for shifts between windows, pixels per axis."""
        return tuple(min(WINDOW_SEARCH, max(side // 4, 1), side - 1) for side in self.sides)

    def find_middle(self, frame: int) -> NDArray[np.float64]:
        """Find the middle of the mask's pixels in a frame (axes,), pixels; NaN without a window."""
        place = self.places[frame]
        pixels = np.argwhere(unpack_mask(self.mask, self.sides))
        middle = pixels.mean(axis=0) + (np.nan if place is None else np.array(place))
        return np.asarray(middle, np.float64)

    @property
    def digest(self) -> str:
        """A hash of where the windows lie and of the mask."""
        text = f"{self.sides} {self.places} {self.mask.hex()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def common_mask(self, region: Slices) -> Bools | None:
        return unpack_mask(self.mask, self.sides)[region]

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        region = region or tuple(slice(0, side) for side in self.sides)
        place = self.places[frame]
        shape = tuple(side.stop - side.start for side in region)
        if place is None:
            return Frame(np.zeros(shape, np.float32), np.zeros(shape, bool))
        first = [begin + side.start for begin, side in zip(place, region, strict=True)]
        read = read_window(self.frames, frame, first, shape)
        return replace(read, valid=read.valid & unpack_mask(self.mask, self.sides)[region])


def read_window(
    frames: FrameSource, frame: int, first: Sequence[int], sides: Sequence[int]
) -> Frame:
    """Read a box of a frame that may extend beyond it, where pixels are not valid.

    `first` is its first pixel, which may be negative, and `sides` are in pixels.
    """
    shape = frames.frame_shape
    inside = tuple(
        slice(min(max(begin, 0), size), min(max(begin + side, 0), size))
        for begin, side, size in zip(first, sides, shape, strict=True)
    )
    if any(side.start == side.stop for side in inside):
        return Frame(np.zeros(sides, np.float32), np.zeros(sides, bool))
    read = frames.read(frame, inside)
    if read.image.shape == tuple(sides):
        return read
    image, valid = np.zeros(sides, read.image.dtype), np.zeros(sides, bool)
    there = tuple(
        slice(side.start - begin, side.stop - begin)
        for side, begin in zip(inside, first, strict=True)
    )
    image[there], valid[there] = read.image, read.valid
    return replace(read, image=image, valid=valid)


def pack_mask(mask: Bools) -> bytes:
    """Pack a mask to bits in C order."""
    return np.packbits(mask).tobytes()


@lru_cache(maxsize=4)
def unpack_mask(mask: bytes, sides: tuple[int, ...]) -> Bools:
    """Unpack the bits of a mask; cached and read-only."""
    count = int(np.prod(sides))
    pixels = np.unpackbits(np.frombuffer(mask, np.uint8), count=count).astype(bool)
    pixels.setflags(write=False)
    return pixels.reshape(sides)


def list_places(places: Sequence[tuple[int, ...] | None]) -> NDArray[np.int64]:
    """List the places (frames, axes) of all windows; a frame without one gets the previous one.

    Frames before the first window get the place of that.
    """
    known = [place for place in places if place is not None]
    last, listed = known[0], []
    for place in places:
        last = last if place is None else place
        listed.append(last)
    return np.array(listed, np.int64)


def find_steps(places: Ints, reference: Ints, moving: Ints) -> NDArray[np.int64]:
    """Find the difference of pairs' shifts from those between their windows (pairs, axes).

    `places` (frames, axes) are the first pixels of the windows.
    """
    return np.asarray(places[reference] - places[moving], np.int64)


def measure_in_windows(pairs: PairTable, places: Ints | None) -> PairTable:
    """The table with shifts as measured between windows; None: there are no windows."""
    if places is None:
        return pairs
    return replace(pairs, shift=pairs.shift - find_steps(places, pairs.reference, pairs.moving))
