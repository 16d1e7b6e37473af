"""From pair shifts to one shift per frame: robust weighted least squares over the pair graph.

Frames are nodes and usable pairs edges. Per connected component and axis the shifts x minimize
``sum_p w_p ((x[moving] - x[reference]) - shift_p)²`` over the pairs that do not contradict the
rest, with the component's anchor held at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.model import (
    NO_COMPONENT,
    Bools,
    FrameStatus,
    FrameTable,
    InputError,
    PairStatus,
    PairTable,
)
from steadystack.parts import compute_jackknife_std
from steadystack.solve.factors import Solver
from steadystack.solve.gaps import Interpolation, interpolate_missing
from steadystack.solve.graph import NO_PAIRS, choose_anchors, drop_weak_links, label_components
from steadystack.solve.jackknife import join_std, solve_parts
from steadystack.solve.likeness import find_dissimilar_frames
from steadystack.solve.majority import find_majority
from steadystack.solve.robust import FEW_RESIDUALS, find_consistent_pairs
from steadystack.solve.system import System, estimate_own_variances, estimate_shared_fraction

# Status codes of pairs that were compared at all lags and agree at none.
SHOW_NO_SHIFT = [PairStatus.LOW_NCC.code, PairStatus.AMBIGUOUS.code]
# No pair is taken to be more precise than this, px: the rounding of a single-precision surface.
SMALLEST_STD = 1e-4
# Relative distance of chi-square from its expectation at which the common variance is accepted.
CLOSE = 1e-2
MOST_STEPS = 30


def check_anchor(anchor: int, frame_count: int) -> None:
    """Raise InputError if the anchor is not a frame."""
    if not 0 <= anchor < frame_count:
        raise InputError(f"solve.anchor {anchor} is not a frame: frames are 0 to {frame_count - 1}")


def solve_shifts(
    pairs: PairTable,
    *,
    anchor: int = 0,
    robust: bool = True,
    leave_out_parts: bool = True,
    interpolate: Interpolation | None = None,
) -> FrameTable:
    """Find the shifts of the frames that best fit the usable pairs.

    Pairs that contradict the rest are rejected: they get no weight. A frame or branch of the graph
    connected by only a pair or two, while most of its pairs are rejected, gets no shift; nor does a
    frame connected by a single pair while another pair of no larger separation shows none: nothing
    confirms it. The stated variances alone do not make the weights: they do not cover what biases a
    shift (dirt in the camera, a changing scene). A common variance is added to all pairs of a
    component, per axis, as large as the residuals require (Paule & Mandel 1982), so that consistent
    pairs keep their stated weights and contradictory ones are weighted alike. The axes are solved
    one by one: a covariance between them is not used.

    Parameters
    ----------
    pairs : PairTable
    anchor : int The frame whose shift is 0. Components without it are anchored at their first
        frame.
    robust : bool Whether pairs may be rejected; False: least squares over all usable ones.
    leave_out_parts : bool Whether parts of the frame that go their own way count less, or not at
        all, where most parts go together (`majority.find_majority`).
    interpolate : "linear", "spline" or None How frames without a shift get one, if they lie between
        frames of one component.

    Returns
    -------
    FrameTable
        Component 0 is that of the anchor, if it has a usable pair; frames without one are NaN. The
        standard deviations are relative to the component's anchor, whose own error is included in
        all of them. Where residuals are smaller than stated, the difference is put down to the
        frames' own errors, which are the same in all pairs of a frame and do not average out
        (`FrameTable.own_variance`); where they are as large or larger, or too few to tell, pairs
        are taken as independent. Where the parts of the frame disagree more than that, their
        jackknife is the error (`FrameTable.part_std`).
    """
    frame_count = len(pairs.frame_read_status)
    check_anchor(anchor, frame_count)
    rows, of_frames = np.flatnonzero(pairs.ok), np.stack([pairs.reference, pairs.moving], axis=1)
    fit = fit_graph(
        of_frames[rows],
        pairs.shift[rows],
        _fill_stated_variance(pairs)[rows],
        pairs.part_step[rows],
        frame_count,
        anchor=anchor,
        robust=robust,
        blank=of_frames[np.isin(pairs.status, SHOW_NO_SHIFT)],
    )
    shift, accepted = fit.value, rows[fit.accepted]
    weight = np.where(pairs.ok, 0.0, np.nan)
    weight[accepted] = fit.weights.mean(axis=1)
    rejected = pairs.ok.copy()
    rejected[accepted] = False
    ends = np.concatenate([pairs.reference[accepted], pairs.moving[accepted]])
    solution = replace(
        FrameTable.unsolved(pairs),
        shift=shift,
        shift_std=fit.std,
        stated_std=fit.stated_std,
        part_std=fit.part_std,
        part_step=fit.part_step.astype(np.float32),
        part_weight=np.full(fit.part_step.shape[:2], np.nan, np.float32),
        component=fit.component,
        pair_count=np.bincount(ends, minlength=frame_count),
        status=_determine_status(pairs, fit.component != NO_COMPONENT),
        weight=weight,
        residual=pairs.shift - (shift[pairs.moving] - shift[pairs.reference]),
        rejected=rejected,
        anchors=fit.anchors,
        own_variance=fit.own_variance,
    )
    if leave_out_parts:
        solution = leave_out_strange_parts(solution)
    return solution if interpolate is None else interpolate_missing(solution, interpolate)


@dataclass(frozen=True, eq=False)
class GraphFit:
    """The values of frames that best fit the measured differences of pairs, column by column.

    Attributes
    ----------
    value : (frames, columns); NaN where not known
    stated_std, part_std : (frames, columns), from pairs and their residuals, and from parts
    part_step : (frames, parts, columns), how far each part moves a value
    own_variance : (frames, columns), px², what a frame's own error adds
    weights : of the accepted pairs (accepted, columns), 1/px²
    component : (frames,), number of the connected part of the graph; `NO_COMPONENT`: no usable pair
    anchors : frames whose values are 0, one per component
    accepted : (pairs,), whether a pair agrees with the rest
    """

    value: NDArray[np.float64]
    stated_std: NDArray[np.float64]
    part_std: NDArray[np.float64]
    part_step: NDArray[np.float64]
    own_variance: NDArray[np.float64]
    weights: NDArray[np.float64]
    component: NDArray[np.int64]
    anchors: tuple[int, ...]
    accepted: Bools

    @property
    def std(self) -> NDArray[np.float64]:
        """The larger of the two standard deviations."""
        return join_std(self.stated_std, self.part_std)


def fit_graph(
    pairs: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
    part_step: NDArray[np.float32],
    frame_count: int,
    *,
    anchor: int = 0,
    robust: bool = True,
    blank: NDArray[np.int64] = NO_PAIRS,
) -> GraphFit:
    """Find the values of frames whose differences best fit the pairs; see `solve_shifts`.

    Parameters
    ----------
    pairs : (pairs, 2), reference and moving
    measured, variance : (pairs, columns), px and px²: moving less reference
    part_step : (pairs, parts, columns), px, how far each part moves what is measured
    blank : (more pairs, 2), pairs that were searched and show no shift
    """
    start, end = pairs[:, 0], pairs[:, 1]
    agree: Bools = np.ones(len(pairs), bool)
    component = label_components(start, end, frame_count, anchor)
    if robust:
        system = System(start, end, frame_count, choose_anchors(component, anchor))
        agree = find_consistent_pairs(system, component[start], measured, variance)
        agree = drop_weak_links(start, end, agree, frame_count, blank)
        component = label_components(start[agree], end[agree], frame_count, anchor)
    held = choose_anchors(component, anchor)
    fitted = _solve_least_squares(
        System(start[agree], end[agree], frame_count, held),
        component,
        measured[agree],
        variance[agree],
        part_step[agree],
    )
    lone = component == NO_COMPONENT
    for values in (fitted.shift, fitted.std, fitted.part_step):
        values[lone] = np.nan
    return GraphFit(
        value=fitted.shift,
        stated_std=fitted.std,
        part_std=compute_jackknife_std(fitted.part_step),
        part_step=fitted.part_step,
        own_variance=fitted.own_variance,
        weights=fitted.weights,
        component=component,
        anchors=tuple(held.tolist()),
        accepted=agree,
    )


def leave_out_strange_parts(frames: FrameTable) -> FrameTable:
    """Solve again without the parts that do not move with the majority, if there are any."""
    is_free = (frames.component != NO_COMPONENT) & ~np.isin(
        np.arange(len(frames.shift)), frames.anchors
    )
    majority = find_majority(frames.shift, frames.part_step.astype(np.float64), is_free)
    if majority is None:
        return frames
    stated = frames.stated_std * majority.widening[:, None]
    of_parts = np.hypot(compute_jackknife_std(majority.part_step), majority.step_error)
    return replace(
        frames,
        shift=majority.shift,
        shift_std=join_std(stated, of_parts),
        stated_std=stated,
        part_std=of_parts,
        part_step=majority.part_step.astype(np.float32),
        part_weight=majority.part_weight.astype(np.float32),
        step_error=majority.step_error,
    )


def _determine_status(pairs: PairTable, is_known: Bools) -> NDArray[np.int8]:
    """Determine the status of every frame (code).

    That of reading the frame or, if it was read, why it has no shift, or that it is dissimilar.
    """
    usable = np.zeros(len(is_known), bool)
    usable[pairs.reference[pairs.ok]] = usable[pairs.moving[pairs.ok]] = True
    reason = np.where(usable, FrameStatus.INCONSISTENT.code, FrameStatus.DISCONNECTED.code)
    is_lost = pairs.is_readable & ~is_known
    status = np.where(is_lost, reason, pairs.frame_read_status).astype(np.int8)
    status[find_dissimilar_frames(pairs) & (status == FrameStatus.OK.code)] = (
        FrameStatus.DISSIMILAR.code
    )
    return status


def _fill_stated_variance(pairs: PairTable) -> NDArray[np.float64]:
    """Take the variance of pairs (pairs, axes), px²; where not stated, the median of that axis."""
    variance = pairs.shift_std**2
    stated = pairs.ok[:, None] & np.isfinite(variance)
    for axis in range(variance.shape[1]):
        stated_values = variance[stated[:, axis], axis]
        fallback = float(np.median(stated_values)) if len(stated_values) else 1.0
        variance[:, axis] = np.where(stated[:, axis], variance[:, axis], fallback)
    return np.maximum(variance, SMALLEST_STD**2)


@dataclass(frozen=True, eq=False)
class _Solved:
    """Shifts, stated errors, own variances (frames, axes), steps of parts, and pairs' weights."""

    shift: NDArray[np.float64]
    std: NDArray[np.float64]
    part_step: NDArray[np.float64]
    own_variance: NDArray[np.float64]
    weights: NDArray[np.float64]


