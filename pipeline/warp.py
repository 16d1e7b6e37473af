"""Move a frame by a shift; which part of it is still known afterwards.

Masked pixels do not bleed into valid ones: an output pixel is the weighted mean of the valid input
pixels it is made of, and valid if they carry at least half of its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.model import Bools, Floats, InputError

INTERPOLATIONS = ("whole", "linear")
# What is not valid is filled in from pixels within a Gaussian of this sigma, px, where it finds so
# much of them.
FILL_SIGMA, LEAST_WEIGHT = 1.0, 1e-3


def check_interpolation(name: str) -> None:
    """Raise InputError if there is no interpolation of that name."""
    if name not in INTERPOLATIONS:
        raise InputError(f"interpolation {name!r} is not one of {', '.join(INTERPOLATIONS)}")


def move(
    image: NDArray[Any], valid: Bools, shift: Floats, interpolation: str = "linear"
) -> tuple[NDArray[np.float64], Bools]:
    """`image` moved by `shift` pixels, as ``scipy.ndimage.shift`` moves it.

    Parameters
    ----------
    image, valid : arrays of one shape
    shift : (ndim,) pixels, array axis order
    interpolation : "whole" rounds the shift to pixels and invents no values; "linear"

    Returns
    -------
    moved, valid : float array, 0 where not valid; bool array
    """
    check_interpolation(interpolation)
    whole = interpolation == "whole"
    by = [float(np.rint(step) if whole else step) for step in shift]

    def moved(array: NDArray[Any]) -> NDArray[np.float64]:
        return ndimage.shift(array.astype(np.float64), by, order=0 if whole else 1, cval=0.0)

    weight = moved(valid)
    total = moved(np.where(valid, image, 0))
    known = weight >= 0.5
    return np.where(known, total / np.where(known, weight, 1), 0), known


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
    values = _filled_in(np.where(valid, image, 0).astype(np.float64), valid)
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


def _filled_in(values: NDArray[np.float64], valid: Bools) -> NDArray[np.float64]:
    """Values, 0 where not valid, with the mean of valid ones nearby there."""
    if valid.all():
        return values
    total = ndimage.gaussian_filter(values, FILL_SIGMA, mode="constant")
    weight = ndimage.gaussian_filter(valid.astype(np.float64), FILL_SIGMA, mode="constant")
    near = weight > LEAST_WEIGHT
    return np.where(valid, values, np.where(near, total / np.where(near, weight, 1), 0))


def to_dtype(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`values` in another data type: rounded and clipped for integers, halved for booleans."""
    if dtype == np.bool_:
        return np.asarray(values >= 0.5)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        highest = np.float64(info.max)
        if int(highest) > info.max:  # 64 bits: the nearest float lies above
            highest = np.nextafter(highest, 0)
        return np.clip(np.rint(values), info.min, highest).astype(dtype)
    return values.astype(dtype)
