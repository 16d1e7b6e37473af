"""The linear motion of every frame: fitted to pairs, solved over their graph, in rounds.

In each round, frames are moved by their known motion, and the remaining motion of every pair is
measured. It is small, and small motions are additive, so it is solved over the graph like shifts:
first the linear part, then the shifts of the frames' middles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import (
    NO_COMPONENT,
    Bools,
    FrameSource,
    FrameStatus,
    FrameTable,
    Ints,
    PairTable,
)
from steadystack.motion.fit_tasks import (
    FittedPairs,
    PairsToFit,
    fit_all,
    share_with_tasks,
)
from steadystack.motion.generators import (
    compute_linear_std,
    compute_turn_rates,
    count_turns,
    exponentiate,
    make_generators,
)
from steadystack.parts import compute_jackknife_std
from steadystack.solve import GraphFit, fit_graph
from steadystack.warp import compute_scale

# Most rounds. They end once no frame moves by more than this many pixels, or this share of its
# standard deviation, whichever is larger.
MOST_ROUNDS, STILL_PX, STILL_STD = 8, 0.01, 0.1
# The first round uses pairs with up to this many times the separation that the graph needs to be
# connected: in others, frames have turned too far.
NEAR = 2
# A frame with a magnification above this, or below its inverse, is not known.
MOST_SCALE = 2.0
# Interpolated frames differ from the anchor, which is not interpolated, at the ends of a volume: an
# error, px, of this over the squared number of planes. (With 8, 20 and 32 planes and hardly any
# noise, shifts along z were off by 0.025, 0.009 and 0.001 px; turns by a quarter of that.)
OFF_AT_ENDS = 2.0
# Smallest error of a pair, px.
SMALLEST_STD = 1e-4


@dataclass(frozen=True, eq=False)
class _Round:
    """The result of a round: the rows of the pairs that were fitted, and their solution."""

    rows: NDArray[np.intp]
    linear: GraphFit
    shift: GraphFit

    @property
    def move(self) -> NDArray[np.float64]:
        """By how much frames were moved (frames, coefficients), px; NaN where not known."""
        return np.concatenate([self.linear.value, self.shift.value], axis=1)

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviations of `move` (frames, coefficients), px."""
        return np.concatenate([self.linear.std, self.shift.std], axis=1)

    @property
    def is_last(self) -> bool:
        """Whether no frame moved noticeably."""
        small = np.maximum(STILL_PX, STILL_STD * np.nan_to_num(self.std))
        return bool((np.abs(np.nan_to_num(self.move)) <= small).all())


def solve_motion(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    model: str,
    *,
    pixel_size: Sequence[float] | None = None,
    anchor: int = 0,
    robust: bool = True,
    client: Engine = None,
) -> FrameTable:
    """Add the linear motion to solved frames, whose shifts become those of their middles.

    A frame whose linear motion is not known has no shift, either. `part_step` is NaN in all frames.

    Parameters
    ----------
    frames : as returned by `solve_shifts`
    method : for frames or volumes that are a single block
    model : "rigid", "similarity" or "affine"
    pixel_size : as in `make_generators`
    anchor, robust : as in `solve_shifts`

    Raises
    ------
    RunError
        If a task fails.
    """
    shape, count = source.frame_shape, len(frames.shift)
    generators = make_generators(model, shape, pixel_size)
    shared = share_with_tasks(source, method, client)
    linear, shift = np.tile(np.eye(len(shape)), (count, 1, 1)), frames.shift.copy()
    for number in range(MOST_ROUNDS):
        rows = choose_pairs(pairs, shift, frames.component, only_near=not number)
        task = _make_task(pairs, rows, linear, shift, generators, shape)
        now = _solve(rows, task, fit_all(task, source, client, shared), anchor, robust)
        move = np.nan_to_num(now.move)
        linear = exponentiate(move[:, : len(generators)], generators) @ linear
        shift = shift + move[:, len(generators) :]
        scale = compute_scale(linear)
        shift[(scale > MOST_SCALE) | (scale < 1 / MOST_SCALE)] = np.nan
        if number and now.is_last:
            break
    # if the rounds did not converge, the last step is added to the error
    std = now.std if now.is_last else np.hypot(now.std, now.move)
    std = np.where(std > 0, np.hypot(std, _estimate_off_at_ends(shape, len(generators))), std)
    return _fill_in(pairs, frames, now, linear, shift, std, generators)


