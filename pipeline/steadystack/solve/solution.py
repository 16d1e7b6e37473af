"""From pair shifts to one shift per frame: robust weighted least squares over the pair graph.

Frames are nodes and usable pairs edges. Per connected component and axis the shifts x minimize
``sum_p w_p ((x[moving] - x[reference]) - shift_p)²`` over the pairs that do not contradict the
rest, with the component's anchor held at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from steadystack.model import LONE, Bools, FrameStatus, FrameTable, InputError, PairTable
from steadystack.solve.factors import Solver
from steadystack.solve.graph import choose_anchors, drop_weak_links, label_components
from steadystack.solve.likeness import find_dissimilar_frames
from steadystack.solve.robust import FEW_RESIDUALS, find_consistent_pairs
from steadystack.solve.system import System, estimate_own_variances, estimate_shared_part

# Pairs are never believed to be better than this, px: the rounding of a single-precision surface.
SMALLEST_STD = 1e-4
# The common variance is known well enough if chi-square is this near to what is expected.
CLOSE = 1e-2
MOST_STEPS = 30

Interpolation = Literal["linear", "spline"]


def check_anchor(anchor: int, frame_count: int) -> None:
    """Raise InputError if the anchor is not a frame."""
    if not 0 <= anchor < frame_count:
        raise InputError(f"solve.anchor {anchor} is not a frame: frames are 0 to {frame_count - 1}")


def solve_shifts(
    pairs: PairTable,
    *,
    anchor: int = 0,
    robust: bool = True,
    interpolate: Interpolation | None = None,
) -> FrameTable:
    """The shift of every frame that the usable pairs agree on best.

    Pairs that contradict the rest are rejected: they have no weight. Of a frame, or a part of the
    graph, that is left hanging on a pair or two while most of its pairs are rejected, nothing is
    known. The stated variances of the others alone do not make the weights: what biases a shift
    (static dirt, a scene that changes) is not in them. A common variance is added to all of a
    component, per axis, as large as the residuals ask for (Paule & Mandel 1982), so that consistent
    pairs keep their stated weights and contradictory ones are weighted alike. The axes are solved
    one by one: a covariance between them is not used.

    Parameters
    ----------
    pairs : PairTable
    anchor : int
        The frame whose shift is 0. Components without it are anchored at their first frame.
    robust : bool
        Whether pairs may be rejected; False: least squares over all usable ones.
    interpolate : "linear", "spline" or None
        How frames without a shift get one, if they lie between frames of one component.

    Returns
    -------
    FrameTable
        Component 0 is that of the anchor, if it has a usable pair; frames without one are NaN. The
        standard deviations are relative to the component's anchor, whose own error is part of them
        all. Where residuals are smaller than the pairs state, the difference is the frames' own
        errors, which are in all of their pairs alike and do not average out (`solve.own`); where
        they are as large or larger, or too few to tell, pairs are taken as independent.
    """
    frame_count = len(pairs.frame_read_status)
    check_anchor(anchor, frame_count)
    rows = np.flatnonzero(pairs.ok)
    accepted = rows[_find_consistent(pairs, rows, anchor)] if robust else rows
    start, end = pairs.reference[accepted], pairs.moving[accepted]
    component = label_components(start, end, frame_count, anchor)
    held = choose_anchors(component, anchor)
    known = component != LONE

    solved = _solve_least_squares(
        System(start, end, frame_count, held),
        component,
        pairs.shift[accepted],
        _fill_stated_variance(pairs)[accepted],
    )
    shift = np.where(known[:, None], solved.shift, np.nan)
    std = np.where(known[:, None], solved.std, np.nan)
    weight = np.where(pairs.ok, 0.0, np.nan)
    weight[accepted] = solved.weights.mean(axis=1)
    rejected = pairs.ok.copy()
    rejected[accepted] = False
    residual = pairs.shift - (shift[pairs.moving] - shift[pairs.reference])
    solution = FrameTable(
        shift=shift,
        shift_std=std,
        component=component,
        pair_count=np.bincount(np.concatenate([start, end]), minlength=frame_count),
        status=_determine_status(pairs, known),
        weight=weight,
        residual=residual,
        rejected=rejected,
        anchors=tuple(held.tolist()),
        own_variance=solved.own,
    )
    return solution if interpolate is None else interpolate_missing(solution, interpolate)


def interpolate_missing(frames: FrameTable, how: Interpolation) -> FrameTable:
    """The same with shifts for frames that have none, where they lie between frames of one part."""
    shift, std, component = interpolate_columns(
        frames.shift, frames.shift_std, frames.component, how
    )
    status = frames.status.copy()
    status[(component != LONE) & (frames.component == LONE)] = FrameStatus.INTERPOLATED.code
    return replace(frames, shift=shift, shift_std=std, component=component, status=status)


def _find_consistent(pairs: PairTable, rows: NDArray[np.intp], anchor: int) -> Bools:
    """Which of the usable pairs agree with the rest."""
    frame_count = len(pairs.frame_read_status)
    start, end = pairs.reference[rows], pairs.moving[rows]
    component = label_components(start, end, frame_count, anchor)
    system = System(start, end, frame_count, choose_anchors(component, anchor))
    variance = _fill_stated_variance(pairs)[rows]
    agree = find_consistent_pairs(system, component[start], pairs.shift[rows], variance)
    return drop_weak_links(start, end, agree, frame_count)


def _determine_status(pairs: PairTable, known: Bools) -> NDArray[np.int8]:
    """What reading a frame gave; if that is ok, why it has no shift or what is odd about it."""
    usable = np.zeros(len(known), bool)
    usable[pairs.reference[pairs.ok]] = usable[pairs.moving[pairs.ok]] = True
    read = np.isin(pairs.frame_read_status, [FrameStatus.OK.code, FrameStatus.INCOMPLETE.code])
    lost = np.where(usable, FrameStatus.INCONSISTENT.code, FrameStatus.DISCONNECTED.code)
    status = np.where(read & ~known, lost, pairs.frame_read_status).astype(np.int8)
    status[find_dissimilar_frames(pairs) & (status == FrameStatus.OK.code)] = (
        FrameStatus.DISSIMILAR.code
    )
    return status


def _fill_stated_variance(pairs: PairTable) -> NDArray[np.float64]:
    """Variance (pairs, axes), px²; what is not stated gets the median of its axis."""
    variance = pairs.shift_std**2
    stated = pairs.ok[:, None] & np.isfinite(variance)
    for axis in range(variance.shape[1]):
        told = variance[stated[:, axis], axis]
        fallback = float(np.median(told)) if len(told) else 1.0
        variance[:, axis] = np.where(stated[:, axis], variance[:, axis], fallback)
    return np.maximum(variance, SMALLEST_STD**2)


@dataclass(frozen=True, eq=False)
class _Solved:
    """Shifts, their deviations and own variances (frames, axes), and the weights (pairs, axes)."""

    shift: NDArray[np.float64]
    std: NDArray[np.float64]
    own: NDArray[np.float64]
    weights: NDArray[np.float64]


def _solve_least_squares(
    system: System,
    component: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> _Solved:
    """Weighted least squares, axis by axis, all components at once.

    `component` is that of every frame; `measured` and `variance` are (pairs, axes).
    """
    shift = np.zeros((system.frame_count, measured.shape[1]))
    std, own, weights = np.zeros_like(shift), np.zeros_like(shift), np.zeros_like(measured)
    part, free, count = component[system.start], system.free, len(system.held)
    freedom = np.bincount(part, minlength=count) - np.bincount(component[free], minlength=count)
    # where few residuals tell, the stated variances are worth FEW_RESIDUALS of them in all
    initial_shifts = np.maximum(FEW_RESIDUALS - freedom, 0)
    nowhere = np.zeros(0, np.int64)
    for axis in range(measured.shape[1] if len(measured) else 0):
        along, found, residual, solver = _fit_weighted(
            system, part, freedom, measured[:, [axis]], variance[:, axis]
        )
        weights[:, axis], shift[:, axis] = along, found[:, 0]
        chi_square = np.bincount(part, along * residual[:, 0] ** 2, len(freedom))
        rest = (chi_square + initial_shifts) / (freedom + initial_shifts)
        shared = estimate_shared_part(rest, freedom + initial_shifts)[part] / along
        own[:, axis] = estimate_own_variances(system.start, system.end, system.frame_count, shared)
        of_anchor = own[system.held, axis]
        averaged = solver.variances(nowhere, nowhere)[0] * rest[component[free]]
        std[free, axis] = np.sqrt(averaged + own[free, axis] + of_anchor[component[free]])
    return _Solved(shift, std, own, weights)


def _fit_weighted(
    system: System,
    part: NDArray[np.int64],
    freedom: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], Solver]:
    """Weights (pairs,), shifts (frames, 1), residuals (pairs, 1) and the system, along one axis.

    To the variance of every pair of a component one is added, px², with which chi-square equals its
    expectation; 0 where it is no larger as it is. Newton's method on 1 / chi-square, which is
    nearly linear in it (the derivative of chi-square, at the best solution, is that at fixed
    residuals: ``- sum w² r²``).
    """
    extra = np.zeros(len(freedom))
    for _ in range(MOST_STEPS):
        weights = 1 / (variance + extra[part])
        shift, residual, solver = system.fit(weights, measured)
        squares = weights * residual[:, 0] ** 2
        chi_square = np.bincount(part, squares, len(freedom))
        slope = np.bincount(part, weights * squares, len(freedom))
        wrong = (freedom > 0) & (np.abs(chi_square - freedom) > CLOSE * freedom)
        wrong &= (chi_square > freedom) | (extra > 0)
        if not wrong.any():
            break
        target, chi, down = freedom[wrong], chi_square[wrong], slope[wrong]
        step = (1 / target - 1 / chi) * chi**2 / down
        extra[wrong] = np.maximum(extra[wrong] + step, 0)
    return weights, shift, residual, solver


def interpolate_columns(
    shift: NDArray[np.float64],
    std: NDArray[np.float64],
    component: NDArray[np.int64],
    method: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The same columns with the frames filled in that lie between two of one component.

    ``linear`` is a straight line between the two; ``spline`` a cubic Hermite spline through all
    frames of the component that does not overshoot at a jump (Fritsch & Butland 1984).

    The standard deviation joins two: that of the two frames, as if their errors were the same
    ones, and how far known frames lie from a straight line across a gap of the same width
    elsewhere in the component, scaled as for a random walk (largest in the middle, 0 at the
    ends). Where the component has no place for such a gap, the rate of its steps stands in; where
    that is not known either, NaN.

    Parameters
    ----------
    shift, std : (frames, axes), px; NaN where not known
    component : (frames,), `LONE` where not known
    """
    before, after = _find_neighbours(component != LONE)
    inside = (component == LONE) & (before >= 0) & (after >= 0)
    inside &= component[before] == component[after]
    gap = np.flatnonzero(inside)
    shift, std, component = shift.copy(), std.copy(), component.copy()
    part = component[before[gap]]
    for number in np.unique(part):
        frames = gap[part == number]
        known = np.flatnonzero(component == number)
        one, two = before[frames], after[frames]
        place = ((frames - one) / (two - one))[:, None]
        if method == "spline" and len(known) > 2:
            filled = interpolate.PchipInterpolator(known, shift[known])(frames)
        else:
            filled = (1 - place) * shift[one] + place * shift[two]
        ends = (1 - place) * std[one] + place * std[two]
        away = _measure_straying(shift, known, two - one) * 4 * place * (1 - place)
        shift[frames], std[frames] = filled, np.sqrt(ends**2 + away)
    component[gap] = part
    return shift, std, component


