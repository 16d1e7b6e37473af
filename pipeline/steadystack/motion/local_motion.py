"""The local motion of every frame: measured in boxes, solved over graphs, smoothed, in rounds.

In each round, frames are moved by their fields, and the remaining shifts of boxes are measured in
every pair. Each box is solved over the graph of the pairs in which it was measured. The shifts of
all boxes in a frame, relative to the frame's own shift, are then turned into a smooth field at the
nodes of a grid.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine
from steadystack.measure import Method
from steadystack.model import NO_COMPONENT, Bools, FrameSource, FrameTable, LocalStatus, PairTable
from steadystack.motion.fit_tasks import run_in_groups, share_with_tasks
from steadystack.motion.local_pairs import BoxGrid, PairsToScore, ScoredPairs, score_pairs
from steadystack.motion.local_prior import (
    BoxShifts,
    Chain,
    Prior,
    estimate_prior,
    find_fields,
    find_fields_in_time,
)
from steadystack.motion.series_motion import choose_pairs
from steadystack.solve import fit_graph
from steadystack.warp import LocalField, make_nodes

log = logging.getLogger(__name__)

# Most rounds. They end once no node moves by more than this many pixels, or by more than this share
# of its standard deviation, whichever is larger.
MOST_ROUNDS, STILL_PX, STILL_STD = 6, 0.02, 0.2
# Numbers of boxes tried along the longest axis, most first; the smallest side of a box, pixels, by
# number of axes; and the largest error, pixels, of a box's shift in a pair, median.
COUNTS, SMALLEST_BOX, LARGEST_BOX_STD = (12, 10, 8, 6, 5, 4, 3, 2), {2: 18, 3: 12}, 0.35
TRIED_PAIRS = 12
SMALLEST_STD = 1e-4  # px, smallest error of a box in a pair
MOST_BOXES = 256  # in volumes: estimating the prior takes longer with more
# A node counts as measured if, along every axis, a measured box's centre is nearer than this, box
# sides.
NEAR_BOX = 0.7
_Measure = Callable[[NDArray[np.intp], LocalField, BoxGrid], ScoredPairs]


@dataclass(frozen=True, eq=False)
class _LocalRound:
    """The result of a round.

    Attributes
    ----------
    field : of all frames
    std : standard deviations at the nodes (frames, nodes, axes), pixels
    boxes : their shifts, from which the field was made
    prior : of the fields
    chain : how fields vary in time; None: not smooth in time
    """

    field: LocalField
    std: NDArray[np.float64]
    boxes: BoxShifts
    prior: Prior
    chain: Chain | None = None


def solve_local_motion(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    grid: Sequence[int] | None = None,
    *,
    in_time: bool = False,
    anchor: int = 0,
    robust: bool = True,
    client: Engine = None,
) -> FrameTable:
    """Add local shifts to solved frames, at the nodes of a grid over the anchor frame.

    The frames' own shifts are unchanged. Frames not connected to the anchor get no local shifts.

    Parameters
    ----------
    frames : as returned by `solve_shifts`
    method : for frames or volumes that are a single block
    grid : nodes along each axis; None: as many as the boxes between them can be measured well for
    in_time : whether fields are assumed to be smooth in time, too
    anchor, robust : as in `solve_shifts`

    Raises
    ------
    RunError
        If a task fails.
    """
    measure = _prepare_measuring(source, pairs, method, client)
    rows = _choose_rows(pairs, frames, only_near=True)
    boxes, now = _choose_start(source.frame_shape, rows, frames, measure, grid)
    for number in range(MOST_ROUNDS):
        before = now
        now = _go_round(pairs, rows, before, frames, boxes, measure, anchor, robust, in_time)
        change = np.abs(now.field.values - before.field.values)
        still = np.maximum(STILL_PX, STILL_STD * now.std.reshape(change.shape))
        if number and not (change > still).any():
            break
        rows = _choose_rows(pairs, frames, only_near=False)
    else:
        now = replace(now, std=np.hypot(now.std, change.reshape(now.std.shape)))
    return _fill_in(frames, now, boxes)


def measure_boxes_once(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    *,
    anchor: int = 0,
    robust: bool = True,
    client: Engine = None,
) -> tuple[BoxGrid, BoxShifts, Prior]:
    """Measure boxes of frames that are only shifted, in one round of their near pairs.

    Returns the boxes, their shifts, and the most likely prior of fields. Parameters are as in
    `solve_local_motion`.
    """
    measure = _prepare_measuring(source, pairs, method, client)
    rows = _choose_rows(pairs, frames, only_near=True)
    boxes, start = _choose_start(source.frame_shape, rows, frames, measure)
    seen = _go_round(pairs, rows, start, frames, boxes, measure, anchor, robust)
    return boxes, seen.boxes, seen.prior


def _prepare_measuring(
    source: FrameSource, pairs: PairTable, method: Method, client: Engine
) -> _Measure:
    """Make a function that measures boxes in the pairs of some rows, frames moved by a field."""
    shared = share_with_tasks(source, method, client)

    def measure(rows: NDArray[np.intp], field: LocalField, boxes: BoxGrid) -> ScoredPairs:
        return _measure_all(pairs, rows, field, boxes, client, shared)

    return measure


def _choose_rows(pairs: PairTable, frames: FrameTable, *, only_near: bool) -> NDArray[np.intp]:
    """Choose the rows of pairs of frames that are connected to the anchor."""
    component = np.where(frames.component == 0, 0, NO_COMPONENT)
    rows = choose_pairs(pairs, frames.shift, component, only_near=only_near)
    return np.asarray(rows[component[pairs.reference[rows]] == 0], np.intp)


def _choose_start(
    frame_shape: Sequence[int],
    rows: NDArray[np.intp],
    frames: FrameTable,
    measure: _Measure,
    grid: Sequence[int] | None = None,
) -> tuple[BoxGrid, _LocalRound]:
    """Choose boxes, between the nodes of a grid or the finest that can be measured; and start."""
    shape = tuple(frame_shape)
    if grid is None:
        boxes = _choose_boxes(shape, rows, frames, measure)
    else:
        boxes = BoxGrid(shape, tuple(count - 1 for count in grid))
    return boxes, _start(make_nodes(shape, [count + 1 for count in boxes.counts]), frames, boxes)


def _choose_boxes(
    shape: tuple[int, ...], rows: NDArray[np.intp], frames: FrameTable, measure: _Measure
) -> BoxGrid:
    """Choose the finest boxes whose shifts are measured well enough in pairs."""
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(TRIED_PAIRS, len(rows))).astype(int))]
    longest = max(shape)
    for count in COUNTS:
        counts = tuple(max(round(count * size / longest), 1) for size in shape)
        boxes = BoxGrid(shape, counts)
        cut = [side for side, along in zip(boxes.sides, counts, strict=True) if along > 1]
        is_fine = len(shape) > 2 and math.prod(counts) > MOST_BOXES
        if (is_fine or min(cut, default=np.inf) < SMALLEST_BOX[len(shape)]) and count > COUNTS[-1]:
            continue
        nodes = make_nodes(shape, [count + 1 for count in counts])
        scored = measure(chosen, _start(nodes, frames, boxes).field, boxes)
        if np.sqrt(np.nanmedian(np.append(scored.variance, np.inf))) <= LARGEST_BOX_STD:
            break
    return boxes


def _start(nodes: Any, frames: FrameTable, boxes: BoxGrid) -> _LocalRound:
    """Make the state before the first round: frames are only shifted."""
    grid = [len(each) for each in nodes]
    count, ndim = frames.shift.shape
    alike = frames.shift.reshape(count, *(1 for _ in grid), ndim)
    values = np.broadcast_to(alike, (count, *grid, ndim))
    nothing = np.full((count, *boxes.centres.shape), np.nan)
    unknown = BoxShifts(boxes.centres, nothing, nothing, np.nan_to_num(frames.shift_std))
    flat = Prior(0.0, 1.0, np.zeros(len(values)), 0.0)
    return _LocalRound(LocalField(nodes, values.copy()), np.zeros(()), unknown, flat)


def _measure_all(
    pairs: PairTable,
    rows: NDArray[np.intp],
    field: LocalField,
    boxes: BoxGrid,
    client: Engine,
    shared: Sequence[Any],
) -> ScoredPairs:
    """Measure the boxes in the pairs of these rows, in tasks."""
    ends = np.stack([pairs.reference, pairs.moving], axis=1)[rows]
    inverted = pairs.ncc[rows] < 0

    def cut(some: NDArray[np.intp]) -> PairsToScore:
        frames = np.unique(ends[some])
        return PairsToScore(ends[some], inverted[some], frames, field[frames], boxes)

    whole = ScoredPairs.unknown(len(ends), boxes)
    for some, answer in run_in_groups(score_pairs, ends, cut, boxes.shape, client, shared):
        for name in ("step", "variance", "place"):
            getattr(whole, name)[some] = getattr(answer, name)
    return whole


def _go_round(
    pairs: PairTable,
    rows: NDArray[np.intp],
    before: _LocalRound,
    frames: FrameTable,
    boxes: BoxGrid,
    measure: _Measure,
    anchor: int,
    robust: bool,
    in_time: bool = False,
) -> _LocalRound:
    """Measure the shifts that remain beyond the fields, and find new fields."""
    field = before.field
    scored = measure(rows, field, boxes)
    ends = np.stack([pairs.reference, pairs.moving], axis=1)[rows]
    left, variance = _solve_boxes(ends, scored, len(frames.shift), anchor, robust)
    known = np.isfinite(scored.place)
    count = np.maximum(known.sum(axis=0), 1)
    place = np.where(known, scored.place, 0).sum(axis=0) / count
    place = np.where(known.any(axis=0), place, boxes.centres)
    off = field.at_places(place) + left - frames.shift[:, None]
    shifts = BoxShifts(place, off, variance, np.nan_to_num(frames.shift_std))
    prior = estimate_prior(shifts, max(boxes.shape), float(boxes.sides.max()))
    chain = None
    if in_time:
        mean, std, chain = find_fields_in_time(shifts, prior, field.places, anchor)
    else:
        mean, std = find_fields(shifts, prior, field.places)
    values = (frames.shift[:, None] + mean).reshape(field.values.shape)
    return _LocalRound(LocalField(field.nodes, values), std, shifts, prior, chain)


def _solve_boxes(
    ends: NDArray[np.int64], scored: ScoredPairs, count: int, anchor: int, robust: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve the remaining shifts over the graph of each box.

    Returns values, px, and variances, px² (frames, boxes, axes); NaN where the box of a frame is
    not connected to that of the anchor.
    """
    left = np.full((count, *scored.step.shape[1:]), np.nan)
    variance = np.full_like(left, np.nan)
    for box in range(left.shape[1]):
        told = np.flatnonzero(np.isfinite(scored.step[:, box]).all(axis=1))
        if not len(told):
            continue
        stated = np.maximum(scored.variance[told, box], SMALLEST_STD**2)
        no_parts = np.full((len(told), 1, left.shape[2]), np.nan, np.float32)
        fit = fit_graph(
            ends[told], scored.step[told, box], stated, no_parts, count,
            anchor=anchor, robust=robust,
        )  # fmt: skip
        if fit.component[anchor] == NO_COMPONENT:
            continue
        known = fit.component == 0
        left[known, box], variance[known, box] = fit.value[known], fit.stated_std[known] ** 2
    return left, variance


