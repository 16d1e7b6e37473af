"""Find defects of the camera, pixels or whole lines, that stand out wherever the scene is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import (
    FEWEST_LOOKED_AT,
    LITTLE,
    PLANE,
    LinelessFrames,
    compute_lined_share,
    compute_profiles,
    compute_scene_slopes,
    compute_side_profiles,
    count_looked_at,
    count_places,
    find_outstanding,
    select_staying,
    separate_lines,
    standardize,
)
from steadystack.measure import Sample, has_shift
from steadystack.model import (
    LEAST_WAY,
    Bools,
    Defects,
    FixedLines,
    FrameSource,
    Ints,
    Pilot,
    RunError,
)
from steadystack.pairs import spread_evenly
from steadystack.planning import Setup, leave_out_found
from steadystack.run_log import count_steps

# Most pixels that can be defects, in all and as a fraction of a frame.
MOST_DEFECTS, MOST_SHARE = 20_000, 0.05
# If unfiltered frames have no shifts, those to separate lines by are measured in this band, px.
LOW_PASS, HIGH_PASS = 1.0, 10.0
# Lines are searched for if rows or columns make up this share of the slopes of the mean frame.
LINED = 0.25


def find_defects(setup: Setup) -> Defects | None:
    """Find pixels of the camera that stand out wherever the scene is, in any channel.

    The search uses frames spread over the series, then over ever shorter times in its middle, until
    pairs of them show where the scene is. None: the settings do not ask for it, there are too few
    frames, or they are measured in blocks, which would take too long.
    """
    source, found = setup.series.source, None
    if setup.config.mask.defects is None or len(setup.method.search.blocks) > 1:
        return None
    for frames in _list_looked_at(source):
        found = _find_defects_in(setup, frames)
        if found is None or not found.outstanding or found.too_many or found.places:
            break
    return found


def _find_defects_in(setup: Setup, frames: NDArray[np.int64]) -> Defects | None:
    """Find the defects of each channel in some frames; None: there are too few in the first."""
    sources = setup.series.source.channels or (setup.series.source,)
    look = _look_at(sources[0], frames)
    if look is None:
        return None
    shown, most = look.frames, min(MOST_DEFECTS, MOST_SHARE * look.images[0].size)
    standing = [find_outstanding(look.images, look.valid)]
    for one in sources[1:]:
        look = None  # only one channel is held in memory; others are read again
        look = _look_at(one, frames)
        standing.append(np.empty(0, np.intp) if look is None else find_outstanding(*look[1:]))
    found = Defects(len(shown), sum(map(len, standing)))
    if not found.outstanding:
        return found
    standing = [pixels if len(pixels) <= most else pixels[:0] for pixels in standing]
    every = np.unique(np.concatenate(standing))
    if not every.size or len(every) > most:
        return replace(found, too_many=True)
    without = leave_out_found(setup, Pilot(defects=replace(found, pixels=tuple(every.tolist()))))
    sample = Sample(without.series.source, without.method, without.size, shown, np.ones(len(shown)))
    try:
        positions = sample.shifts(None)
    except RunError:  # too many frames cannot be read
        return found
    known = has_shift(positions)
    shown, positions = shown[known], positions[known]
    staying = []
    for one, pixels in zip(sources, standing, strict=True):
        if len(sources) > 1:
            look = None
            look = _look_at(one, shown) if len(pixels) else None
        staying.append(_select(look, pixels, shown, positions))
    pixels = np.unique(np.concatenate(staying))
    return replace(found, places=count_places(positions), pixels=tuple(pixels.tolist()))


class _Look(NamedTuple):
    """Some frames as read: their numbers, and their images from `standardize`."""

    frames: NDArray[np.int64]
    images: NDArray[np.float32]
    valid: Bools


def _look_at(source: FrameSource, frames: NDArray[np.int64]) -> _Look | None:
    """Read frames; None: too few of them have valid pixels."""
    steps = count_steps(frames.tolist(), len(frames), "defects", "frames")
    read = [(frame, source.read(frame)) for frame in steps]
    read = [(frame, content) for frame, content in read if content.valid.any()]
    if len(read) < FEWEST_LOOKED_AT:
        return None
    return _Look(
        np.array([frame for frame, _ in read], np.int64),
        np.stack([standardize(content.image, content.valid) for _, content in read]),
        np.stack([content.valid for _, content in read]),
    )


def _select(
    look: _Look | None,
    pixels: NDArray[np.intp],
    known: NDArray[np.int64],
    positions: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Select the pixels that stay fixed; `positions` are those of the frames `known`, in order."""
    if look is None:
        return pixels[:0]
    inside = np.isin(look.frames, known)
    at = np.searchsorted(known, look.frames[inside])
    return select_staying(look.images[inside], look.valid[inside], pixels, positions[at])


