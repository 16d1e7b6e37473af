"""The error of frame shifts, whatever its cause, from how much the parts of the frame disagree.

The graph is linear: the amounts by which a part moves the shifts of pairs are solved like the
shifts themselves, which gives how far the part moves every frame. A part that is wrong is wrong in
all pairs, so its effect does not average out as the errors of single pairs do; the spread over the
parts is the error of the frames by the infinitesimal jackknife (Efron 1982, ch. 6).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.solve.factors import Solver
from steadystack.solve.system import System

# Parts known for less than this fraction of the pairs are not used.
LEAST_KNOWN = 0.5


def solve_parts(
    system: System,
    solver: Solver,
    weights: NDArray[np.float64],
    steps: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Solve for how much each part moves every frame along one axis (frames, parts), px.

    Parameters
    ----------
    solver : of the system with these weights
    weights : (pairs,), 1/px²
    steps : (pairs, parts), px, NaN where not known: such pairs move nothing

    NaN for parts that do not exist, and for all parts if too few pairs are known.
    """
    known = np.asarray(np.isfinite(steps))
    places = np.flatnonzero(known.any(axis=0))
    told = np.asarray(known[:, places].all(axis=1))
    moves = np.full((system.frame_count, steps.shape[1]), np.nan)
    if not len(places) or told.mean() < LEAST_KNOWN:
        return moves
    parts = np.where(told[:, None], steps[:, places], 0).astype(np.float64)
    moves[:, places] = 0
    moves[np.ix_(system.free, places)] = solver.solve(
        system.transposed @ (weights[:, None] * parts)
    )
    return moves


def join_std(stated: NDArray[np.float64], of_parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the larger of two estimates of an error; unknown errors of parts are ignored.

    They are not added up: both contain the noise, and each sees something the other does not.
    """
    return np.fmax(stated, of_parts) + 0 * stated  # NaN where nothing is stated
