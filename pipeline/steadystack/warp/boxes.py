"""Find where moved frames lie: whole-pixel shifts, boxes that all or any of the frames cover."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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
        """One past the last pixel along each axis."""
        return tuple(begin + size for begin, size in zip(self.first, self.shape, strict=True))


def round_shift(shift: Floats) -> NDArray[np.int64]:
    """Round shifts (any shape) to whole pixels, halves upwards.

    Areas of pixels are moved by these: a pixel of a moved frame is known if its centre lies in the
    area of a valid pixel.
    """
    return np.asarray(np.floor(np.asarray(shift, np.float64) + 0.5), np.int64)


def find_common_box(shifts: Floats, shape: Sequence[int]) -> Box | None:
    """Find the box that all frames of that shape cover when moved; None if there is none.

    Parameters
    ----------
    shifts : (frames, axes) pixels, none of them NaN
    """
    moved = round_shift(shifts)
    first, stop = moved.max(axis=0), moved.min(axis=0) + np.asarray(shape)
    if (stop <= first).any():
        return None
    return Box(tuple(first.tolist()), tuple((stop - first).tolist()))


def find_whole_box(shifts: Floats, shape: Sequence[int]) -> Box:
    """Find the smallest box that holds all frames of that shape, moved by their shifts.

    Parameters
    ----------
    shifts : (frames, axes) pixels, none of them NaN
    """
    moved = round_shift(shifts)
    first, stop = moved.min(axis=0), moved.max(axis=0) + np.asarray(shape)
    return Box(tuple(first.tolist()), tuple((stop - first).tolist()))


def find_source_part(
    box: Box, shift: Floats, frame_shape: Sequence[int], reach: int, margin: int = 0
) -> Slices | None:
    """Find the region of a frame that a box of the moved frame needs; None: they do not meet.

    Parameters
    ----------
    shift : (axes,) pixels
    reach : how far, in pixels, a pixel affects interpolated ones
    margin : additional pixels on every side, where the frame has them
    """
    region = []
    sides = zip(box.first, box.stop, shift, round_shift(shift).tolist(), frame_shape, strict=True)
    for begin, stop, offset, whole, size in sides:
        low, high = max(begin, whole), min(stop, whole + size)  # the part that the frame covers
        if high <= low:
            return None
        if offset == whole or not reach:
            region.append(slice(low - whole, high - whole))
        else:
            floor = int(np.floor(offset))
            region.append(slice(max(low - floor - reach, 0), min(high - floor + reach - 1, size)))
    return tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, size))
        for side, size in zip(region, frame_shape, strict=True)
    )


def join_parts(
    parts: Iterable[Slices], frame_shape: Sequence[int], chunks: Sequence[int]
) -> Slices:
    """Join regions of frames that are read together.

    Axes that lie within one chunk are read in full if that is at most twice as much: they are
    decoded anyway, and frames that are cut equally, wherever they move, share a mask, which is then
    analysed for filling only once.
    """
    joined = []
    for size, chunk, sides in zip(frame_shape, chunks, zip(*parts, strict=True), strict=True):
        first, stop = min(side.start for side in sides), max(side.stop for side in sides)
        is_whole = chunk >= size and 2 * (stop - first) >= size
        joined.append(slice(0, size) if is_whole else slice(first, stop))
    return tuple(joined)


def convert_dtype(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert `values` to a data type: rounded and clipped for integers, >= 0.5 for booleans."""
    if dtype == np.bool_:
        return np.asarray(values >= 0.5)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        highest = values.dtype.type(info.max)
        if int(highest) > info.max:  # for many bits the nearest float is larger
            highest = np.nextafter(highest, values.dtype.type(0))
        return np.clip(np.rint(values), values.dtype.type(info.min), highest).astype(dtype)
    return values.astype(dtype)