def find_lines(setup: Setup) -> FixedLines | None:
    """Find rows and columns of the camera that differ from others wherever the scene is.

    They are searched for if whole rows or columns make up much of the detail in the frames' mean;
    in frames spread over the series, or over a shorter time in its middle if the former have no
    shifts. None: the settings do not ask for it, a flat field or a fixed pattern contains them
    already, there are too few frames, or they are measured in blocks, which would take too long.
    """
    source, method = setup.series.source, setup.method
    has_image = method.fixed_pattern is not None or method.flat_field is not None
    is_asked = setup.config.mask.defects is not None and not has_image
    if not is_asked or len(method.search.blocks) > 1:
        return None
    found = None
    for frames in _list_looked_at(source):
        found = _find_lines_in(setup, frames)
        if found is None or not found.lined or found.ways:
            break
    return found


def _find_lines_in(setup: Setup, frames: Ints) -> FixedLines | None:
    region, _ = setup.method.part(0)
    steps = count_steps(frames.tolist(), len(frames), "lines", "frames")
    read = [(frame, setup.series.source.read(frame, region)) for frame in steps]
    read = [(frame, content) for frame, content in read if content.valid.any()]
    if len(read) < FEWEST_LOOKED_AT:
        return None
    valid = np.stack([content.valid for _, content in read])
    images = np.stack([_center(content.image, content.valid) for _, content in read])
    is_lined = np.array(compute_lined_share(images, valid)) > LINED
    shown = np.array([frame for frame, _ in read])
    del read  # images are copies
    found = FixedLines(len(shown))
    if not is_lined.any():
        return found
    found = replace(found, lined=True)
    positions = _find_positions(setup, shown)
    known = has_shift(positions)
    if known.sum() < FEWEST_LOOKED_AT:
        return found
    images, valid, positions = images[known], valid[known], positions[known]
    profiles, sides = compute_profiles(images, valid), compute_side_profiles(images, valid)
    ways = [float(np.ptp(positions[:, axis])) for axis in PLANE]
    lines: list[tuple[float, ...]] = [(), ()]
    scene = compute_scene_slopes(images, valid, positions)
    for axis in PLANE:
        if not is_lined[axis] or ways[axis] < LEAST_WAY:
            continue
        separated = separate_lines(profiles[axis], positions[:, axis], sides[axis])
        if separated is not None and separated.slope > LITTLE * scene[axis]:
            whole = np.zeros(setup.series.source.frame_shape[axis])
            whole[region[axis]] = separated.lines
            lines[axis] = tuple(float(f"{value:.6g}") for value in whole)
    return replace(found, ways=tuple(ways), rows=lines[-2], columns=lines[-1])


def _find_positions(setup: Setup, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shifts (frames, axes) of frames with lines removed, band-passed if need be; NaN: unknown."""
    source, method = LinelessFrames(setup.series.source), setup.method
    plain = Sample(source, method, setup.size, frames, np.ones(len(frames)))
    positions = np.full((len(frames), len(source.frame_shape)), np.nan)
    for sample in (plain, plain.filtered(LOW_PASS, HIGH_PASS)):
        try:
            positions = sample.shifts(None)
        except RunError:  # too many frames cannot be read
            break
        if has_shift(positions).sum() >= FEWEST_LOOKED_AT:
            break
    return positions


def _center(image: NDArray[Any], valid: Bools) -> NDArray[np.float32]:
    """The valid pixels of an image without their mean; the others are 0."""
    if valid.all():
        return np.asarray(image - image.ravel().mean(dtype=np.float64), np.float32)
    mean = image[valid].mean(dtype=np.float64)
    return np.where(valid, image - mean, 0).astype(np.float32)


def _list_looked_at(source: FrameSource) -> Iterator[NDArray[np.int64]]:
    """List the frames to use: spread over a series, then over ever shorter times in it."""
    span = source.frame_count
    while span >= FEWEST_LOOKED_AT:
        begin = (source.frame_count - span) // 2
        number = count_looked_at(span, math.prod(source.frame_shape))
        yield begin + spread_evenly(np.arange(span), number)
        span //= 2
