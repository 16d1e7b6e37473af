"""Make shifts relative to an external reference, such as an image from another session.

The mean of every connected part of the series is registered to the image, at any shift. The result
is added to all shifts of the part, and its error to all of their errors. Parts that are found
become one component, as they share a coordinate frame. A part that cannot be found there keeps its
shifts, relative to its anchor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.common_frame.series_mean import (
    choose_members,
    make_series_mean,
    relate_to_means,
)
from steadystack.conditioning import Conditioning, condition
from steadystack.measure import Method
from steadystack.model import (
    NO_COMPONENT,
    Bools,
    FrameSource,
    FrameTable,
    OutsideFit,
    OutsideImage,
    OutsideOutcome,
    PairStatus,
    PairTable,
    Registration,
    RunError,
)
from steadystack.register import register_translation

# Shading is what a Gaussian keeps whose sigma is the shorter side of a plane over FINE, but at
# least SMALLEST_SIGMA px.
FINE, SMALLEST_SIGMA = 12, 4.0
# Shifts with and without shading agree if within this many deviations of both, or this, px.
AGREE, AGREE_PX = 4.0, 1.0


@dataclass(frozen=True, eq=False)
class MeanOf:
    """The frames that a mean is of, and their shifts (frames, axes)."""

    members: NDArray[np.int64]
    shifts: NDArray[np.float64]


def move_to_outside(
    source: FrameSource,
    pairs: PairTable,
    frames: FrameTable,
    method: Method,
    outside: OutsideImage,
    *,
    client: Engine = None,
) -> FrameTable:
    """Make the shifts of solved frames relative to an external reference, as far as it matches.

    The deviations of a component that is found become relative to the image: those of each frame
    relative to the mean of its component, plus that of the mean, common to all. For each, the
    larger of the stated error and the disagreement of the frame's parts counts. A component that is
    not found is unchanged. The result's `outside` says which, and why.

    Parameters
    ----------
    frames : not interpolated, and without a linear motion
    method : of frames that are one block
    """
    members = choose_members(frames, source.frame_shape)
    work = (
        (component, MeanOf(chosen, frames.shift[chosen]))
        for component, chosen in enumerate(members)
        if len(chosen)
    )
    method = replace(method, keep=(), initial_shifts=None)
    shared: list[Any] = [source, method, outside]
    if source.in_memory:
        shared = [share(client, what) for what in shared]
    fits = [OutsideFit(PairStatus.EMPTY) for _ in members]
    for component, found in run_tasks(client, register_mean, work, *shared):
        if isinstance(found, Failure):
            raise RunError(
                f"the external reference cannot be measured: {found.reason}; the pairs are saved: "
                "`steadystack solve` tries again"
            ) from found.error
        fits[component] = found
    outcome = OutsideOutcome(outside.path, outside.digest, tuple(fits))
    return move_by_fits(pairs, replace(frames, outside=outcome), members)


def register_mean(
    mean_of: MeanOf, source: FrameSource, method: Method, outside: OutsideImage
) -> OutsideFit:
    """A task: register the mean of frames to the external reference, at every shift."""
    mean = make_series_mean(mean_of.members, mean_of.shifts, source, method)
    if mean is None:
        return OutsideFit(PairStatus.EMPTY)
    reference = condition(*outside.read(), method.conditioning)
    found = register_confirmed(reference, (mean.values, mean.valid), method)
    fit = OutsideFit(
        found.status,
        ncc=None if np.isnan(found.ncc) else found.ncc,
        overlap=None if np.isnan(found.overlap) else found.overlap,
        frames=len(mean_of.members),
        conditioning=found.conditioning,
    )
    if found.status is not PairStatus.OK:
        return fit
    offset = found.shift - mean.first - np.array(outside.origin)
    std = np.sqrt(np.diag(found.covariance))
    return replace(fit, offset=tuple(offset.tolist()), std=tuple(std.tolist()))


def register_confirmed(
    reference: tuple[NDArray[Any], Bools], moving: tuple[NDArray[Any], Bools], method: Method
) -> Registration:
    """Register two images with their valid pixels, without prior knowledge.

    Shading is the same in all images of a camera, whatever they show, and can match by itself: the
    shift must be found without it, too.
    """
    return confirm_in_detail(_register(reference, moving, method), reference, moving, method)


def confirm_in_detail(
    plain: Registration,
    reference: tuple[NDArray[Any], Bools],
    moving: tuple[NDArray[Any], Bools],
    method: Method,
) -> Registration:
    """The registration of two images if their fine detail confirms it; else without a shift.

    Unchanged for images under a high-pass.
    """
    if plain.status is not PairStatus.OK or method.conditioning.high_pass is not None:
        return plain
    fine = Conditioning(high_pass=choose_fine_sigma(reference[0].shape, moving[0].shape))
    detail = _register(condition(*reference, fine), condition(*moving, fine), method)
    if detail.status is not PairStatus.OK:
        return Registration.unknown(len(plain.shift), detail.status, detail.ncc)
    allowed = np.sqrt(np.diag(plain.covariance) + np.diag(detail.covariance))
    if (np.abs(plain.shift - detail.shift) > np.maximum(AGREE * allowed, AGREE_PX)).any():
        return Registration.unknown(len(plain.shift), PairStatus.AMBIGUOUS, plain.ncc)
    return plain


def choose_fine_sigma(*shapes: tuple[int, ...]) -> float:
    """Choose the Gaussian whose high-pass leaves nothing of the shading of images, px."""
    return max(min(min(shape[-2:]) for shape in shapes) / FINE, SMALLEST_SIGMA)


def _register(
    reference: tuple[NDArray[Any], Bools], moving: tuple[NDArray[Any], Bools], method: Method
) -> Registration:
    search = method.search
    return register_translation(
        reference[0],
        moving[0],
        reference_mask=reference[1],
        moving_mask=moving[1],
        min_overlap=search.min_overlap,
        subpixel=search.subpixel,
        allow_inverted=search.allow_inverted,
    )


def move_by_fits(
    pairs: PairTable, frames: FrameTable, members: list[NDArray[np.int64]]
) -> FrameTable:
    """Move the frames of the components that were found, by the fits in `outside`.

    They become component 0, as they share a coordinate frame; the others, relative to their own
    anchors, are unchanged and numbered after it. If none was found, nothing changes. `members` are
    the frames of the mean of each component.
    """
    assert frames.outside is not None
    fits = tuple(
        replace(fit, anchor=frames.anchors[part]) if part < len(frames.anchors) else fit
        for part, fit in enumerate(frames.outside.fits)
    )
    frames = replace(frames, outside=replace(frames.outside, fits=fits))
    if not any(fit.is_known for fit in fits):
        return frames
    related = relate_to_means(pairs, frames, members)
    columns = ("shift", "stated_std", "part_std", "shift_std", "part_step")
    moved = {name: getattr(frames, name).copy() for name in columns}
    for component, fit in enumerate(fits):
        if not fit.is_known:
            continue
        inside = frames.component == component
        moved["shift"][inside] += fit.offset
        moved["part_step"][inside] = related.part_step[inside]
        for name in ("stated_std", "part_std", "shift_std"):
            moved[name][inside] = np.hypot(getattr(related, name)[inside], fit.std)
    return _put_in_one(replace(frames, **moved), [fit.is_known for fit in fits])


def _put_in_one(frames: FrameTable, is_found: Sequence[bool]) -> FrameTable:
    """Renumber the components: all that were found become 0, others follow from 1 on."""
    first, lost = is_found.index(True), [part for part, found in enumerate(is_found) if not found]
    number = np.zeros(len(is_found) + 1, np.int64)
    number[lost] = 1 + np.arange(len(lost))
    number[NO_COMPONENT] = NO_COMPONENT
    anchors = tuple(frames.anchors[part] for part in (first, *lost))
    return replace(frames, component=number[frames.component], anchors=anchors)
