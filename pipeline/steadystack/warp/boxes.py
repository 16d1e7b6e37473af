"""Where moved frames lie: shifts in whole pixels, boxes that all or any of the frames cover."""

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
    reach : how far away, in pixels, a pixel affects another one between which is interpolated
    margin : how many pixels more on every side, where the frame has them
    """
    region = []
    sides = zip(box.first, box.stop, shift, round_shift(shift).tolist(), frame_shape, strict=True)
    for begin, stop, offset, whole, size in sides:
        low, high = max(begin, whole), min(stop, whole + size)  # what the frame covers
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


# Invalid pixels are filled in from valid ones under a Gaussian of this sigma, px, where these have
# at least so much weight.
FILL_SIGMA, LEAST_WEIGHT = 1.0, 1e-3


def place_on_canvas(
    image: NDArray[Any], valid: Bools, shift: Floats, first: Sequence[int], shape: Sequence[int]
) -> tuple[NDArray[np.float64], Bools]:
    """Move `image` by `shift` onto a canvas, sharply: by cubic splines.

    Splines reach far: invalid pixels are first filled in from valid ones nearby. A pixel of the
    canvas is known if the pixels around the position it comes from (2 along each axis) are valid.

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
    fraction = np.asarray(shift) - whole
    values = fill_invalid(np.where(valid, image, 0), valid)
    if fraction.any():
        values = ndimage.shift(values, fraction, order=3, mode="nearest")
    known = valid.copy()
    for axis in np.flatnonzero(fraction):
        lines = np.moveaxis(known, axis, 0)
        lines[1:] &= lines[:-1].copy()
        lines[0] = False
    moved, canvas_known = np.zeros(tuple(shape)), np.zeros(tuple(shape), bool)
    target, source = [], []
    for begin, size, length in zip(whole - np.asarray(first), image.shape, shape, strict=True):
        low, high = max(int(begin), 0), min(int(begin) + size, length)
        target.append(slice(low, max(high, low)))
        source.append(slice(low - int(begin), max(high, low) - int(begin)))
    canvas_known[tuple(target)] = known[tuple(source)]
    moved[tuple(target)] = values[tuple(source)]
    return np.where(canvas_known, moved, 0), canvas_known


def fill_invalid(values: NDArray[Any], valid: Bools) -> NDArray[np.float64]:
    """Fill in invalid pixels, which must be 0, with the mean of valid ones nearby.

    Far from all valid pixels they stay 0.
    """
    values = values.astype(np.float64)
    if valid.all():
        return values
    total = ndimage.gaussian_filter(values, FILL_SIGMA, mode="constant")
    weight = ndimage.gaussian_filter(valid.astype(np.float64), FILL_SIGMA, mode="constant")
    near = valid | (weight > LEAST_WEIGHT)
    return np.where(valid, values, np.where(near, total / np.where(near, weight, 1), 0))


def convert_dtype(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert `values` to a data type: rounded and clipped for integers, >= 0.5 for booleans."""
    if dtype == np.bool_:
        return np.asarray(values >= 0.5)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        highest = values.dtype.type(info.max)
        if int(highest) > info.max:  # many bits: the nearest float lies above
            highest = np.nextafter(highest, values.dtype.type(0))
        return np.clip(np.rint(values), values.dtype.type(info.min), highest).astype(dtype)
    return values.astype(dtype)
