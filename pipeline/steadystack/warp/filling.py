"""Invalid pixels filled in from valid ones, for filters that reach beyond the edge of a mask.

What that takes of a mask is kept: the frames of a series mostly have the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools
from steadystack.warp.separable import cut_into_blocks, filter_along

# Invalid pixels get the mean of valid ones under a Gaussian of this sigma and reach, px, where
# these have at least so much weight; elsewhere the value of the closest one.
SIGMA, WIDTH, LEAST_WEIGHT = 1.0, 4, 1e-3
GAUSSIAN = np.exp(-(np.arange(-WIDTH, WIDTH + 1) ** 2) / (2 * SIGMA**2))
GAUSSIAN /= GAUSSIAN.sum()
# So many blocks of masks are remembered.
REMEMBERED = 16


@dataclass(frozen=True, eq=False)
class _Holes:
    """What filling in takes of a mask.

    Attributes
    ----------
    inverse_weight : one over the weight of valid pixels around an invalid one; 0 where it is valid,
        and where hardly any is near
    far, closest : positions of the latter, and of the valid pixels closest to them
    """

    inverse_weight: NDArray[np.float32]
    far: NDArray[np.int32]
    closest: NDArray[np.int32]


def fill_around(
    image: NDArray[Any], valid: Bools, reach: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Fill in the invalid pixels of an image that lie within `reach` pixels of valid ones.

    Parameters
    ----------
    image, valid : arrays of one shape
    dtype : of the result, float32 or float64

    Returns
    -------
    array of the image's shape; what lies further away is any finite number
    """
    filled = np.empty(image.shape, dtype)
    for block in cut_into_blocks([slice(0, size) for size in image.shape]):
        around = tuple(
            slice(max(side.start - reach, 0), min(side.stop + reach, size))
            for side, size in zip(block, image.shape, strict=True)
        )
        inside = tuple(
            slice(side.start - wide.start, side.stop - wide.start)
            for side, wide in zip(block, around, strict=True)
        )
        known = valid[around]
        if known.all():
            filled[block] = image[block]
        elif known.any():
            filled[block] = _fill(image[around].astype(dtype), known)[inside]
        else:
            filled[block] = 0
    return filled


def _fill(values: NDArray[Any], valid: Bools) -> NDArray[Any]:
    holes = _find_holes(np.packbits(valid).tobytes(), valid.shape)
    level = values.mean(where=valid)
    centred = np.where(valid, values - level, 0)
    filled = _blur(centred)
    filled *= holes.inverse_weight
    np.copyto(filled, centred, where=valid)
    filled.ravel()[holes.far] = centred.ravel()[holes.closest]
    return np.asarray(filled + level, values.dtype)


@lru_cache(maxsize=REMEMBERED)
def _find_holes(packed: bytes, shape: tuple[int, ...]) -> _Holes:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=int(np.prod(shape)))
    valid = bits.reshape(shape).astype(bool)
    weight = _blur(valid.astype(np.float32))
    near = ~valid & (weight > LEAST_WEIGHT)
    inverse = np.where(near, 1 / np.where(near, weight, 1), 0)
    far = ~valid & ~near
    if not far.any():
        return _Holes(inverse, *np.empty((2, 0), np.int32))
    closest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    from_ = np.ravel_multi_index(tuple(closest[:, far]), shape)
    return _Holes(inverse, np.flatnonzero(far).astype(np.int32), from_.astype(np.int32))


def _blur(values: NDArray[Any]) -> NDArray[Any]:
    """The Gaussian of an array, with zeros around it; the result is contiguous."""
    for axis in range(values.ndim):
        margins = [(WIDTH, WIDTH) if other == axis else (0, 0) for other in range(values.ndim)]
        values = filter_along(np.pad(values, margins), GAUSSIAN, axis)
    return np.ascontiguousarray(values)
