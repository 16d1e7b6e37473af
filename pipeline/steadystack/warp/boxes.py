"""Where moved frames come to lie: whole pixels, boxes that all or any of them cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, Slices


@dataclass(frozen=True)
class Box:
    """A box of pixels: its first pixel, counted from that of the anchor frame, and its sides."""

    first: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def stop(self) -> tuple[int, ...]:
        """The first pixel behind it along each axis."""
        return tuple(begin + size for begin, size in zip(self.first, self.shape, strict=True))


def round_shift(shift: Floats) -> NDArray[np.int64]:
    """Shifts rounded to whole pixels, halves upwards: by them the areas of pixels are moved.

    A pixel of a moved frame is known if its centre lies in the area of a valid pixel.
    """
    return np.asarray(np.floor(np.asarray(shift, np.float64) + 0.5), np.int64)


def find_common_box(shifts: Floats, shape: Sequence[int]) -> Box | None:
    """The box that is seen in every frame of that shape, moved by its shift; None if there is none.

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
    """The smallest box that all of all moved frames lies in."""
    moved = round_shift(shifts)
    first, stop = moved.min(axis=0), moved.max(axis=0) + np.asarray(shape)
    return Box(tuple(first.tolist()), tuple((stop - first).tolist()))


def find_source_part(
    box: Box, shift: Floats, frame_shape: Sequence[int], reach: int
) -> Slices | None:
    """The part of a frame that a box of the moved frame is made of; None if the frame misses it.

    Parameters
    ----------
    shift : (axes,) pixels
    reach : how far away, in pixels, a pixel has a say
    """
    part = []
    sides = zip(box.first, box.stop, shift, round_shift(shift).tolist(), frame_shape, strict=True)
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


# What is not valid is filled in from pixels within a Gaussian of this sigma, px, where it finds so
# much of them.
FILL_SIGMA, LEAST_WEIGHT = 1.0, 1e-3


def place_on_canvas(
    image: NDArray[Any], valid: Bools, shift: Floats, first: Sequence[int], shape: Sequence[int]
) -> tuple[NDArray[np.float64], Bools]:
    """`image` moved by `shift` onto a canvas, sharply: by cubic splines.

    Splines reach far: what is not valid is filled in from valid pixels near it before. A pixel is
    known if those around the place it comes from (2 along each axis) are valid.

    Parameters
    ----------
    image, valid : arrays of one shape; the image is near 0 in the mean, and finite where valid
    shift : (ndim,) pixels, array axis order
    first : where the first pixel of the canvas lies, pixels
    shape : of the canvas

    Returns
    -------
    moved, known : float array of the shape of the canvas, 0 where not known; bool array
    """
    whole = np.floor(shift).astype(int)
    rest = np.asarray(shift) - whole
    values = fill_invalid(np.where(valid, image, 0), valid)
    if rest.any():
        values = ndimage.shift(values, rest, order=3, mode="nearest")
    known = valid.copy()
    for axis in np.flatnonzero(rest):
        lines = np.moveaxis(known, axis, 0)
        lines[1:] &= lines[:-1].copy()
        lines[0] = False
    moved, there = np.zeros(tuple(shape)), np.zeros(tuple(shape), bool)
    into, out = [], []
    for begin, size, length in zip(whole - np.asarray(first), image.shape, shape, strict=True):
        low, high = max(int(begin), 0), min(int(begin) + size, length)
        into.append(slice(low, max(high, low)))
        out.append(slice(low - int(begin), max(high, low) - int(begin)))
    there[tuple(into)] = known[tuple(out)]
    moved[tuple(into)] = values[tuple(out)]
    return np.where(there, moved, 0), there


def fill_invalid(
    values: NDArray[Any], valid: Bools, everywhere: bool = False
) -> NDArray[np.float64]:
    """Values, 0 where not valid, with the mean of valid ones nearby there.

    Far from all valid pixels they stay 0, or become, if `everywhere` is set, that of the closest.
    """
    values = values.astype(np.float64)
    if valid.all():
        return values
    total = ndimage.gaussian_filter(values, FILL_SIGMA, mode="constant")
    weight = ndimage.gaussian_filter(valid.astype(np.float64), FILL_SIGMA, mode="constant")
    near = valid | (weight > LEAST_WEIGHT)
    filled = np.where(valid, values, np.where(near, total / np.where(near, weight, 1), 0))
    if everywhere and not near.all():
        closest = ndimage.distance_transform_edt(
            ~valid, return_distances=False, return_indices=True
        )
        filled = np.where(near, filled, values[tuple(closest)])
    return filled


def convert_dtype(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`values` in another data type: rounded and clipped for integers, halved for booleans."""
    if dtype == np.bool_:
        return np.asarray(values >= 0.5)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        highest = values.dtype.type(info.max)
        if int(highest) > info.max:  # many bits: the nearest float lies above
            highest = np.nextafter(highest, values.dtype.type(0))
        return np.clip(np.rint(values), values.dtype.type(info.min), highest).astype(dtype)
    return values.astype(dtype)
