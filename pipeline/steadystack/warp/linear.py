"""Linear motion of frames about their middle: turns, scales, and the matrices that apply them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats


def find_middle(shape: Sequence[int]) -> NDArray[np.float64]:
    """Find the middle of a frame (axes,), pixels from the centre of its first one."""
    return (np.asarray(shape, np.float64) - 1) / 2


def compute_rotation(linear: Floats) -> NDArray[np.float64]:
    """Compute by how much matrices (..., 2, 2) over y and x turn, degrees; x to y is positive.

    Of the rotation that is nearest to a matrix.
    """
    linear = np.asarray(linear, np.float64)
    sine = linear[..., 0, 1] - linear[..., 1, 0]
    return np.asarray(np.degrees(np.arctan2(sine, linear[..., 0, 0] + linear[..., 1, 1])))


def compute_scale(linear: Floats) -> NDArray[np.float64]:
    """Compute by how much matrices (..., 2, 2) magnify: the root of the area's factor."""
    linear = np.asarray(linear, np.float64)
    area = linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0]
    return np.asarray(np.sqrt(np.abs(area)))


def make_affine(linear: Floats, shift: Floats, middle: Floats) -> NDArray[np.float64]:
    """Make the matrices (..., axes + 1, axes + 1) that lay positions in frames on the anchor.

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