def _find_neighbours(known: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nearest known frame up to and from every frame; -1: none."""
    frames = np.arange(len(known))
    before = np.maximum.accumulate(np.where(known, frames, -1))
    after = np.minimum.accumulate(np.where(known, frames, len(known))[::-1])[::-1]
    return before, np.where(after == len(known), -1, after)


def _measure_straying(
    shift: NDArray[np.float64], known: NDArray[np.intp], widths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean square, px², from a straight line, in the middle of gaps so wide: (gaps, axes)."""
    values = np.full(shift.shape, np.nan)
    values[known] = shift[known]
    different, which = np.unique(widths, return_inverse=True)
    found = np.full((len(different), shift.shape[1]), np.nan)
    for row, width in enumerate(different):
        middle = width // 2
        if len(values) > width:
            one, two = values[:-width], values[width:]
            between = values[middle : len(values) - width + middle]
            away = between - one - (two - one) * (middle / width)
            seen = np.isfinite(away).all(axis=1)
            if seen.any():
                part = 4 * (middle / width) * (1 - middle / width)
                found[row] = (away[seen] ** 2).mean(axis=0) / part
        if np.isnan(found[row]).any() and len(known) > 2:
            steps = np.diff(shift[known], axis=0) ** 2 / np.diff(known)[:, None]
            found[row] = steps.mean(axis=0) * width / 4
    return found[which]
