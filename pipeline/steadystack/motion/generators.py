"""The linear motions of a model: what they are made of, small ones as vectors, large as matrices.

A linear motion is the exponential of a sum of generators: turns, a magnification, shears. Small
motions add. Every generator is scaled so that a coefficient of 1 moves the pixels of a frame by
1 pixel, root mean square: coefficients are pixels, as shifts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from steadystack.model import Floats

# Over y and x, x to y; over z, y and x about z (x to y), y (z to x) and x (y to z).
TURNS = {
    2: (((0, 1), (-1, 0)),),
    3: (
        ((0, 0, 0), (0, 0, 1), (0, -1, 0)),
        ((0, 0, -1), (0, 0, 0), (1, 0, 0)),
        ((0, 1, 0), (-1, 0, 0), (0, 0, 0)),
    ),
}
# Along the axes, beside the magnification; those across pairs of axes follow.
STRETCHES = {2: ((1, -1),), 3: ((0, 1, -1), (2, -1, -1))}


def count_turns(ndim: int) -> int:
    """How many of the generators turn frames of so many axes; the one after them magnifies."""
    return len(TURNS[ndim])


def make_generators(
    model: str, shape: Sequence[int], pixel_size: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Make the generators (generators, axes, axes) of a model for frames of that shape.

    Parameters
    ----------
    model : "rigid", "similarity" or "affine"
    pixel_size : along each axis, in one unit: a turn keeps lengths in it, and a shear has no turn;
        None: all alike
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
    """Make the matrices (..., axes, axes) of coefficients (..., generators), pixels."""
    small = np.einsum("...g,gij->...ij", np.asarray(coefficients, np.float64), generators)
    return np.asarray(linalg.expm(small), np.float64)


def compute_turn_rates(generators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute by how many degrees those that turn do, per pixel of their coefficients (turns,)."""
    turns = generators[: count_turns(generators.shape[1])]
    return np.asarray(np.degrees(np.sqrt(-np.einsum("gij,gji->g", turns, turns) / 2)))


def compute_linear_std(
    linear: NDArray[np.float64], std: NDArray[np.float64], generators: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the deviations of matrices (frames, axes, axes) from those of coefficients."""
    change = np.einsum("gij,fjk->fgik", generators, linear)
    return np.asarray(np.sqrt(np.einsum("fgik,fg->fik", change**2, std**2)))


def find_simplest_model(
    off: NDArray[np.float64],
    places: NDArray[np.float64],
    shape: Sequence[int],
    pixel_size: Sequence[float] | None,
    least: float,
) -> str:
    """Find the simplest model that explains a share of a motion of parts that is linear.

    Parameters
    ----------
    off : how far parts move (pairs, parts, axes), pixels; NaN: not known
    places : of the parts, from the middle of a frame of that shape (parts, axes), pixels
    least : the share of the squares, the median over the pairs
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
