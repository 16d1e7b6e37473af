"""From pair shifts to one shift per frame: weighted least squares over the pair graph.

Frames are nodes and usable pairs edges. Per connected component the shifts x minimize
``sum_p w_p |(x[moving] - x[reference]) - shift_p|²`` with the component's anchor held at 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.sparse import csgraph
from scipy.sparse import linalg as sparse_linalg

from pipeline.model import LONE, Bools, FrameTable, InputError, PairTable

# Pairs are never believed to be better than this, px: the rounding of a single-precision surface.
SMALLEST_STD = 1e-4
# Fewer residuals than this do not tell the deviation along an axis by themselves.
FEW_RESIDUALS = 8
# Columns of the inverse taken at once for the standard deviations: bounds the memory.
INVERSE_BLOCK = 256


def check_anchor(anchor: int, frame_count: int) -> None:
    """Raise InputError if the anchor is not a frame."""
    if not 0 <= anchor < frame_count:
        raise InputError(f"solve.anchor {anchor} is not a frame: there are 0 to {frame_count - 1}")


def solve_shifts(pairs: PairTable, *, anchor: int = 0) -> FrameTable:
    """The shift of every frame that the usable pairs agree on best.

    The stated variances alone do not make the weights: what biases a shift (static dirt, a scene
    that changes) is not in them. A common variance is added to all, as large as the residuals ask
    for (Paule & Mandel 1982), so that consistent pairs keep their stated weights and
    contradictory ones are weighted alike.

    Parameters
    ----------
    pairs : PairTable
    anchor : int
        The frame whose shift is 0. Components without it are anchored at their first frame.

    Returns
    -------
    FrameTable
        Component 0 is that of the anchor, if it has a usable pair; frames without one are NaN.
    """
    frame_count = len(pairs.frame_status)
    check_anchor(anchor, frame_count)
    ok = pairs.ok
    component = _components(pairs, ok, anchor, frame_count)
    variance = _stated_variance(pairs)

    ndim = pairs.shift.shape[1]
    shift = np.full((frame_count, ndim), np.nan)
    std = np.full((frame_count, ndim), np.nan)
    weight = np.where(ok, 0.0, np.nan)
    anchors = []
    for number in range(component.max(initial=-1) + 1):
        frames = np.flatnonzero(component == number)
        rows = np.flatnonzero(ok & (component[pairs.reference] == number))
        anchors.append(anchor if number == component[anchor] else int(frames[0]))
        shift[frames], std[frames], weight[rows] = _solve_component(
            pairs, rows, frames, anchors[-1], variance[rows]
        )
    residual = pairs.shift - (shift[pairs.moving] - shift[pairs.reference])
    ends = np.concatenate([pairs.reference[ok], pairs.moving[ok]])
    return FrameTable(
        shift=shift,
        shift_std=std,
        component=component,
        pair_count=np.bincount(ends, minlength=frame_count).astype(np.int64),
        weight=weight,
        residual=residual,
        anchors=tuple(anchors),
    )


def _components(pairs: PairTable, ok: Bools, anchor: int, frame_count: int) -> NDArray[np.int64]:
    """Number of every frame's connected part; the anchor's is 0, lone frames have `LONE`."""
    edges = (np.ones(ok.sum()), (pairs.reference[ok], pairs.moving[ok]))
    graph = sparse.coo_array(edges, shape=(frame_count, frame_count))
    _, labels = csgraph.connected_components(graph, directed=False)
    lone = np.bincount(labels)[labels] == 1
    first_frames = {label: frame for frame, label in reversed(list(enumerate(labels)))}
    order = sorted(
        {labels[frame] for frame in np.flatnonzero(~lone)},
        key=lambda label: (label != labels[anchor], first_frames[label]),
    )
    number = {label: place for place, label in enumerate(order)}
    return np.array([number.get(label, LONE) for label in labels], np.int64)


def _stated_variance(pairs: PairTable) -> NDArray[np.float64]:
    """Variance of every pair, px², mean over the axes; what is not stated gets the median."""
    variance = np.asarray((pairs.std**2).mean(axis=1))
    stated = pairs.ok & np.isfinite(variance)
    fallback = float(np.median(variance[stated])) if stated.any() else 1.0
    return np.maximum(np.where(stated, variance, fallback), SMALLEST_STD**2)


def _solve_component(
    pairs: PairTable,
    rows: NDArray[np.intp],
    frames: NDArray[np.intp],
    held: int,
    variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Shifts and their standard deviations (frames, axes), and the weights of the rows."""
    place = {int(frame): i for i, frame in enumerate(frames)}
    start = np.array([place[int(frame)] for frame in pairs.reference[rows]])
    end = np.array([place[int(frame)] for frame in pairs.moving[rows]])
    count, edge = len(frames), np.arange(len(rows))
    incidence = sparse.coo_array(
        (np.repeat([1.0, -1.0], len(rows)), (np.tile(edge, 2), np.concatenate([end, start]))),
        shape=(len(rows), count),
    ).tocsc()
    free = np.flatnonzero(np.arange(count) != place[held])
    design = incidence[:, free]
    measured = pairs.shift[rows]

    def fit(extra: float) -> tuple[NDArray[np.float64], float, sparse_linalg.SuperLU]:
        """Solution with `extra` variance, its chi-square per axis, the factorized normal matrix."""
        weights = 1 / (variance + extra)
        factor = sparse_linalg.splu((design.T @ (design.multiply(weights[:, None]))).tocsc())
        solution = factor.solve(design.T @ (weights[:, None] * measured))
        residual = measured - design @ solution
        return solution, float((weights[:, None] * residual**2).sum(0).mean()), factor

    extra = _common_variance(lambda value: fit(value)[1], len(rows) - len(free))
    solution, _, factor = fit(extra)
    shift = np.zeros((count, measured.shape[1]))
    shift[free] = solution
    weights = 1 / (variance + extra)
    residual = measured - design @ solution
    chi_square = (weights[:, None] * residual**2).sum(axis=0)
    scale = _axis_scale(pairs.std[rows], chi_square, len(rows) - len(free))
    std = np.zeros(shift.shape)
    std[free] = np.sqrt(_inverse_diagonal(factor, len(free)))[:, None] * scale
    return shift, std, weights


