"""Linear motion of frames about their middle: rotation, scale, and the matrices that apply them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats


def find_middle(shape: Sequence[int]) -> NDArray[np.float64]:
    """Find the middle of a frame (axes,), in pixels from the centre of its first pixel."""
    return (np.asarray(shape, np.float64) - 1) / 2


def compute_rotation(
    linear: Floats, pixel_size: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Compute the rotation of matrices (..., 2, 2) over y and x, degrees; x to y is positive.

    It is that of the nearest rotation matrix. `pixel_size` is along each axis, in one unit; None:
    equal on all axes.
    """
    linear = _measure_in_lengths(linear, pixel_size)
    sine = linear[..., 0, 1] - linear[..., 1, 0]
    return np.asarray(np.degrees(np.arctan2(sine, linear[..., 0, 0] + linear[..., 1, 1])))


def compute_rotation_vector(
    linear: Floats, pixel_size: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Compute the rotation vectors (..., 3) of matrices (..., 3, 3) over z, y and x, degrees.

    Its length is the angle, its direction the axis; about z from x to y, about y from z to x, and
    about x from y to z is positive. It is that of the nearest rotation matrix; NaN where a matrix
    is NaN. `pixel_size` is along each axis, in one unit; None: equal on all axes.
    """
    from scipy.spatial.transform import Rotation  # slow to import, and rarely needed

    linear = _measure_in_lengths(linear, pixel_size)
    vectors = np.full(linear.shape[:-1], np.nan)
    known = np.asarray(np.isfinite(linear).all(axis=(-2, -1)))
    if known.any():
        left, _, right = np.linalg.svd(linear[known])
        left[..., -1] *= np.sign(np.linalg.det(left @ right))[..., None]
        turns = Rotation.from_matrix((left @ right)[..., ::-1, ::-1])  # over x, y and z
        vectors[known] = turns.as_rotvec(degrees=True)[..., ::-1]
    return vectors


def _measure_in_lengths(linear: Floats, pixel_size: Sequence[float] | None) -> NDArray[np.float64]:
    """Convert matrices for positions in pixels to matrices for positions in a unit of length."""
    matrices = np.asarray(linear, np.float64)
    if pixel_size is None:
        return matrices
    size = np.asarray(pixel_size, np.float64)
    return np.asarray(matrices * (size[:, None] / size))


def compute_scale(linear: Floats) -> NDArray[np.float64]:
    """Compute the scale of matrices (..., axes, axes): the mean magnification of lengths.

    The square root of the magnification of areas, or the cube root of that of volumes.
    """
    linear = np.asarray(linear, np.float64)
    if linear.shape[-1] != 2:
        known = np.asarray(np.isfinite(linear).all(axis=(-2, -1)))
        safe = np.where(known[..., None, None], linear, 1.0)
        return np.asarray(np.where(known, np.cbrt(np.abs(np.linalg.det(safe))), np.nan))
    area = linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0]
    return np.asarray(np.sqrt(np.abs(area)))


def make_affine(linear: Floats, shift: Floats, middle: Floats) -> NDArray[np.float64]:
    """Make the matrices (..., axes + 1, axes + 1) that map positions in frames to the anchor.

    Parameters
    ----------
    linear : (..., axes, axes), about the middle of the frame
    shift : (..., axes) pixels, that of the middle
    middle : (axes,) pixels
    """
    linear, shift = np.asarray(linear, np.float64), np.asarray(shift, np.float64)
    ndim = shift.shape[-1]
    affine = np.zeros((*shift.shape[:-1], ndim + 1, ndim + 1))
    affine[..., :ndim, :ndim] = linear
    affine[..., :ndim, ndim] = middle + shift - linear @ np.asarray(middle, np.float64)
    affine[..., ndim, ndim] = 1
    return affine


def find_moved_corners(shape: Sequence[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find where the corner pixels of a frame lie when it is moved (corners, axes), pixels."""
    ends = np.stack(
        np.meshgrid(*[[0.0, size - 1.0] for size in shape], indexing="ij"), axis=-1
    ).reshape(-1, len(shape))
    return np.asarray(ends @ affine[:-1, :-1].T + affine[:-1, -1])
