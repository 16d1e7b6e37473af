"""Estimate the shift of each new frame at once, from pairs with some frames before it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.checks import is_majority_confirmed
from steadystack.measure import (
    HeldFrames,
    ReadSummary,
    find_cheapest_cell,
    find_pair_centres,
    measure_pairs,
    prepare_block,
    read_camera_images,
    read_common_mask,
)
from steadystack.model import (
    FRAME_FIELDS,
    NO_COMPONENT,
    FrameStatus,
    FrameTable,
    PairStatus,
    PairTable,
)
from steadystack.planning import Setup, set_up
from steadystack.quality import widen_errors
from steadystack.register import Search
from steadystack.solve import solve_shifts
from steadystack.survey import find_coarse_shift

# A frame is measured against this many before it, one at this separation, and an early one.
LAST, BACK = 2, 8
# After this many consecutive frames that do not match the early one, a later one replaces it.
MISSES = 3
# Range searched around the previous frame's shift if the settings leave it open: a side over SHARE,
# but LEAST to MOST px.
SHARE, LEAST, MOST = 8, 32, 128
# How many of these frames, and the early one, are held for the next frame, if a frame has at most
# this many pixels: that takes some 150 bytes per pixel in all.
MOST_HELD, LARGEST_HELD = 2, 2**23
# Their searches have room for shifts of this much, px, or twice as much if centres go farther.
LEAST_REACH = 4
# Statuses of pairs whose shift may lie elsewhere.
MAY_LIE_FARTHER = tuple(
    status.code
    for status in (PairStatus.LOW_NCC, PairStatus.AT_SEARCH_LIMIT, PairStatus.LOW_OVERLAP)
)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is known about a frame.

    Attributes
    ----------
    shift, std : (axes,) pixels, relative to the frame `anchor`; NaN where not known
    status : that of the frame
    anchor : -1: none, as the frame has no shift
    """

    shift: NDArray[np.float64]
    std: NDArray[np.float64]
    status: FrameStatus
    anchor: int