def _axis_scale(
    std: NDArray[np.float64], chi_square: NDArray[np.float64], freedom: int
) -> NDArray[np.float64]:
    """What one common weight per pair says too much or too little of each axis.

    The residuals tell, and where there are few of them, how the stated variances share out.
    """
    stated = np.nan_to_num(std**2).sum(axis=0)
    share = stated / stated.mean() if stated.any() else np.ones(len(stated))
    prior = max(FEW_RESIDUALS - freedom, 0)
    return np.asarray(np.sqrt((chi_square + prior * share) / (freedom + prior)))


def _common_variance(chi_square: Callable[[float], float], freedom: int) -> float:
    """The variance, px², to be added to every pair so that chi-square equals its expectation.

    Chi-square falls as the variance grows; 0 if it is no larger than expected as it is.
    """
    if freedom < 1 or chi_square(0.0) <= freedom:
        return 0.0
    high = SMALLEST_STD**2
    while chi_square(high) > freedom:
        high *= 16
    return float(
        optimize.brentq(lambda extra: chi_square(extra) - freedom, high / 16, high, rtol=1e-2)
        if chi_square(high / 16) > freedom
        else high / 16
    )


def _inverse_diagonal(factor: sparse_linalg.SuperLU, size: int) -> NDArray[np.float64]:
    """Diagonal of the inverse of a factorized matrix, a block of columns at a time."""
    diagonal = np.empty(size)
    for begin in range(0, size, INVERSE_BLOCK):
        columns = np.arange(begin, min(begin + INVERSE_BLOCK, size))
        unit = np.zeros((size, len(columns)))
        unit[columns, np.arange(len(columns))] = 1
        diagonal[columns] = factor.solve(unit)[columns, np.arange(len(columns))]
    return np.maximum(diagonal, 0)
