"""The linear motions of a model: coefficients of their generators, and matrices.

A linear motion is the matrix exponential of a linear combination of generators: rotations, a
magnification, shears. The coefficients of small motions are additive. Every generator is scaled so
that a coefficient of 1 moves the pixels of a frame by 1 pixel, root mean square, so coefficients
are in pixels like shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from steadystack.model import Floats

# Of (y, x): x towards y. Of (z, y, x): about z (x towards y), y (z towards x) and x (y towards z).
TURNS = {
    2: (((0, 1), (-1, 0)),),
    3: (
        ((0, 0, 0), (0, 0, 1), (0, -1, 0)),
        ((0, 0, -1), (0, 0, 0), (1, 0, 0)),
        ((0, 1, 0), (-1, 0, 0), (0, 0, 0)),
    ),
}
# Shears along the axes, without the magnification; those across pairs of axes are made below.
STRETCHES = {2: ((1, -1),), 3: ((0, 1, -1), (2, -1, -1))}


def count_turns(ndim: int) -> int:
    """The number of generators that rotate frames of `ndim` axes; the next one magnifies."""
    return len(TURNS[ndim])


def make_generators(
    model: str, shape: Sequence[int], pixel_size: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Make the generators (generators, axes, axes) of a model for frames of this shape.

    Parameters
    ----------
    model : "rigid", "similarity" or "affine"
    pixel_size : along each axis, all in one unit, in which rotations keep lengths and shears are
        symmetric; None: equal along all axes
    """
    ndim = len(shape)
    made = [np.array(turn, np.float64) for turn in TURNS[ndim]]
    if model != "rigid":
        made.append(np.eye(ndim))
    if model == "affine":
        made += [np.diag(np.array(along, np.float64)) for along in STRETCHES[ndim]]
        for axis, other in reversed(list(combinations(range(ndim), 2))):
            across = np.zeros((ndim, ndim))
            across[axis, other] = across[other, axis] = 1
            made.append(across)
    if pixel_size is not None:
        size = np.asarray(pixel_size, np.float64)
        made = [one * (size / size[:, None]) for one in made]
    spread = np.array([(side**2 - 1) / 12 for side in shape])
    return np.stack([one / np.sqrt((one**2 * spread).sum()) for one in made])


def exponentiate(coefficients: Floats, generators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the matrices (..., axes, axes) from coefficients (..., generators), pixels."""
    small = np.einsum("...g,gij->...ij", np.asarray(coefficients, np.float64), generators)
    return np.asarray(linalg.expm(small), np.float64)


def compute_turn_rates(generators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the degrees per pixel of coefficient of the generators that rotate (turns,)."""
    turns = generators[: count_turns(generators.shape[1])]
    return np.asarray(np.degrees(np.sqrt(-np.einsum("gij,gji->g", turns, turns) / 2)))


def compute_linear_std(
    linear: NDArray[np.float64], std: NDArray[np.float64], generators: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the errors of matrices (frames, axes, axes) from those of their coefficients.

    Parameters
    ----------
    linear : (frames, axes, axes), the matrices
    std : (frames, generators), standard deviations of the coefficients, pixels
    generators : (generators, axes, axes), per pixel
    """
    change = np.einsum("gij,fjk->fgik", generators, linear)
    return np.asarray(np.sqrt(np.einsum("fgik,fg->fik", change**2, std**2)))


def find_simplest_model(
    off: NDArray[np.float64],
    places: NDArray[np.float64],
    shape: Sequence[int],
    pixel_size: Sequence[float] | None,
    least: float,
) -> str:
    """Find the simplest model that explains enough of the motion of parts.

    Returns "rigid" or "similarity", otherwise "affine"; "" for frames with one axis.

    Parameters
    ----------
    off : how far parts move (pairs, parts, axes), pixels; NaN: not known
    places : of the parts, relative to the middle of a frame (parts, axes), pixels
    shape, pixel_size : as in `make_generators`
    least : the share of the sum of squares that has to be explained, median over the pairs
    """
    ndim = off.shape[2]
    if ndim == 1:
        return ""
    for model in ("rigid", "similarity"):
        generators = make_generators(model, shape, pixel_size)
        explained = []
        for motion in off:
            known = np.isfinite(motion).all(axis=1)
            turns = np.einsum("gij,pj->pig", generators, places[known]).reshape(-1, len(generators))
            terms = np.column_stack([turns, np.tile(np.eye(ndim), (known.sum(), 1))])
            rest = motion[known].ravel()
            whole = max((rest**2).sum(), 1e-12)
            rest = rest - terms @ np.linalg.lstsq(terms, rest, rcond=None)[0]
            explained.append(1 - (rest**2).sum() / whole)
        if np.median(explained) > least:
            return model
    return "affine"
