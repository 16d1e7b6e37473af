"""Tables of measured pairs and solved frames, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model.findings import OutsideOutcome
from steadystack.model.images import FrameSource
from steadystack.model.schema import (
    CHANNEL,
    FRAME_FIELDS,
    NODE_X,
    NODE_Y,
    PAIR_FIELDS,
    PAIR_RESULTS,
    columns_of,
    count_parts,
)
from steadystack.model.words import Bools, FrameStatus, Ints, PairStatus, Status

HAS_PIXELS = (FrameStatus.OK, FrameStatus.INCOMPLETE)
COUNTS = 0.5  # a part with less weight counts as left out


@dataclass(frozen=True, eq=False)
class PairTable:
    """The results of measuring, as columns; row *p* is the pair (``reference[p]``, ``moving[p]``).

    Most columns have a row for every pair; those of `FRAME_FIELDS` have one for every frame, with
    the result of reading it. The columns are arrays, which measuring fills in place.

    `shift` and `shift_std` are (pairs, axes) in pixels, NaN unless the pair is ok; `status` holds
    the codes of `PairStatus`. `part_step` is (pairs, parts, axes) in pixels: how far a part of the
    frame moves the shift; NaN where not known. `channel_weight` is (pairs, channels): the
    contribution of each to the shift. `frame_read_status` has the codes of `FrameStatus` for the
    frames that were read, by frame index, and UNMEASURED for the others. `failures` has the reason
    of every row whose status is FAILED.
    """

    reference: NDArray[np.int64]
    moving: NDArray[np.int64]
    shift: NDArray[np.float64]
    shift_std: NDArray[np.float64]
    ncc: NDArray[np.float64]
    second_peak_ratio: NDArray[np.float64]
    overlap: NDArray[np.float64]
    fixed_pattern_share: NDArray[np.float64]
    part_step: NDArray[np.float32]
    channel_weight: NDArray[np.float32]
    status: NDArray[np.int8]
    frame_read_status: NDArray[np.int8]
    failures: dict[int, str] = field(default_factory=dict)

    @classmethod
    def unmeasured(cls, pairs: Ints, frame_count: int, ndim: int, channels: int = 1) -> PairTable:
        """The table of `pairs`, an integer array (pairs, 2), before anything is measured."""
        sizes = {"pair": len(pairs), "frame": frame_count, "part": count_parts(ndim), "axis": ndim}
        sizes["channel"] = channels
        columns: dict[str, Any] = {c.field: c.empty(sizes) for c in columns_of("pairs")}
        columns["reference"][:], columns["moving"][:] = pairs[:, 0], pairs[:, 1]
        return cls(**columns)

    @classmethod
    def of_frames(cls, pairs: Ints, source: FrameSource) -> PairTable:
        """The table of `pairs` (pairs, 2) of a source's frames, before anything is measured."""
        ndim, channels = len(source.frame_shape), max(len(source.channels), 1)
        return cls.unmeasured(pairs, source.frame_count, ndim, channels)

    @property
    def sizes_of_pair(self) -> tuple[int, int]:
        """The numbers of axes and channels, as arguments of `unmeasured`."""
        return self.shift.shape[1], self.channel_weight.shape[1]

    def select_pairs(self, which: slice | Ints) -> PairTable:
        """The table with some of its pairs, and all of its frames."""
        chosen = np.arange(len(self.status))[which].tolist()
        columns: dict[str, Any] = {name: getattr(self, name)[which] for name in PAIR_FIELDS}
        failures = {
            new: self.failures[old] for new, old in enumerate(chosen) if old in self.failures
        }
        return replace(self, **columns, failures=failures)

    def select_frames(self, frames: Ints, pairs: Ints) -> PairTable:
        """The table with only some of its frames; `pairs` (n, 2) are its rows, renumbered."""
        columns: dict[str, Any] = {name: getattr(self, name)[frames] for name in FRAME_FIELDS}
        columns |= {"reference": pairs[:, 0], "moving": pairs[:, 1]}
        return replace(self, **columns)

    def take_results(self, rows: Ints, other: PairTable, other_rows: Ints) -> None:
        """Fill in rows with the results of the same pairs from another table."""
        for column in PAIR_RESULTS:
            getattr(self, column.field)[rows] = getattr(other, column.field)[other_rows]
        for row, other_row in zip(rows.tolist(), other_rows.tolist(), strict=True):
            self.failures.pop(row, None)
            if other_row in other.failures:
                self.failures[row] = other.failures[other_row]

    def plus(self, other: PairTable) -> PairTable:
        """The table with the pairs of another one appended; the frames are its own."""
        both: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in PAIR_FIELDS
        }
        behind = {len(self.status) + row: reason for row, reason in other.failures.items()}
        return replace(self, **both, failures=self.failures | behind)

    def same_pairs(self, other: PairTable) -> bool:
        """Whether both have the same pairs in the same rows."""
        return np.array_equal(self.reference, other.reference) and np.array_equal(
            self.moving, other.moving
        )

    @property
    def ok(self) -> Bools:
        """Which pairs have a shift."""
        return np.asarray(self.status == PairStatus.OK.code)

    @property
    def is_readable(self) -> Bools:
        """Which frames (frames,) were read and have pixels."""
        return np.isin(self.frame_read_status, [status.code for status in HAS_PIXELS])

    @property
    def to_do(self) -> Bools:
        """Which pairs a run has to measure: new ones, and those with a temporary failure."""
        again = (PairStatus.UNMEASURED, PairStatus.FAILED, PairStatus.UNREADABLE)
        return np.isin(self.status, [status.code for status in again])

    def count(self, statuses: Iterable[PairStatus]) -> int:
        """Count the pairs with one of these statuses."""
        return int(np.isin(self.status, [status.code for status in statuses]).sum())


