"""Measure a constant offset of every channel from the first, such as a chromatic shift.

Two frames are paired both ways, one in the first channel and the other in a further one.
Subtracting what the frames' shifts explain leaves the offset. As the scene moved between the
frames, the fixed pattern of a camera shared by both channels pulls the two ways in opposite
directions, and so do errors of the frames' shifts: where both ways agree, neither has an effect.
Channels that show different things in a scene differ equally in all pairs, so that this part of
their stated error does not average out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine
from steadystack.common_frame.outside import AGREE, choose_fine_sigma
from steadystack.measure import (
    BatchSize,
    Method,
    find_cheapest_cell,
    find_pair_centres,
    has_shift,
    measure_pairs,
)
from steadystack.model import (
    MEDIAN_DEVIATION,
    NO_COMPONENT,
    Bools,
    ChangedFrames,
    Frame,
    FrameSource,
    FrameTable,
    Ints,
    PairStatus,
    PairTable,
    RunError,
    Slices,
)
from steadystack.pairs import spread_evenly
from steadystack.parts import compute_jackknife_std

# Number of pairs measured, and fewest that must agree.
MOST_PAIRS, FEWEST = 24, 4
# Frames that moved at least this far between them, px, are paired, if there are enough.
MOVED = 2.0
# Both ways of a pair agree if within this many deviations or `AGREE_PX`, px; pairs count if within
# this many of their median; offsets in fine detail alone agree if within `AGREE` of both, or
# `AGREE_PX`.
OUTLYING, AGREE_PX = 4.0, 0.1


@dataclass(frozen=True)
class TwoChannels(ChangedFrames):
    """The frames of one channel followed by those of another; of equal shape and mask."""

    second: FrameSource

    @property
    def frame_count(self) -> int:
        return 2 * self.frames.frame_count

    @property
    def channels(self) -> tuple[FrameSource, ...]:
        return ()

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        count = self.frames.frame_count
        source, index = (self.frames, frame) if frame < count else (self.second, frame - count)
        return source.read(index, region)


@dataclass(frozen=True, eq=False)
class ChannelOffset:
    """The offset of a channel from the first, and its deviations (axes,), px; NaN: not known."""

    status: PairStatus
    offset: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def unknown(cls, status: PairStatus, ndim: int) -> ChannelOffset:
        """Say why it is not known."""
        return cls(status, np.full(ndim, np.nan), np.full(ndim, np.nan))


@dataclass(frozen=True)
class ChannelTurning:
    """How far parts of channels are off the channel's offset as if it turns or stretches.

    `sizes`, pixels, has the distance of the part furthest off in each channel, median over pairs;
    0: none is off significantly; None: not known, or the first channel.
    """

    sizes: tuple[float | None, ...]


def measure_channel_offsets(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    size: BatchSize,
    *,
    client: Engine = None,
) -> FrameTable:
    """Add the offset of every channel from the first to solved frames, as far as it can be known.

    Parameters
    ----------
    source : of several channels
    pairs, frames : as they were measured and solved, shifted alone

    Returns
    -------
    FrameTable
        `channel_offset` and `channel_offset_std` (channels, axes), px, what has to be applied to a
        channel besides the shift of its frame: 0 of the first, NaN where it is not known;
        `channel_offset_status` says why.

    Raises
    ------
    RunError
        If pairs cannot be measured.
    """
    chosen = choose_pairs(pairs, frames)
    offset, std = frames.channel_offset.copy(), frames.channel_offset_std.copy()
    status = frames.channel_offset_status.copy()
    offset[0], std[0], status[0] = 0, 0, PairStatus.OK.code
    known = (has_shift(frames.shift) & (frames.component == 0))[:, None]
    twice = np.tile(np.where(known, frames.shift, 0.0), (2, 1))
    places = None if method.places is None else np.tile(method.places, (2, 1))
    is_around = method.search.max_shift is not None and places is None
    method = replace(
        method,
        keep=(),
        places=places,
        initial_shifts=twice if is_around else None,
        evaluates_parts=True,
    )
    for number, channel in enumerate(source.channels[1:], 1):
        two = TwoChannels(source.channels[0], channel)
        found = ChannelOffset.unknown(PairStatus.EMPTY, len(two.axes))
        if not _decides(pairs, 0) or _goes_its_own_way(pairs, number):
            found = ChannelOffset.unknown(PairStatus.AMBIGUOUS, len(two.axes))
        elif len(chosen) >= FEWEST:
            found = _measure(two, chosen, twice, method, size, client)
        status[number], offset[number], std[number] = found.status.code, found.offset, found.std
    return replace(
        frames, channel_offset=offset, channel_offset_std=std, channel_offset_status=status
    )


def pair_with_channel(
    channels: Sequence[FrameSource],
    number: int,
    method: Method,
    pairs: PairTable,
    frames: FrameTable,
) -> tuple[TwoChannels, Method, PairTable, FrameTable]:
    """Pair frames of the first channel with those of another one whose offset is known.

    Returns the frames of both, how they are measured, the pairs, not measured but with the shifts
    that they should have, and the solved frames twice, the second time moved by the offset. None of
    the latter is connected to an anchor, so that no other pairs can be made of them.
    """
    two, count = TwoChannels(channels[0], channels[number]), len(frames.shift)
    twice: dict[str, Any] = {
        name: np.concatenate([getattr(frames, name)] * 2)
        for name in ("linear", "local_shift", "part_weight")
    }
    shift = np.concatenate([frames.shift, frames.shift + frames.channel_offset[number]])
    ends = choose_pairs(pairs, frames) + np.array([0, count])
    table = PairTable.of_frames(ends, two)
    table.shift[:] = shift[ends[:, 1]] - shift[ends[:, 0]]
    table.status[:] = PairStatus.OK.code
    alone = np.full(2 * count, NO_COMPONENT)
    both = replace(frames, shift=shift, component=alone, **twice)
    return two, replace(method, keep=(), initial_shifts=None), table, both


def _decides(pairs: PairTable, channel: int) -> bool:
    """Whether a channel contributes to the shifts of at least half of the pairs."""
    return bool(2 * (pairs.channel_weight[pairs.ok, channel] > 0).sum() >= pairs.ok.sum())


def _goes_its_own_way(pairs: PairTable, channel: int) -> bool:
    """Whether most of a channel's known pairs contradict the shifts of the others."""
    weight = pairs.channel_weight[pairs.ok, channel]
    weight = weight[np.isfinite(weight)]
    return bool(2 * (weight == 0).sum() > len(weight))


