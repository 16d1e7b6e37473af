"""Refinement: measure every frame against the mean of its aligned neighbours, itself left out.

To first order, all pairs of noisy frames together contain as much information as frames measured
against a known scene; the products of noise with noise are what is lost. Against the mean of many
frames these are small, and the error is close to that with a known scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.measure.method import Method, prepare_block, read_camera_images, read_common_mask
from steadystack.model import (
    NO_COMPONENT,
    Bools,
    Floats,
    FrameSource,
    FrameStatus,
    FrameTable,
    Ints,
    PairStatus,
    PairTable,
    RunError,
)
from steadystack.ncc import CachedMask, MaskedImage, make_masked_image
from steadystack.register import Search, compute_block_terms, register_terms
from steadystack.run_log import count_steps
from steadystack.warp import place_on_canvas

# Most frames that share a mean, how many more on each side are included in it, and the fewest
# frames of a component.
MEMBERS, REACH, FEWEST = 64, 32, 3
# A frame is searched for within this many pixels of its known shift.
SEARCH = 3
# A pixel of the mean is valid if at least this share of the frames are valid there.
LEAST_COVERED = 0.25
# Memory for frames kept until they are compared with the mean, bytes; others are read again.
HELD_BYTES = 2**28
# Memory for the sums and the current frame, bytes per pixel: 66 to 95 were measured, once 105.
IN_HAND = 110


@dataclass(frozen=True, eq=False)
class FrameGroup:
    """Frames to be registered to one mean.

    Attributes
    ----------
    members : the frames to be registered
    frames : the frames in the mean, members first
    shifts : of `frames` (frames, axes), pixels
    """

    members: NDArray[np.int64]
    frames: NDArray[np.int64]
    shifts: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupShifts:
    """The shifts of a group's members and their variances (members, axes); NaN: not known."""

    shift: NDArray[np.float64]
    variance: NDArray[np.float64]


def refine_shifts(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    rounds: int,
    *,
    client: Engine = None,
) -> FrameTable:
    """Measure every solved frame again, against the mean of the frames around it.

    The frames in the mean are moved by their shifts, but the frame itself is only moved by whole
    pixels, so that the result is not biased towards its previous shift. A result is accepted if its
    status is ok and its variance is below that of a single pair of the frame (the median stated
    variance); otherwise the solution from pairs is kept. With few cycles, that solution treats the
    errors of pairs as independent, although they are largely those of the frames they share. So the
    stated error of a frame whose result is not accepted is at least that of one of its pairs.

    The stated variance of a result is that of frame and mean, plus that of the anchor's result, as
    shifts are relative to the anchor. It does not include the error that neighbours have in common,
    which the solution from pairs determines. Therefore the amount is added by which the solution's
    variance without the frames' own errors is larger around the frame than around the anchor; and
    so is the variance from the disagreement of parts of the frame beyond the stated errors of the
    pairs' solution, as a changing scene also changes the mean.

    Frames without a shift and dissimilar frames are in no mean; the latter keep their shift. The
    results depend on the frames and their shifts only, not on where this runs.

    Parameters
    ----------
    frames : without interpolated shifts
    method : for frames that are one block
    rounds : number of passes; each uses the shifts of the previous one for the means

    Raises
    ------
    RunError
        If a task fails.
    """
    own_method = replace(method, search=_make_search(source, method), keep=(), initial_shifts=None)
    in_memory = source.in_memory
    shared = [
        share(client, component) if in_memory else component for component in (source, own_method)
    ]
    of_pairs = _find_pair_variance(pairs, frames)
    least = np.maximum(frames.stated_std, np.sqrt(np.where(np.isinf(of_pairs), 0, of_pairs)))
    shift, std = frames.shift, frames.stated_std
    own_variance = np.broadcast_to(frames.own_variance, shift.shape)
    averaged = _estimate_averaged_variance(frames, own_variance)
    usable = np.where(frames.status == FrameStatus.DISSIMILAR.code, NO_COMPONENT, frames.component)
    for turn in range(rounds):
        measured, variance = np.full(shift.shape, np.nan), np.full(shift.shape, np.nan)
        walked = np.zeros(shift.shape)
        groups = list(_group_frames(shift, usable, own_method.search.shape))
        work = ((number, group) for number, group in enumerate(groups))
        found = run_tasks(client, measure_group, work, *shared)
        what = f"refining, round {turn + 1} of {rounds}"
        for number, answers in count_steps(found, len(groups), what, "groups of frames"):
            if isinstance(answers, Failure):
                raise RunError(
                    f"refinement (solve.refine) failed: {answers.reason}; the pairs are "
                    "saved: `steadystack solve` tries again"
                ) from answers.error
            group = groups[number]
            measured[group.members], variance[group.members] = answers.shift, answers.variance
            walked[group.members] = np.median(averaged[group.frames], axis=0)
        taken = np.isfinite(measured).all(axis=1) & (variance.sum(axis=1) < of_pairs.sum(axis=1))
        shift = np.where(taken[:, None], measured, shift)
        std = np.where(taken[:, None], frames.stated_std, least)
        for component, anchor in enumerate(frames.anchors):
            in_component = taken & (frames.component == component)
            from_anchor = np.maximum(walked[in_component] - walked[anchor], 0)
            if taken[anchor]:
                shift[frames.component == component] -= measured[anchor]
            from_anchor += variance[anchor] if taken[anchor] else own_variance[anchor]
            std[in_component] = np.sqrt(variance[in_component] + from_anchor)
            std[anchor] = 0.0
    residual = pairs.shift - (shift[pairs.moving] - shift[pairs.reference])
    joined = np.sqrt(std**2 + _find_excess(frames))
    return replace(
        frames,
        shift=shift,
        shift_std=joined,
        stated_std=std,
        residual=residual,
        own_variance=np.where(taken[:, None], variance, own_variance),
    )


