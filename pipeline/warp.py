"""Move a frame by a shift; which part of it is still known afterwards.

Masked pixels do not bleed into valid ones: an output pixel is the weighted mean of the valid input
pixels it is made of, and valid if they carry at least half of its weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.model import Bools, Floats, InputError

INTERPOLATIONS = ("whole", "linear")


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