def choose_pairs(pairs: PairTable, frames: FrameTable) -> Ints:
    """Choose pairs (n, 2) of frames that have a shift, no frame twice in the same role.

    Preferred are those with motion between them, if enough: a fixed pattern is then off the scene.
    Pairs that were measured come first, then consecutive frames.
    """
    is_known = has_shift(frames.shift) & (frames.component == 0)
    used = pairs.ok & ~frames.rejected & is_known[pairs.reference] & is_known[pairs.moving]
    measured = np.stack([pairs.reference, pairs.moving], axis=1)[used]
    known = np.flatnonzero(is_known)
    further = np.concatenate([measured, np.stack([known[:-1], known[1:]], axis=1)])
    alone = measured[:0]
    for ends, least in ((measured, MOVED), (further, MOVED), (measured, 0.0), (further, 0.0)):
        way = np.linalg.norm(frames.shift[ends[:, 1]] - frames.shift[ends[:, 0]], axis=1)
        alone = _use_once(ends[way >= least])
        if len(alone) >= 2 * FEWEST:
            break
    return spread_evenly(alone, MOST_PAIRS)


def _use_once(ends: Ints) -> Ints:
    """The pairs (n, 2) whose first frame is first in none before, and the second likewise."""
    first, second, kept = set[int](), set[int](), []
    for row, (reference, moving) in enumerate(ends.tolist()):
        if reference not in first and moving not in second:
            first.add(reference)
            second.add(moving)
            kept.append(row)
    return ends[kept]