def _find_excess(frames: FrameTable) -> NDArray[np.float64]:
    """Find the variance from the parts' disagreement beyond the stated one (frames, axes), px².

    It is not noise: averaging frames that share it does not reduce it.
    """
    return np.asarray(frames.shift_std**2 - frames.stated_std**2, np.float64)


def _estimate_averaged_variance(
    frames: FrameTable, own: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Subtract the frames' own errors from a solution's variance (frames, axes), px²."""
    anchors = np.array([*frames.anchors, 0])[frames.component]  # any for frames without
    return np.asarray(np.maximum(frames.stated_std**2 - own - own[anchors], 0), np.float64)


def estimate_refine_bytes(pixels: int, chunk_bytes: int) -> int:
    """Estimate the memory of a task of `refine_shifts` with frames of this many pixels, bytes.

    That is for frames kept for later, up to `HELD_BYTES`, the sums and the current frame.
    """
    return min(HELD_BYTES, 13 * MEMBERS * pixels) + IN_HAND * pixels + chunk_bytes


def _make_search(source: FrameSource, method: Method) -> Search:
    """Make the search around the known shift in whole pixels, along axes that may move."""
    before = method.search
    bounds = [
        min(SEARCH, size - 1) if lags > 1 else 0
        for lags, size in zip(before.window.shape, before.shape, strict=True)
    ]
    shape = source.frame_shape
    return Search.make(shape, shape, bounds, region=before.shape)


def _find_pair_variance(pairs: PairTable, frames: FrameTable) -> NDArray[np.float64]:
    """Find the median stated variance of each frame's pairs in the solution (frames, axes), px²."""
    used = pairs.ok & ~frames.rejected
    ends = np.concatenate([pairs.reference[used], pairs.moving[used]])
    median = np.full(frames.shift.shape, np.inf)  # no pairs: any result is better
    for axis, variance in enumerate(np.tile(pairs.shift_std[used] ** 2, (2, 1)).T):
        order = np.lexsort((variance, ends))
        numbers, first, count = np.unique(ends[order], return_index=True, return_counts=True)
        median[numbers, axis] = variance[order][first + count // 2]
    return np.where(np.isnan(median), np.inf, median)


def _group_frames(
    shift: NDArray[np.float64], component: Ints, shape: tuple[int, ...]
) -> Iterator[FrameGroup]:
    """Group consecutive frames of a component with shifts within half a frame of each other."""
    has_shift = np.isfinite(shift).all(axis=1)
    for label in np.unique(component[has_shift & (component != NO_COMPONENT)]):
        frames = np.flatnonzero(has_shift & (component == label))
        if len(frames) < FEWEST:
            continue
        begin = 0
        while begin < len(frames):
            near = shift[frames[begin : begin + MEMBERS]]
            spread = np.maximum.accumulate(near) - np.minimum.accumulate(near)
            apart = (spread > np.array(shape) / 2).any(axis=1)
            end = begin + (int(np.argmax(apart)) if apart.any() else len(near))
            around = frames[max(begin - REACH, 0) : begin], frames[end : end + REACH]
            members = frames[begin:end]
            all_of_them = np.concatenate([members, *around])
            yield FrameGroup(members, all_of_them, shift[all_of_them])
            begin = end


def measure_group(group: FrameGroup, source: FrameSource, method: Method) -> GroupShifts:
    """Register the members of a group to the mean of its frames, without the member itself."""
    sums = GroupMean(group, source, method)
    answers = GroupShifts(*np.full((2, *group.shifts[: len(group.members)].shape), np.nan))
    for row in range(len(group.members)):
        registration = sums.registered(row)
        if registration is not None and registration.status is PairStatus.OK:
            answers.shift[row] = np.rint(group.shifts[row]) + registration.shift
            answers.variance[row] = np.diag(registration.covariance)
    return answers


class GroupMean:
    """The sum of the moved frames of a group, over the area of its members."""

    def __init__(
        self,
        group: FrameGroup,
        source: FrameSource,
        method: Method,
        held_bytes: int | None = None,
    ) -> None:
        self.group, self.source, self.method = group, source, method
        self.camera_images = read_camera_images(method, source.frame_shape, 0)
        self.common: CachedMask = read_common_mask(source, 0, method)
        self.whole = np.rint(group.shifts[: len(group.members)]).astype(int)
        self.first = self.whole.min(axis=0)
        shape = np.array(method.search.shape) + self.whole.max(axis=0) - self.first
        self.shape = tuple(int(size) for size in shape)
        self.held: dict[int, tuple[MaskedImage, Floats, Bools]] = {}
        self.total, self.count = np.zeros(self.shape), np.zeros(self.shape, np.int16)
        held_bytes = HELD_BYTES if held_bytes is None else held_bytes
        affordable = held_bytes // (13 * int(np.prod(self.shape)))
        for row in range(len(group.frames)):
            placed = self.placed(row)
            if placed is not None:
                self.total += placed[1]
                self.count += placed[2]
                if row < min(len(group.members), affordable):
                    self.held[row] = placed

    def placed(self, row: int) -> tuple[MaskedImage, Floats, Bools] | None:
        """Read a frame; returns it, and moved to its place and scaled to mean 0 and deviation 1.

        They are scaled since frames differ in brightness, and may bleach. None: it cannot be used.
        """
        if row in self.held:
            return self.held[row]
        frame, shift = int(self.group.frames[row]), self.group.shifts[row]
        image, summary = prepare_block(
            self.source, frame, 0, self.method, self.camera_images, [self.common]
        )
        if image is None or summary.pair_status is not PairStatus.OK:
            return None
        mean, square = (moment / image.mask.count for moment in image.moments)
        values = (image.values - mean) / np.sqrt(max(square - mean**2, np.finfo(float).tiny))
        moved, is_known = place_on_canvas(
            values, image.mask.pixels, shift, self.first.tolist(), self.shape
        )
        return image, moved.astype(np.float32), is_known

    def registered(self, row: int) -> Any:
        """Register a member to the mean of the others; None if there is no mean or no member."""
        placed = self.placed(row)
        if placed is None:
            return None
        image, moved, is_known = placed
        begin = self.whole[row] - self.first
        region = tuple(
            slice(at, at + size) for at, size in zip(begin, self.method.search.shape, strict=True)
        )
        count = self.count[region] - is_known[region]
        enough = count >= max(LEAST_COVERED * (len(self.group.frames) - 1), 1)
        if not enough.any():
            return None
        mean = np.where(enough, self.total[region] - moved[region], 0) / np.maximum(count, 1)
        averaged = 1 / float((1 / count[enough]).mean())
        reference = make_masked_image(mean, CachedMask(enough))
        terms = compute_block_terms(reference, image, self.method.search, 0)
        return register_terms(terms, self.method.search, averaged)