def _fill_in(frames: FrameTable, last: _LocalRound, boxes: BoxGrid) -> FrameTable:
    """Make the table of frames with their local shifts."""
    values, grid = last.field.values, last.field.values.shape[1:-1]
    std = last.std.reshape(values.shape)
    known = last.boxes.known
    off = np.abs(last.field.places[:, None] - last.boxes.places) / boxes.sides
    beside: Bools = np.asarray((off < NEAR_BOX).all(axis=2))  # (nodes, boxes)
    seen = np.asarray(known @ beside.T.astype(float) > 0).reshape(len(known), *grid)
    status = np.where(seen & (not last.prior.is_flat), LocalStatus.OK.code, LocalStatus.FRAME.code)
    unknown = ~np.isfinite(frames.shift).all(axis=1) | (frames.component != 0)
    status[unknown] = LocalStatus.UNKNOWN.code
    blank = unknown.reshape(-1, *(1 for _ in values.shape[1:]))
    _log_result(last, boxes, seen[~unknown])
    return replace(
        frames,
        nodes=last.field.nodes,
        local_shift=np.where(blank, np.nan, values),
        local_shift_std=np.where(blank, np.nan, std),
        local_status=status.astype(np.int8),
    )


def _log_result(last: _LocalRound, boxes: BoxGrid, seen: Bools) -> None:
    """Log the result."""
    counts = " x ".join(str(count + 1) for count in boxes.counts)
    apart = " x ".join(f"{side:.0f}" for side in boxes.sides)
    grid = f"motion.model local: {counts} nodes, {apart} px apart"
    if last.prior.is_flat:
        log.info("%s; no local motion is seen: all nodes have the frame's own shift", grid)
        return
    share = 100 * seen.mean() if seen.size else 0.0
    in_time = f", correlation of neighbouring frames {last.chain.memory:g}" if last.chain else ""
    log.info(
        "%s; local motion of up to %.2g px (root mean square of a frame), smooth over %.0f px%s; "
        "%.0f %% of the nodes are seen",
        grid, last.prior.size.max(), last.prior.length, in_time, share,
    )  # fmt: skip