class ProvisionalShifts:
    """Measures one frame after another, and solves all pairs so far for the newest one's shift.

    As in a run, errors follow from all pairs: pairs with an early frame keep them from
    accumulating. `attributes` are those of the dataset of an earlier run, if there is one, and
    `table` its pairs.
    """

    def __init__(
        self,
        setup: Setup,
        table: PairTable | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        source = setup.series.source
        nothing = np.empty((0, 2), np.int64)
        self.table = (
            PairTable.of_frames(nothing, source)
            if table is None
            else table.select_pairs(np.flatnonzero(~table.to_do))
        )
        self._attributes = attributes or {}
        self._early, self._misses = -1, 0
        self._held, self._prepared_by = HeldFrames(), list_preparation(setup)
        self._solved = self._solve(setup)

    def estimate(self, setup: Setup, frame: int) -> Estimate:
        """Measure a complete frame; the run is that of the current stack."""
        self.table = resize_frames(self.table, setup.series.source.frame_count)
        if (prepared_by := list_preparation(setup)) != self._prepared_by:
            self._held, self._prepared_by = HeldFrames(), prepared_by
        references = self._choose_references(frame)
        if references:
            self._measure(setup, frame, references)
        else:
            self.table.frame_read_status[frame] = read_status(setup, frame).code
        self._solved = self._solve(setup)
        return self._make_estimate(frame, is_first=not references)

    def forget(self, frame: int) -> None:
        """Drop a frame's results, to measure it again."""
        others = (self.table.reference != frame) & (self.table.moving != frame)
        self.table = self.table.select_pairs(np.flatnonzero(others))
        self._held = HeldFrames()
        self.table.frame_read_status[frame] = FrameStatus.UNMEASURED.code

    def _make_estimate(self, frame: int, is_first: bool) -> Estimate:
        solved, status = self._solved, FrameStatus.from_code(self._solved.status[frame])
        assert isinstance(status, FrameStatus)
        if solved.component[frame] != NO_COMPONENT:
            anchor = solved.anchors[int(solved.component[frame])]
            return Estimate(solved.shift[frame], solved.shift_std[frame], status, anchor)
        axes = solved.shift.shape[1]
        read = FrameStatus.from_code(self.table.frame_read_status[frame])
        if is_first and read is FrameStatus.OK:
            return Estimate(np.zeros(axes), np.zeros(axes), FrameStatus.OK, frame)
        return Estimate(np.full(axes, np.nan), np.full(axes, np.nan), status, -1)

    def _solve(self, setup: Setup) -> FrameTable:
        settings, count = setup.config.solve, len(self.table.frame_read_status)
        solved = solve_shifts(
            self.table,
            anchor=settings.anchor if settings.anchor < count else 0,
            robust=settings.robust,
            leave_out_parts=settings.may_leave_out_parts
            and is_majority_confirmed(self._attributes),
        )
        return widen_errors(solved, self._attributes)

    def _choose_references(self, frame: int) -> list[int]:
        """Choose the frames before one that it is measured against; [], if there are none."""
        usable = np.flatnonzero(self.table.frame_read_status[:frame] == FrameStatus.OK.code)
        if not len(usable):
            return []
        known = usable[self._solved.component[usable] != NO_COMPONENT]
        chosen = usable[-LAST:].tolist() + known[-1:].tolist()
        earlier = known[known <= frame - BACK]
        chosen += earlier[-1:].tolist()
        if self._early < 0:
            self._early = int(known[0] if len(known) else usable[0])
        elif self._misses >= MISSES and len(earlier):
            self._early, self._misses = int(earlier[-1]), 0
        return sorted({*chosen, self._early})

    def _measure(self, setup: Setup, frame: int, references: list[int]) -> None:
        """Measure the pairs of a frame: around its expected shift, or at every lag."""
        nearest = max(
            references, key=lambda one: (self._solved.component[one] != NO_COMPONENT, one)
        )
        expected, near = self._expect(setup, frame, nearest), bound_around(setup)
        found = measure_around(near, frame, references, expected, self._held)
        farther = near is not setup or setup.method.widen
        if farther and np.isin(found.status, MAY_LIE_FARTHER).all():
            coarse = find_coarse_shift(setup, nearest, frame)
            if coarse is not None:
                expected[frame] = expected[nearest] + coarse
                found = measure_around(near, frame, references, expected, self._held)
        self._held.keep_only({*references[-MOST_HELD:], self._early, frame})
        early = found.ok[found.reference == self._early]
        self._misses = 0 if early.any() else self._misses + 1
        self.table = join(self.table, found)

    def _expect(self, setup: Setup, frame: int, nearest: int) -> NDArray[np.float64]:
        """Expected shifts (frames, axes), px: as solved, and that of `nearest` for the new frame.

        Frames whose shift is not known relative to that one are expected where the new one is.
        """
        solved, known = self._solved, setup.series.initial_shifts
        is_near = solved.component == solved.component[nearest]
        is_near &= (solved.component != NO_COMPONENT) | (np.arange(len(is_near)) == nearest)
        there = np.nan_to_num(solved.shift[nearest])
        new = there if known is None else there + known[frame] - known[nearest]
        expected = np.full((setup.series.source.frame_count, len(new)), new)
        near = np.flatnonzero(is_near)
        expected[near] = np.nan_to_num(solved.shift[near])
        return expected


def list_preparation(setup: Setup) -> tuple[object, ...]:
    """List all that frames are prepared with; a mask edited meanwhile counts as another one."""
    validity, method = setup.series.validity, setup.method
    masks = [mask.digest for mask in validity.masks if not mask.per_frame]
    return method.region, method.conditioning, replace(validity, masks=()), tuple(masks)


def bound_around(setup: Setup) -> Setup:
    """The run with a bounded search: bounds from the settings, or some around a centre."""
    if setup.method.search.max_shift is not None:
        return setup
    sides = np.array(setup.method.search.shape)
    bounds = np.minimum(np.clip(sides // SHARE, LEAST, MOST), sides - 1)
    update = {"max_shift": tuple(bounds.tolist()), "widen": False}
    register = setup.config.register_.model_copy(update=update)
    config = setup.config.model_copy(update={"register_": register})
    again = set_up(config, replace(setup.series, initial_shifts=None))
    kept = replace(
        again.method, flat_field=setup.method.flat_field, fixed_pattern=setup.method.fixed_pattern
    )
    return replace(again, method=kept)


def measure_around(
    setup: Setup,
    frame: int,
    references: Sequence[int],
    expected: NDArray[np.float64],
    held: HeldFrames | None = None,
) -> PairTable:
    """Measure the pairs of a frame, each around its expected shift (frames, axes), px.

    `held` are frames that are kept in memory, read and prepared.
    """
    source = setup.series.source
    pairs = np.array([[reference, frame] for reference in references])
    method = replace(setup.method, initial_shifts=expected, widen=False)
    centres = find_pair_centres(method, pairs)
    assert centres is not None
    method = replace(method, cell=choose_cell(centres, pairs, method.search))
    has_camera_image = method.flat_field is not None or method.fixed_pattern is not None
    if has_camera_image or math.prod(method.search.shape) > LARGEST_HELD:
        held = None
    elif held is not None:
        method = replace(method, keep=(*method.keep, "value"))
    table = PairTable.of_frames(pairs, source)
    deque(measure_pairs(source, table, method, setup.size, held=held), maxlen=0)
    return table


def choose_cell(
    centres: NDArray[np.int64], pairs: NDArray[np.int64], search: Search
) -> tuple[int, ...]:
    """Choose the cell of a frame's searches, a constant one, so that held frames can be used.

    It has room for all centres, and twice as much if they go farther; if that would be much
    compared with the search, it is the cheapest one.
    """
    reach = np.maximum(np.abs(centres).max(axis=0), LEAST_REACH)
    half = 2 ** np.ceil(np.log2(reach)).astype(int)
    if search.max_shift is not None and (2 * half <= search.max_shift).all():
        return tuple((2 * half + 1).tolist())
    return find_cheapest_cell(centres, pairs, search)


def read_status(setup: Setup, frame: int) -> FrameStatus:
    """Read and prepare a frame without a pair, for its status."""
    source, method = setup.series.source, setup.method
    whole: ReadSummary | None = None
    for block in range(len(method.search.blocks)):
        images = read_camera_images(method, source.frame_shape, block)
        masks = [read_common_mask(source, block, method)]
        _, summary = prepare_block(source, frame, block, method, images, masks)
        whole = summary if whole is None else whole.plus(summary)
    assert whole is not None
    return whole.frame_read_status


def resize_frames(table: PairTable, count: int) -> PairTable:
    """The table resized to `count` frames; new ones are not measured."""
    before = len(table.frame_read_status)
    if count <= before:
        return table
    empty = PairTable.unmeasured(np.empty((0, 2), np.int64), count - before, *table.sizes_of_pair)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(table, name), getattr(empty, name)]) for name in FRAME_FIELDS
    }
    return replace(table, **columns)


def join(table: PairTable, found: PairTable) -> PairTable:
    """The table with further pairs, and the results of reading their frames."""
    both, read = table.plus(found), found.frame_read_status != FrameStatus.UNMEASURED.code
    for name in FRAME_FIELDS:
        getattr(both, name)[: len(read)][read] = getattr(found, name)[read]
    return both
