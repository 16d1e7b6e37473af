"""The linear motions of a model: what they are made of, small ones as vectors, large as matrices.

A linear motion is the exponential of a sum of generators: turning, magnifying, two shears. Small
motions add. Every generator is scaled so that a coefficient of 1 moves the pixels of a frame by
1 pixel, root mean square: coefficients are pixels, as shifts are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from steadystack.model import Floats

TURN = ((0.0, 1.0), (-1.0, 0.0))  # over y and x: x to y
MAGNIFY = ((1.0, 0.0), (0.0, 1.0))
SHEARS = (((1.0, 0.0), (0.0, -1.0)), ((0.0, 1.0), (1.0, 0.0)))
GENERATORS = {
    "rigid": (TURN,),
    "similarity": (TURN, MAGNIFY),
    "affine": (TURN, MAGNIFY, *SHEARS),
}


def make_generators(model: str, shape: Sequence[int]) -> NDArray[np.float64]:
    """Make the generators (generators, 2, 2) of a model for frames of that shape."""
    radius = np.sqrt(sum((size**2 - 1) / 12 for size in shape))
    return np.asarray(np.array(GENERATORS[model]) / radius)


def exponentiate(coefficients: Floats, generators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the matrices (..., 2, 2) of coefficients (..., generators), pixels."""
    small = np.einsum("...g,gij->...ij", np.asarray(coefficients, np.float64), generators)
    return np.asarray(linalg.expm(small), np.float64)


def compute_linear_std(
    linear: NDArray[np.float64], std: NDArray[np.float64], generators: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the deviations of matrices (frames, 2, 2) from those of coefficients (frames, g)."""
    change = np.einsum("gij,fjk->fgik", generators, linear)
    return np.asarray(np.sqrt(np.einsum("fgik,fg->fik", change**2, std**2)))
