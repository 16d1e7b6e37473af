"""Where moved frames come to lie: whole pixels, boxes that all or any of them cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats, Slices


@dataclass(frozen=True)
class Box:
    """A box of pixels: its first pixel, counted from that of the anchor frame, and its sides."""

    first: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def stop(self) -> tuple[int, ...]:
        """The first pixel behind it along each axis."""
        return tuple(begin + size for begin, size in zip(self.first, self.shape, strict=True))


def whole_shift(shift: Floats) -> NDArray[np.int64]:
    """Shifts rounded to whole pixels, halves upwards: by them the areas of pixels are moved.

    A pixel of a moved frame is known if its centre lies in the area of a valid pixel.
    """
    return np.asarray(np.floor(np.asarray(shift, np.float64) + 0.5), np.int64)


def common_box(shifts: Floats, shape: Sequence[int]) -> Box | None:
    """The box that is seen in every frame of that shape, moved by its shift; None if there is none.

    Parameters
    ----------
    shifts : (frames, axes) pixels, none of them NaN
    """
    moved = whole_shift(shifts)
    first, stop = moved.max(axis=0), moved.min(axis=0) + np.asarray(shape)
    if (stop <= first).any():
        return None
    return Box(tuple(first.tolist()), tuple((stop - first).tolist()))


def whole_box(shifts: Floats, shape: Sequence[int]) -> Box:
    """The smallest box that all of all moved frames lies in."""
    moved = whole_shift(shifts)
    first, stop = moved.min(axis=0), moved.max(axis=0) + np.asarray(shape)
    return Box(tuple(first.tolist()), tuple((stop - first).tolist()))


def source_part(box: Box, shift: Floats, frame_shape: Sequence[int], reach: int) -> Slices | None:
    """The part of a frame that a box of the moved frame is made of; None if the frame misses it.

    Parameters
    ----------
    shift : (axes,) pixels
    reach : how far away, in pixels, a pixel has a say
    """
    part = []
    sides = zip(box.first, box.stop, shift, whole_shift(shift).tolist(), frame_shape, strict=True)
    for begin, stop, by, whole, size in sides:
        low, high = max(begin, whole), min(stop, whole + size)  # what the frame covers
        if high <= low:
            return None
        if by == whole or not reach:
            part.append(slice(low - whole, high - whole))
        else:
            floor = int(np.floor(by))
            part.append(slice(max(low - floor - reach, 0), min(high - floor + reach - 1, size)))
    return tuple(part)
