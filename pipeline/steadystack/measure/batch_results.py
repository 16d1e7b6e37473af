"""The results of batches of pairs, in one channel or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.measure.method import ReadSummary
from steadystack.model import PAIR_RESULTS, FrameStatus, Ints, PairStatus, PairTable
from steadystack.ncc import Terms
from steadystack.pairs import join_channels

# The status of a pair without a shift, or of a frame, is the first of these that one of its
# channels has: those that may change when measured or read again come first.
PAIR_STATUS_ORDER = (
    PairStatus.UNREADABLE,
    PairStatus.AT_SEARCH_LIMIT,
    PairStatus.AMBIGUOUS,
    PairStatus.INVERTED,
    PairStatus.LOW_NCC,
    PairStatus.LOW_OVERLAP,
    PairStatus.FLAT,
    PairStatus.EMPTY,
)
FRAME_STATUS_ORDER = (
    FrameStatus.UNREADABLE,
    FrameStatus.INCOMPLETE,
    FrameStatus.OK,
    FrameStatus.FLAT,
    FrameStatus.EMPTY,
    FrameStatus.MISSING,
)
# Channels in which the best shift is outside the search: they count against channels that have one
# within it.
ELSEWHERE = (PairStatus.AT_SEARCH_LIMIT, PairStatus.INVERTED)


@dataclass(frozen=True)
class BatchResult:
    """The result of a batch.

    Attributes
    ----------
    table : the rows of its pairs
    frames : numbers of the frames that were read, sorted
    columns : results of reading, by the fields of `FRAME_RESULTS`; a value for each of `frames`
    reasons : why a frame could not be read, by its number
    covariance : of the shifts (pairs, axes, axes), px²
    """

    table: PairTable
    frames: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    reasons: dict[int, str]
    covariance: NDArray[np.float64]


@dataclass(frozen=True)
class BlockResult:
    """The terms of a batch's pairs in one block of their frames, or in several together.

    Attributes
    ----------
    pairs : (pairs, 2), frames
    centres : of the searches (pairs, axes), whole pixels; None: 0
    terms : of each pair; None: none
    summaries : of reading these blocks, by frame
    """

    pairs: Ints
    centres: Ints | None
    terms: list[Terms | None]
    summaries: dict[int, ReadSummary]

    def plus(self, other: BlockResult) -> BlockResult:
        """Add another block; a pair without terms in one of the blocks has none."""
        terms = [
            mine.add(others) if mine is not None and others is not None else None
            for mine, others in zip(self.terms, other.terms, strict=True)
        ]
        summaries = {
            frame: summary.plus(other.summaries[frame]) for frame, summary in self.summaries.items()
        }
        return BlockResult(self.pairs, self.centres, terms, summaries)


def join_results(channels: Sequence[BatchResult]) -> BatchResult:
    """Join the results of all channels of a batch, for the same pairs and frames.

    Shifts and errors follow from all channels that agree; values that cannot be averaged, such as
    the NCC, are those of the channel with the largest weight. A pair that is unreadable in one
    channel is unreadable; if at least as many channels have their shift outside the search as agree
    within it, there is no majority, and the pair has no shift.
    """
    tables, rows = [result.table for result in channels], np.arange(len(channels[0].table.status))
    covariances = np.stack([result.covariance for result in channels], axis=1)
    joined = join_channels(np.stack([table.shift for table in tables], axis=1), covariances)
    status = np.stack([table.status for table in tables], axis=1)
    is_read = (status != PairStatus.UNREADABLE.code).all(axis=1)
    is_known = np.asarray(status == PairStatus.OK.code) & is_read[:, None]
    elsewhere = np.isin(status, [one.code for one in ELSEWHERE]).sum(axis=1)
    here = (joined.weights != 0).any(axis=(2, 3)).sum(axis=1)
    joined = joined.without(~is_read | (elsewhere >= np.maximum(here, 1)))
    weight = np.einsum("pcii->pc", joined.weights) / joined.shift.shape[1]
    has_shift = np.asarray(np.isfinite(joined.shift).all(axis=1))
    is_any = is_known.any(axis=1)
    told = _rank(status, PAIR_STATUS_ORDER).argmin(axis=1)
    best = np.where(is_any, (weight + is_known).argmax(axis=1), told)
    columns: dict[str, Any] = {
        column.field: np.stack([getattr(table, column.field) for table in tables])[best, rows]
        for column in PAIR_RESULTS
    }
    steps = np.stack([table.part_step for table in tables], axis=1).astype(np.float64)
    steps = np.where((weight > 0)[..., None, None], steps, 0)
    columns |= {
        "shift": joined.shift,
        "shift_std": np.sqrt(np.einsum("pii->pi", joined.covariance)),
        "part_step": np.where(
            has_shift[:, None, None], np.einsum("pcij,pcsj->psi", joined.weights, steps), np.nan
        ).astype(np.float32),
        "channel_weight": np.where(is_known, weight, np.nan).astype(np.float32),
        "status": np.where(
            has_shift,
            PairStatus.OK.code,
            np.where(is_any, PairStatus.AMBIGUOUS.code, columns["status"]),
        ).astype(np.int8),
    }
    first = channels[0]
    read = np.stack([result.columns["frame_read_status"] for result in channels])
    of_frame, frames = _rank(read, FRAME_STATUS_ORDER).argmin(axis=0), np.arange(len(first.frames))
    reasons = [result.reasons for result in channels]
    of_frames = {
        name: np.stack([result.columns[name] for result in channels])[of_frame, frames]
        for name in first.columns
    }
    is_partly = (read == FrameStatus.MISSING.code).any(axis=0)
    is_partly &= of_frames["frame_read_status"] == FrameStatus.OK.code
    of_frames["frame_read_status"][is_partly] = FrameStatus.INCOMPLETE.code
    return BatchResult(
        replace(first.table, **columns),
        first.frames,
        of_frames,
        {frame: reason for each in reversed(reasons) for frame, reason in each.items()},
        joined.covariance,
    )


def _rank(codes: NDArray[np.int8], order: Sequence[PairStatus | FrameStatus]) -> NDArray[np.int64]:
    """Find the positions of statuses, given by codes, in an order; those not in it come last."""
    places = np.full(len(type(order[0])), len(order))
    places[[status.code for status in order]] = np.arange(len(order))
    return np.asarray(places[codes], np.int64)
