"""Fill small holes in frames from the valid pixels around them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools
from steadystack.warp.boxes import convert_dtype

# Holes are small if no square of this side fits into them: single pixels, rows, columns.
SIDE = 5
# A hole is filled under a Gaussian of this sigma, px, within half of that square.
SIGMA = 1.0
# How far away, in pixels, valid pixels affect whether a hole is small, and what fills it.
HOLE_REACH = SIDE - 1


def fill_small_holes(image: NDArray[Any], valid: Bools) -> tuple[NDArray[Any], Bools]:
    """Fill small holes, plane by plane, with a mean of the valid pixels around them.

    Parameters
    ----------
    image, valid : arrays of one shape, ([z,] y, x); boolean images stay as they are

    Returns
    -------
    filled, holes : the image, of its data type, and which of its pixels were filled (bool)
    """
    plane = (1,) * (image.ndim - 2) + (SIDE, SIDE)
    near = ndimage.maximum_filter(valid, size=plane, mode="constant", cval=False)
    holes = np.asarray(ndimage.minimum_filter(near, size=plane, mode="constant", cval=True))
    holes &= ~valid
    if image.dtype == np.bool_ or not holes.any():
        return image, np.zeros_like(holes)
    half = SIDE // 2
    margins = [(0, 0)] * (image.ndim - 2) + [(half, half)] * 2
    values = np.pad(np.where(valid, image, 0), margins)
    counts = np.pad(valid, margins)
    *front, rows, columns = np.nonzero(holes)
    total, weight = np.zeros(len(rows)), np.zeros(len(rows))
    for down, right in product(range(SIDE), repeat=2):
        place = (*front, rows + down, columns + right)
        by = np.exp(-((down - half) ** 2 + (right - half) ** 2) / (2 * SIGMA**2))
        total += by * values[place]
        weight += by * counts[place]
    filled = image.copy()
    filled[holes] = convert_dtype(total / weight, image.dtype)
    return filled, holes
