"""Fill in invalid pixels from valid ones, for filters that reach beyond the edge of a mask.

What follows from the mask alone is cached: most frames of a series have the same one.
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

# Invalid pixels get the mean of valid ones under a Gaussian of this sigma and reach, px, if these
# have at least this weight; otherwise the value of the closest one.
SIGMA, WIDTH, LEAST_WEIGHT = 1.0, 4, 1e-3
GAUSSIAN = np.exp(-(np.arange(-WIDTH, WIDTH + 1) ** 2) / (2 * SIGMA**2))
GAUSSIAN /= GAUSSIAN.sum()
# Number of mask blocks that are cached.
REMEMBERED = 32


@dataclass(frozen=True, eq=False)
class _Holes:
    """What filling in needs from a mask.

    Attributes
    ----------
    valid_count : number of valid pixels
    near : positions of the invalid pixels that have enough valid ones around them
    inverse_weight : one over the weight of these
    far : positions of the others that filters reach from the nearest pixel of a valid one
    closest : positions of the valid pixels closest to them, in the padded array
    """

    valid_count: int
    near: NDArray[np.int32]
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
    array of the image's shape; further away, values are arbitrary but finite
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
            filled[block] = _fill(image[around], known, reach, filled.dtype)[inside]
        else:
            filled[block] = 0
    return filled


def _fill(values: NDArray[Any], valid: Bools, reach: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    holes = _find_holes(np.packbits(valid).tobytes(), valid.shape, reach)
    padded = np.zeros([size + 2 * WIDTH for size in valid.shape], dtype)
    centred = padded[(slice(WIDTH, -WIDTH),) * valid.ndim]
    if values.dtype.kind in "iu":  # products are several times faster than a condition per pixel
        np.multiply(values, valid, out=centred)
    else:  # invalid pixels may be NaN
        np.copyto(centred, values, where=valid)
    level = padded.sum() / holes.valid_count
    padded -= np.pad(valid, WIDTH) * level
    filled: NDArray[Any] = centred + level
    flat = filled.ravel()
    flat[holes.near] = _blur(padded).ravel()[holes.near] * holes.inverse_weight + level
    flat[holes.far] = padded.ravel()[holes.closest] + level
    return filled


@lru_cache(maxsize=REMEMBERED)
def _find_holes(packed: bytes, shape: tuple[int, ...], reach: int) -> _Holes:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=int(np.prod(shape)))
    valid = bits.reshape(shape).astype(bool)
    weight = _blur(np.pad(valid.astype(np.float32), WIDTH))
    has_weight = weight > LEAST_WEIGHT
    near = np.flatnonzero(~valid & has_weight)
    far = np.flatnonzero(~(valid | has_weight))
    count = int(np.count_nonzero(valid))
    inverse = np.reciprocal(weight.ravel()[near])
    if not far.size:
        return _Holes(count, near.astype(np.int32), inverse, *np.empty((2, 0), np.int32))
    indices = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    closest = np.stack([along.ravel()[far] for along in indices])
    distance = np.linalg.norm(closest - np.stack(np.unravel_index(far, shape)), axis=0)
    is_reached = distance <= np.sqrt(valid.ndim) * (reach + 1)
    padded_shape = tuple(size + 2 * WIDTH for size in shape)
    from_ = np.ravel_multi_index(tuple(closest[:, is_reached] + WIDTH), padded_shape)
    return _Holes(
        count, near.astype(np.int32), inverse, far[is_reached].astype(np.int32),
        from_.astype(np.int32),
    )  # fmt: skip


def _blur(padded: NDArray[Any]) -> NDArray[Any]:
    """Blur an array; the result is `WIDTH` pixels smaller on all sides, and contiguous."""
    for axis in range(padded.ndim):
        padded = filter_along(padded, GAUSSIAN, axis)
    return padded