def measure_linear_once(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    model: str,
    *,
    pixel_size: Sequence[float] | None = None,
    anchor: int = 0,
    robust: bool = True,
    client: Engine = None,
) -> GraphFit:
    """Measure the linear motion that remains beyond the known one, in one round of pairs.

    Only near pairs, if frames are only shifted. Returns coefficients of the generators of a model,
    pixels. Parameters are as in `solve_motion`.
    """
    shape, shift = source.frame_shape, frames.shift
    known = np.asarray(np.isfinite(frames.linear).all(axis=(1, 2)))
    linear = np.where(known[:, None, None], frames.linear, np.eye(len(shape)))
    if known.any():
        shift = np.where(known[:, None], shift, np.nan)
    rows = choose_pairs(pairs, shift, frames.component, only_near=not known.any())
    generators = make_generators(model, shape, pixel_size)
    task = _make_task(pairs, rows, linear, shift, generators, shape)
    fitted = fit_all(task, source, client, share_with_tasks(source, method, client))
    return _solve(rows, task, fitted, anchor, robust).linear


def compare_pairs(
    source: FrameSource,
    ends: Ints,
    frames: FrameTable,
    method: Method,
    model: str,
    *,
    pixel_size: Sequence[float] | None = None,
    client: Engine = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the motion that remains in pairs of frames moved by their known linear motion.

    Parameters
    ----------
    ends : (pairs, 2), frames whose linear motion is known
    method, model, pixel_size, client : as in `solve_motion`

    Returns
    -------
    left, error : (pairs, coefficients) of turns, magnification if the model has it, and shifts:
        pixels, and the standard deviations from the pair and from both frames. NaN: not measured

    Raises
    ------
    RunError
        If a task fails.
    """
    shape = source.frame_shape
    generators, turns = make_generators(model, shape, pixel_size), count_turns(len(shape))
    task = PairsToFit.make(ends, frames.linear, frames.shift, shape, generators)
    fitted = fit_all(task, source, client, share_with_tasks(source, method, client))
    kinds = min(turns + 1, len(generators))
    taken = [*range(kinds), *range(len(generators), task.columns)]
    rotation = frames.rotation_std[:, None] if turns == 1 else frames.rotation_vector_std
    stated = [rotation / compute_turn_rates(generators), frames.shift_std]
    if kinds > turns:
        scale = frames.scale_std / compute_scale(frames.linear) / generators[turns, 0, 0]
        stated.insert(1, scale[:, None])
    of_frames = np.concatenate(stated, axis=1)[task.pairs]
    own = compute_jackknife_std(fitted.group_step)[:, taken]
    return fitted.step[:, taken], np.sqrt(own**2 + (of_frames**2).sum(axis=1))


def _make_task(
    pairs: PairTable,
    rows: NDArray[np.intp],
    linear: NDArray[np.float64],
    shift: NDArray[np.float64],
    generators: NDArray[np.float64],
    shape: Sequence[int],
) -> PairsToFit:
    """Make the task of the pairs of these rows, with the known motion of their frames."""
    ends = np.stack([pairs.reference, pairs.moving], axis=1)[rows]
    return PairsToFit.make(ends, linear, shift, shape, generators, pairs.ncc[rows] < 0)


def choose_pairs(
    pairs: PairTable, shift: NDArray[np.float64], component: Ints, *, only_near: bool
) -> NDArray[np.intp]:
    """Choose the rows of accepted pairs whose frames have shifts in the same component.

    With `only_near`, only those with up to `NEAR` times the separation that connects the graph.
    """
    known = np.asarray(np.isfinite(shift).all(axis=1))
    start, end = pairs.reference, pairs.moving
    usable = pairs.ok & known[start] & known[end] & (component[start] == component[end])
    if only_near:
        apart = np.abs(end - start)
        # scipy 1.13 takes indices of 32 bits only
        ends = start[usable].astype(np.int32), end[usable].astype(np.int32)
        graph = sparse.coo_array(
            (apart[usable].astype(np.float64), ends), (len(shift), len(shift))
        ).tocsr()
        usable &= apart <= NEAR * csgraph.minimum_spanning_tree(graph).data.max(initial=1)
    return np.flatnonzero(usable)


def _solve(
    rows: NDArray[np.intp], task: PairsToFit, fitted: FittedPairs, anchor: int, robust: bool
) -> _Round:
    """Solve the remaining motion over the graph of pairs, which are numbered by `rows`."""
    variance = compute_jackknife_std(fitted.group_step) ** 2
    told = np.isfinite(fitted.step).all(axis=1) & np.isfinite(variance).all(axis=1)
    count, size = len(task.frames), len(task.generators)
    rows, pairs, step = rows[told], task.pairs[told], fitted.step[told]
    groups, variance = fitted.group_step[told], np.maximum(variance[told], SMALLEST_STD**2)
    linear = fit_graph(
        pairs, step[:, :size], variance[:, :size], groups[..., :size], count,
        anchor=anchor, robust=robust,
    )  # fmt: skip
    agree = linear.accepted
    rows, pairs, step, groups = rows[agree], pairs[agree], step[agree], groups[agree]
    # A pair's shift is that half-way between both middles; from there, each frame has turned.
    way = np.diff(task.shift[pairs], axis=1)[:, 0] / 2
    turn = np.einsum("gij,pj->pig", task.generators, way)
    measured = step[:, size:] + np.einsum("pig,pkg->pi", turn, linear.value[pairs])
    of_groups = np.einsum("pig,pkcg->pci", turn, linear.part_step[pairs])
    groups = (groups[..., size:] + of_groups).astype(np.float32)
    shift = fit_graph(
        pairs, measured, variance[agree, size:], groups, count, anchor=anchor, robust=robust
    )  # fmt: skip
    return _Round(rows, linear, shift)


def _estimate_off_at_ends(shape: Sequence[int], generators: int) -> NDArray[np.float64]:
    """Estimate what interpolation adds to errors (coefficients,), pixels; 0 for images."""
    if len(shape) == 2:
        return np.zeros(generators + 2)
    along = OFF_AT_ENDS / np.array(shape, np.float64) ** 2
    return np.concatenate([np.full(generators, along.max() / 4), along])


def _fill_in(
    pairs: PairTable,
    frames: FrameTable,
    last: _Round,
    linear: NDArray[np.float64],
    shift: NDArray[np.float64],
    std: NDArray[np.float64],
    generators: NDArray[np.float64],
) -> FrameTable:
    """Make the table of frames with the motion known after the last round."""
    fit, size = last.shift, len(generators)
    known: Bools = np.isfinite(shift).all(axis=1) & (fit.component != NO_COMPONENT)
    unknown = ~known
    accepted = last.rows[fit.accepted]
    ends = np.concatenate([pairs.reference[accepted], pairs.moving[accepted]])
    lost = unknown & np.isfinite(frames.shift).all(axis=1)
    status = np.where(lost, FrameStatus.INCONSISTENT.code, frames.status).astype(np.int8)
    linear, shift = np.where(unknown[:, None, None], np.nan, linear), shift.copy()
    shift[unknown], std[unknown] = np.nan, np.nan
    # the predicted shift of a pair, in pixels of its reference frame
    apart = (shift[pairs.moving] - shift[pairs.reference])[..., None]
    safe = np.where(unknown[:, None, None], np.eye(shift.shape[1]), linear)
    predicted = np.linalg.solve(safe[pairs.reference], apart)[..., 0]
    weight, rejected = np.where(pairs.ok, 0.0, np.nan), pairs.ok.copy()
    weight[accepted], rejected[accepted] = fit.weights.mean(axis=1), False
    turns, ndim = count_turns(shift.shape[1]), shift.shape[1]
    rotation_std = std[:, :turns] * compute_turn_rates(generators)
    unknown_std, scale_std = np.full((len(std), ndim), np.nan), np.full(len(std), np.nan)
    if size > turns:
        scale_std = compute_scale(linear) * std[:, turns] * generators[turns, 0, 0]
    return replace(
        frames,
        shift=shift,
        shift_std=std[:, size:],
        stated_std=np.where(unknown[:, None], np.nan, fit.stated_std),
        part_std=np.where(unknown[:, None], np.nan, fit.part_std),
        part_step=np.full_like(frames.part_step, np.nan),
        part_weight=np.full_like(frames.part_weight, np.nan),
        component=np.where(unknown, NO_COMPONENT, fit.component),
        pair_count=np.bincount(ends, minlength=len(shift)),
        status=status,
        weight=weight,
        residual=pairs.shift - predicted,
        rejected=rejected,
        anchors=fit.anchors,
        linear=linear,
        linear_std=compute_linear_std(linear, std[:, :size], generators),
        rotation_std=rotation_std[:, 0] if turns == 1 else unknown_std[:, 0],
        rotation_vector_std=rotation_std if turns == ndim else unknown_std,
        scale_std=scale_std,
        own_variance=fit.own_variance,
        step_error=0.0,
    )
