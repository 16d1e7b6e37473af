"""Frames laid out on a canvas by splines, what is not valid filled in, data types kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats

# What is not valid is filled in from pixels within a Gaussian of this sigma, px, where it finds so
# much of them.
FILL_SIGMA, LEAST_WEIGHT = 1.0, 1e-3


def laid_out(
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
    values = filled_in(np.where(valid, image, 0), valid)
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


def filled_in(values: NDArray[Any], valid: Bools, everywhere: bool = False) -> NDArray[np.float64]:
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


def to_dtype(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
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