NO_NODES = (np.zeros(1), np.zeros(1))


@dataclass(frozen=True, eq=False)
class FrameTable:
    """The results of the solve, as columns: for every frame, and for every pair.

    `shift` and `shift_std` are (frames, axes) in pixels, NaN where not known; of the latter there
    are two sources, `stated_std`, from the noise of pairs and their residuals, and `part_std`, from
    the disagreement of the frame's parts (NaN where not known). `part_step` (frames, parts, axes)
    is how far each part moves a shift, `part_weight` (frames, parts) its weight, 0 to 1: NaN where
    all have the same. `component` numbers the connected parts of the pair graph from 0,
    `NO_COMPONENT` for frames without a usable pair, and assigns an interpolated frame to that of
    its neighbours; `status` holds the codes of `FrameStatus`: from reading, and from the solve for
    frames without a shift of their own. `weight` is (pairs,) in 1/px², the mean over the axes;
    `residual` (pairs, axes) in pixels: pair shift minus that of the solution for whole frames;
    `rejected` (pairs,) which pairs contradict the rest. `anchors` are the frames whose shift is 0,
    one per component.

    `linear` (frames, axes, axes) is the linear motion about the middle of a frame, `linear_std` its
    deviations, `rotation_std` and `scale_std` (frames,) those of its rotation in degrees and of its
    scale, `rotation_vector_std` (frames, axes) those of the rotation of a volume: NaN where not
    known, and where frames are only shifted.

    `local_shift` and `local_shift_std` (frames, nodes along each axis, axes) are pixels at `nodes`,
    places along [z,] y and x, pixels of the anchor; `local_status`, without axes, holds the codes
    of `LocalStatus`. One node along y and x, where nothing is known, if the motion is not local.

    `channel_offset` and `channel_offset_std` (channels, axes) are pixels, relative to the first
    channel, NaN where not known; `channel_offset_status` (channels,) the codes of `PairStatus`.

    Known after the solve, but not stored: `own_variance` (frames, axes), in px², is what a frame's
    own error adds to its `shift_std`, and that of the anchor to all of them; `step_error` (frames,
    axes), pixels, the uncertainty of the change of shifts by leaving parts out, included in
    `part_std`; `outside` is the outcome for an external reference, None if there is none;
    `object_middle` (axes,), pixels, is where the object is in the anchor, None if none is followed.
    """

    shift: NDArray[np.float64]
    shift_std: NDArray[np.float64]
    stated_std: NDArray[np.float64]
    part_std: NDArray[np.float64]
    part_step: NDArray[np.float32]
    part_weight: NDArray[np.float32]
    component: NDArray[np.int64]
    pair_count: NDArray[np.int64]
    status: NDArray[np.int8]
    weight: NDArray[np.float64]
    residual: NDArray[np.float64]
    rejected: Bools
    anchors: tuple[int, ...]
    linear: NDArray[np.float64]
    linear_std: NDArray[np.float64]
    rotation_std: NDArray[np.float64]
    rotation_vector_std: NDArray[np.float64]
    scale_std: NDArray[np.float64]
    local_shift: NDArray[np.float64]
    local_shift_std: NDArray[np.float64]
    local_status: NDArray[np.int8]
    channel_offset: NDArray[np.float64]
    channel_offset_std: NDArray[np.float64]
    channel_offset_status: NDArray[np.int8]
    nodes: tuple[NDArray[np.float64], ...] = NO_NODES
    own_variance: NDArray[np.float64] | float = 0.0
    step_error: NDArray[np.float64] | float = 0.0
    outside: OutsideOutcome | None = None
    object_middle: NDArray[np.float64] | None = None

    @property
    def object_position(self) -> NDArray[np.float64]:
        """Where the object is (frames, axes), pixels, NaN where not known."""
        unknown = np.full(self.shift.shape, np.nan)
        if self.object_middle is None:
            return unknown
        return np.where((self.component == 0)[:, None], self.object_middle - self.shift, unknown)

    @property
    def anchored_shift(self) -> NDArray[np.float64]:
        """The shifts relative to the anchor (frames, axes), pixels; NaN in other components."""
        return np.where((self.component == 0)[:, None], self.shift, np.nan)

    @property
    def object_position_std(self) -> NDArray[np.float64]:
        """Its deviations (frames, axes), pixels, relative to the anchor."""
        return np.where(np.isfinite(self.object_position), self.shift_std, np.nan)

    @property
    def parts_left_out(self) -> list[int]:
        """The parts of the frame with less than half weight in most frames."""
        weight = self.part_weight[np.isfinite(self.part_weight).any(axis=1)]
        if not len(weight):
            return []
        typical = np.median(np.nan_to_num(weight, nan=1), axis=0)
        return [int(part) for part in np.flatnonzero(typical < COUNTS)]

    @classmethod
    def unsolved(cls, pairs: PairTable) -> FrameTable:
        """The frames of measured pairs before the solve."""
        pair_count, ndim = pairs.shift.shape
        sizes = {
            "pair": pair_count,
            "frame": len(pairs.frame_read_status),
            "part": pairs.part_step.shape[1],
            **dict.fromkeys((NODE_Y, NODE_X), 1),
            "axis": ndim,
            "of_axis": ndim,
            CHANNEL: pairs.channel_weight.shape[1],
        }
        columns: dict[str, Any] = {c.field: c.empty(sizes) for c in columns_of("frames")}
        columns["status"] = pairs.frame_read_status
        return cls(**columns, rejected=np.zeros(pair_count, bool), anchors=())


WHY_NO_OFFSET: dict[Status, str] = {
    PairStatus.LOW_NCC: "the channels have nothing in common",
    PairStatus.AMBIGUOUS: "pairs of frames disagree about it",
    PairStatus.EMPTY: "too few pairs of frames could be measured",
    PairStatus.INVERTED: "one channel is dark where the other is bright",
}


def describe_channel_offsets(
    labels: Sequence[str],
    axes: Sequence[str],
    offset: NDArray[np.float64],
    std: NDArray[np.float64],
    status: NDArray[np.int8],
) -> Iterator[tuple[str, str]]:
    """Yield a name and a description for the offset of each channel except the first.

    Parameters
    ----------
    labels, axes : names of channels and of axes
    offset, std, status : as in the columns of `FrameTable`
    """
    for number in range(1, len(labels)):
        found = PairStatus.from_code(status[number])
        why = WHY_NO_OFFSET.get(found, f"pairs of frames are {found}")
        words = f"not known, {why}: it is moved like the first"
        if found is PairStatus.OK:
            along = zip(axes, offset[number], std[number], strict=True)
            words = ", ".join(f"{axis} {value:+.3f} ± {error:.3f}" for axis, value, error in along)
            words += " px"
        yield f"offset of channel {labels[number]}", words