def _solve_least_squares(
    system: System,
    component: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
    steps: NDArray[np.float32],
) -> _Solved:
    """Solve weighted least squares, axis by axis, all components at once.

    `component` is that of every frame; `measured` and `variance` are (pairs, axes), px and px²;
    `steps` (pairs, parts, axes), px.
    """
    shift = np.zeros((system.frame_count, measured.shape[1]))
    part_step = np.full((system.frame_count, *steps.shape[1:]), np.nan)
    std, own_variance, weights = np.zeros_like(shift), np.zeros_like(shift), np.zeros_like(measured)
    pair_component, free, count = component[system.start], system.free, len(system.held)
    freedom = np.bincount(pair_component, minlength=count) - np.bincount(
        component[free], minlength=count
    )
    # with few residuals, stated variances stand in for the missing ones, up to FEW_RESIDUALS in all
    prior_freedom = np.maximum(FEW_RESIDUALS - freedom, 0)
    no_pairs = np.zeros(0, np.int64)
    for axis in range(measured.shape[1] if len(measured) else 0):
        axis_weights, axis_shift, residual, solver = _fit_weighted(
            system, pair_component, freedom, measured[:, [axis]], variance[:, axis]
        )
        weights[:, axis], shift[:, axis] = axis_weights, axis_shift[:, 0]
        chi_square = np.bincount(pair_component, axis_weights * residual[:, 0] ** 2, len(freedom))
        residual_fraction = (chi_square + prior_freedom) / (freedom + prior_freedom)
        shared = estimate_shared_fraction(residual_fraction, freedom + prior_freedom)
        axis_own = estimate_own_variances(
            system.start, system.end, system.frame_count, shared[pair_component] / axis_weights
        )
        of_anchor = axis_own[system.held]
        free_variance, _ = solver.compute_variances(no_pairs, no_pairs)
        averaged = free_variance * residual_fraction[component[free]]
        std[free, axis] = np.sqrt(averaged + axis_own[free] + of_anchor[component[free]])
        own_variance[:, axis] = axis_own
        part_step[..., axis] = solve_parts(system, solver, axis_weights, steps[..., axis])
    return _Solved(shift, std, part_step, own_variance, weights)