def _measure(
    two: TwoChannels,
    chosen: Ints,
    twice: NDArray[np.float64],
    method: Method,
    size: BatchSize,
    client: Engine,
) -> ChannelOffset:
    """Measure the offset of the second channel, if it is about the same in fine detail.

    Shading is the same in all channels of a microscope, whatever they show, and stands still: its
    pull is included in the error.
    """
    ends = np.concatenate([chosen, chosen[:, ::-1]]) + np.array([0, two.frame_count // 2])
    plain = _measure_pairs(two, ends, twice, method, size, client)
    if plain.status is not PairStatus.OK or method.conditioning.high_pass is not None:
        return plain
    fine = replace(method.conditioning, high_pass=choose_fine_sigma(two.frame_shape))
    detail = _measure_pairs(two, ends, twice, replace(method, conditioning=fine), size, client)
    if detail.status is not PairStatus.OK:
        return detail
    allowed = np.maximum(AGREE * np.hypot(plain.std, detail.std), AGREE_PX)
    if (np.abs(plain.offset - detail.offset) > allowed).any():
        return ChannelOffset.unknown(PairStatus.AMBIGUOUS, len(plain.offset))
    return replace(plain, std=np.maximum(plain.std, np.abs(plain.offset - detail.offset)))


def _measure_pairs(
    two: TwoChannels,
    ends: Ints,
    twice: NDArray[np.float64],
    method: Method,
    size: BatchSize,
    client: Engine,
) -> ChannelOffset:
    """Measure the offset from pairs of frames in both channels, given the frames' shifts twice.

    `ends` (pairs, 2) has each pair of frames in one way, and then all of them in the other.
    """
    if method.initial_shifts is not None:
        centres = find_pair_centres(method, ends)
        assert centres is not None
        method = replace(method, cell=find_cheapest_cell(centres, ends, method.search))
    table = PairTable.of_frames(ends, two)
    for _ in measure_pairs(two, table, method, size, client=None if two.in_memory else client):
        pass
    if table.count([PairStatus.FAILED, PairStatus.UNREADABLE]) == len(ends):
        raise RunError(
            "channel offsets cannot be measured: no frame could be read; the pairs are saved: "
            "`steadystack solve` tries again"
        )
    ok: Bools = np.asarray(table.ok.reshape(2, -1).all(axis=0))
    if 2 * ok.sum() <= len(ok) or ok.sum() < FEWEST:
        codes = table.status[~table.ok].tolist()
        told = max(codes, key=codes.count)
        return ChannelOffset.unknown(list(PairStatus)[told], len(two.axes))
    explained = twice[ends[:, 1]] - twice[ends[:, 0]]
    values = (table.shift - explained).reshape(2, len(ok), -1)[:, ok]
    std = table.shift_std.reshape(2, len(ok), -1)[:, ok]
    part_step = table.part_step.reshape(2, len(ok), *table.part_step.shape[1:])[:, ok]
    return join_offsets(values, std, part_step, ends[: len(ok)][ok] % two.frames.frame_count)


def join_offsets(
    values: NDArray[np.float64],
    std: NDArray[np.float64],
    part_step: NDArray[np.float32],
    frames: Ints,
) -> ChannelOffset:
    """Combine the pairs' values to one offset; AMBIGUOUS if most of them do not agree.

    Their scatter averages out, once per frame. Stated errors beyond that are common to all pairs
    (such as from what only one channel shows), and stay; so does a difference of the two ways of a
    pair beyond stated errors. If the parts of the frame disagree more than that, on average over
    pairs, their jackknife is the error.

    Parameters
    ----------
    values, std : (2, pairs, axes), px, of both ways of each pair
    part_step : (2, pairs, parts, axes), px
    frames : (pairs, 2), the frames of each
    """
    single, mean, half = (std**2).mean(axis=0), values.mean(axis=0), (values[0] - values[1]) / 2
    own = np.sqrt(single / 2)  # of the mean of both ways, and of half their difference
    is_near = (np.abs(half) <= np.maximum(OUTLYING * own, AGREE_PX)).all(axis=1)
    if is_near.any():
        middle = np.median(mean[is_near], axis=0)
        spread = MEDIAN_DEVIATION * np.median(np.abs(mean[is_near] - middle), axis=0)
        is_near &= (np.abs(mean - middle) <= OUTLYING * np.maximum(spread, own)).all(axis=1)
    if is_near.sum() < FEWEST or 2 * is_near.sum() <= len(mean):
        return ChannelOffset.unknown(PairStatus.AMBIGUOUS, values.shape[-1])
    count = len(np.unique(frames[is_near])) / 2
    scatter, between = mean[is_near].var(axis=0, ddof=1), (half[is_near] ** 2).mean(axis=0)
    stated = single[is_near].mean(axis=0) / 2  # of a mean; what is in all pairs is there as well
    alike = 2 * np.maximum(stated - (scatter + between) / 2, 0)
    variance = alike + np.maximum(scatter, stated) / count + np.maximum(between - stated, 0)
    error = np.sqrt(variance)
    steps = part_step[:, is_near].astype(np.float64)
    has_step = np.isfinite(steps)
    known = has_step.sum(axis=(0, 1))
    steps = np.where(has_step, steps, 0).sum(axis=(0, 1)) / np.where(known, known, np.nan)
    by_parts = compute_jackknife_std(steps[None])[0]
    return ChannelOffset(PairStatus.OK, mean[is_near].mean(axis=0), np.fmax(error, by_parts))
