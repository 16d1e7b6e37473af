"""Make the mean of a solved series, to register it, and errors of frames relative to it.

A mean lies at the average position of its frames, whichever of them is held at 0: relative to it, a
frame has its own error and that of its distance from the others in the graph, without the anchor's.
A frame's own error, from its noise, also moves the mean, but registering the mean undoes that: so
it counts for the frame alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import FrameGroup, GroupMean, Method, has_shift
from steadystack.model import (
    NO_COMPONENT,
    Bools,
    FrameSource,
    FrameStatus,
    FrameTable,
    PairTable,
)
from steadystack.pairs import spread_evenly
from steadystack.parts import compute_jackknife_std
from steadystack.solve import System, compute_variances_about_mean, join_std

# Most frames in a mean: what is left of their noise is small compared with the image's.
MOST_FRAMES = 32
# A pixel of the mean is used if it is in this share of the number of frames of the best known
# pixel.
LEAST_COVERED = 0.25
# Largest extent of the frames in a mean, in frame sides; if a series moves further, frames around
# the median shift are used.
MOST_SIDES = 1.0


@dataclass(frozen=True, eq=False)
class SeriesMean:
    """The mean of some frames of a series, moved by their shifts.

    `values` and `valid` are arrays of one shape; their first pixel lies at `first`, pixels from the
    first one of a frame whose shift is 0.
    """

    values: NDArray[np.float64]
    valid: Bools
    first: NDArray[np.int64]


def choose_members(frames: FrameTable, shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Choose the frames of the mean of every component: sound ones, spread evenly over it.

    `shape` is that of the frames.
    """
    usable = has_shift(frames.shift) & (frames.component != NO_COMPONENT)
    sound = usable & (frames.status == FrameStatus.OK.code)
    members = []
    for component in range(len(frames.anchors)):
        inside = np.flatnonzero(sound & (frames.component == component))
        if not len(inside):
            inside = np.flatnonzero(usable & (frames.component == component))
        shift = frames.shift[inside]
        if len(inside) and (np.ptp(shift, axis=0) > MOST_SIDES * np.array(shape)).any():
            off = np.abs(shift - np.median(shift, axis=0)) / np.array(shape)
            near = (off <= MOST_SIDES / 2).all(axis=1)
            inside = inside[near] if near.any() else inside[[int(np.argmin(off.max(axis=1)))]]
        members.append(spread_evenly(inside, MOST_FRAMES))
    return members


def make_series_mean(
    members: NDArray[np.int64], shifts: NDArray[np.float64], source: FrameSource, method: Method
) -> SeriesMean | None:
    """Make the mean of frames with these shifts (members, axes); None if none can be read.

    They are prepared as for measuring, scaled to a deviation of 1, and equally weighted.
    """
    group = FrameGroup(members, members, shifts)
    sums = GroupMean(group, source, method, held_bytes=0)
    if not sums.count.any():
        return None
    valid = sums.count >= max(LEAST_COVERED * int(sums.count.max()), 1)
    values = np.where(valid, sums.total / np.maximum(sums.count, 1), 0.0)
    begin = np.array([side.start for side in method.whole_region])
    return SeriesMean(values, valid, sums.first + begin)


def relate_to_means(
    pairs: PairTable, frames: FrameTable, members: list[NDArray[np.int64]]
) -> FrameTable:
    """Give solved frames the errors that they have relative to the means of their components.

    Shifts are unchanged. `part_step` becomes relative to the mean, too.
    """
    belongs = np.zeros(len(frames.shift), bool)
    belongs[np.concatenate(members)] = True
    stated = np.sqrt(_compute_stated_variance(pairs, frames, belongs))
    step, change = frames.part_step.astype(np.float64), np.zeros(frames.shift.shape)
    change += frames.step_error
    for component, chosen in enumerate(members):
        inside = frames.component == component
        step[inside] -= step[chosen].mean(axis=0)
        change[inside] -= change[chosen].mean(axis=0)
    of_parts = np.hypot(compute_jackknife_std(step), change)
    joined = join_std(stated, of_parts)
    if not np.array_equal(frames.shift_std, join_std(frames.stated_std, frames.part_std), True):
        joined = np.sqrt(stated**2 + _find_typical_excess(frames))  # for refined frames
    return replace(
        frames,
        shift_std=joined,
        stated_std=stated,
        part_std=of_parts,
        part_step=step.astype(np.float32),
    )


def _find_typical_excess(frames: FrameTable) -> NDArray[np.float64]:
    """The disagreement of a frame's parts beyond the stated variance (frames, axes), px².

    Anchors, which have none relative to themselves, get that of the others in their component.
    """
    excess = np.asarray(frames.shift_std**2 - frames.stated_std**2, np.float64)
    for component, anchor in enumerate(frames.anchors):
        excess[anchor] = np.nanmedian(excess[frames.component == component], axis=0)
    return excess


def _compute_stated_variance(
    pairs: PairTable, frames: FrameTable, belongs: Bools
) -> NDArray[np.float64]:
    """Compute the variance of frames about the mean of those that belong to it (frames, axes), px².

    The graph gives the pattern of its share of the errors, the deviations from the anchor its size.
    """
    used = np.flatnonzero(frames.weight > 0)
    known = frames.component != NO_COMPONENT
    system = System(
        pairs.reference[used], pairs.moving[used], len(frames.shift), np.array(frames.anchors)
    )
    about, alone = compute_variances_about_mean(
        system, frames.weight[used], np.where(known, frames.component, -1), belongs
    )
    own = np.broadcast_to(frames.own_variance, frames.shift.shape)
    variance = np.full(frames.shift.shape, np.nan)
    for component, anchor in enumerate(frames.anchors):
        inside = np.flatnonzero(frames.component == component)
        of_graph = frames.stated_std[inside] ** 2 - own[inside] - own[anchor]
        of_graph = np.where((inside == anchor)[:, None], 0, np.maximum(of_graph, 0))
        unit = np.nansum(of_graph, axis=0) / max(float(alone[inside].sum()), np.finfo(float).tiny)
        variance[inside] = own[inside] + unit * about[inside, None]
    return variance