def _fit_weighted(
    system: System,
    pair_component: NDArray[np.int64],
    freedom: NDArray[np.int64],
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], Solver]:
    """Fit one axis by least squares, with weights adjusted until they match the residuals.

    A common variance, px², is added to all pairs of a component so that chi-square equals its
    expectation, the `freedom`; 0 where chi-square does not exceed that without it. It is found by
    Newton's method on 1 / chi-square, which is nearly linear in it (the derivative of chi-square,
    at the best solution, is that at fixed residuals: ``- sum w² r²``).

    Returns
    -------
    weights (pairs,), shifts (frames, 1), residuals (pairs, 1), and the solver of the last system
    """
    extra = np.zeros(len(freedom))
    for _ in range(MOST_STEPS):
        weights = 1 / (variance + extra[pair_component])
        shift, residual, solver = system.fit(weights, measured)
        squares = weights * residual[:, 0] ** 2
        chi_square = np.bincount(pair_component, squares, len(freedom))
        slope = np.bincount(pair_component, weights * squares, len(freedom))
        unsettled = (freedom > 0) & (np.abs(chi_square - freedom) > CLOSE * freedom)
        unsettled &= (chi_square > freedom) | (extra > 0)
        if not unsettled.any():
            break
        expected, current, derivative = freedom[unsettled], chi_square[unsettled], slope[unsettled]
        step = (1 / expected - 1 / current) * current**2 / derivative
        extra[unsettled] = np.maximum(extra[unsettled] + step, 0)
    return weights, shift, residual, solver
