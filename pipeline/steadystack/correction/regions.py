"""One region of a corrected stack: read what it is made of, move it, write it on every level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.correction.chunks import Regions, scale_to_level
from steadystack.model import Bools, Slices, UnreachableError
from steadystack.outputs import PyramidSpec, explaining_write_errors, write_region
from steadystack.readers import StackSpec, cut_at_chunks, read_block
from steadystack.validity import Validity
from steadystack.warp import REACH, Box, convert_dtype, find_source_part, move_part


@dataclass(frozen=True, eq=False)
class CorrectionPlan:
    """A stack to be moved, and where to: what all tasks know. Small, but for the shifts.

    Attributes
    ----------
    source : the stack that is read, all channels and planes of it
    target : the image that is written
    regions : that the tasks write
    shift : (frames, spatial axes of `source`) pixels; NaN: the frame stays blank
    box : what is shown, along the spatial axes of `source`
    interpolation : see `warp.move`; "nearest" for label images
    labels : coarser levels take one pixel of several, and not their mean
    keep : what is not valid keeps its values, moved by whole pixels
    validity : of the frames that the shifts were measured on; what values tell holds for `channel`
        alone, and for none if that is None
    """

    source: StackSpec
    target: PyramidSpec
    regions: Regions
    shift: NDArray[np.float64]
    box: Box
    interpolation: str
    labels: bool
    keep: bool
    validity: Validity
    channel: int | None


def correct_region(number: int, work: CorrectionPlan) -> list[int]:
    """Write a region; returns how many pixels are known, for every frame and channel in turn."""
    region = work.regions.at(number)
    image, known = move_region(work, region)
    counts = [int(np.count_nonzero(one)) for frame in known for one in frame]
    with explaining_write_errors(work.target.path):
        _write(work, region, image, known)
    return counts


def _write(work: CorrectionPlan, region: Slices, image: NDArray[Any], known: Bools) -> None:
    """A region on every level, each from the one before."""
    target = work.target
    if target.valid is not None:
        write_region(target, target.valid, region, known)
    for level, before in zip(target.levels, (None, *target.levels), strict=False):
        if before is not None:
            factors = np.floor_divide(level.factors, before.factors)
            spatial = [
                int(f)
                for axis, f in zip(target.axes, factors, strict=True)
                if axis in work.source.spatial
            ]
            image, known = coarsen(image, known, spatial, target.fill_value, work.labels)
        write_region(target, level, scale_to_level(region, level), image)


def move_region(work: CorrectionPlan, region: Slices) -> tuple[NDArray[Any], Bools]:
    """A region of the corrected stack as (t, c, [z,] y, x), and what is known of it."""
    side = dict(zip(work.target.axes, region, strict=True))
    frames = range(side["t"].start, side["t"].stop)
    channels = range(side["c"].start, side["c"].stop) if "c" in side else range(1)
    box = Box(
        tuple(
            side[axis].start + first
            for axis, first in zip(work.source.spatial, work.box.first, strict=True)
        ),
        tuple(side[axis].stop - side[axis].start for axis in work.source.spatial),
    )
    shape = (len(frames), len(channels), *box.shape)
    image = np.full(shape, work.target.fill_value, work.target.dtype)
    known = np.zeros(shape, bool)
    chunk = dict(zip(work.source.axes, work.source.chunks, strict=True))
    for some, few in product(
        cut_at_chunks(frames, chunk.get("t", 1)), cut_at_chunks(channels, chunk.get("c", 1))
    ):
        inside = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in ((some, frames), (few, channels))
        )
        _move_group(work, some, few, box, image[inside], known[inside])
    return image, known


def _move_group(
    work: CorrectionPlan,
    frames: range,
    channels: range,
    box: Box,
    image: NDArray[Any],
    known: Bools,
) -> None:
    """Frames and channels that share their chunks, read at once."""
    reach, shape = REACH[work.interpolation], work.source.frame_shape
    parts = {
        frame: part
        for frame in frames
        if np.isfinite(work.shift[frame]).all()
        and (part := find_source_part(box, work.shift[frame], shape, reach)) is not None
    }
    if not parts:
        return
    part = tuple(
        slice(min(one.start for one in sides), max(one.stop for one in sides))
        for sides in zip(*parts.values(), strict=True)
    )
    # Frames that stay blank are not read: what is torn in them does no harm.
    read = range(min(parts), max(parts) + 1)
    pixels, valid = read_block(work.source, read, channels, part)
    for frame, channel in product(parts, channels):
        place = (frame - frames.start, channel - channels.start)
        here = (frame - read.start, channel - channels.start)
        one = None if valid is None else valid[here]
        move_part(
            pixels[here],
            _read_valid(work, frame, channel, part, pixels[here], one),
            part,
            shape,
            work.shift[frame],
            box.first,
            work.interpolation,
            image[place],
            known[place],
            keep=work.keep,
        )


def _read_valid(
    work: CorrectionPlan,
    frame: int,
    channel: int,
    part: Slices,
    image: NDArray[Any],
    there: Bools | None,
) -> Bools | None:
    """What is valid in a part of a frame; None: all of it."""
    validity = work.validity
    if channel != work.channel:
        validity = validity.whatever_the_value()
    try:
        return validity.valid(image, frame, work.source.frame_shape, part, there)
    except (MemoryError, UnreachableError):
        raise
    except (
        Exception
    ):  # whatever a codec or a store raises of a mask; the frame's status tells of it
        return np.zeros(image.shape, bool)


def coarsen(
    image: NDArray[Any], known: Bools, factors: list[int], fill: float, labels: bool
) -> tuple[NDArray[Any], Bools]:
    """(t, c, [z,] y, x) with the mean of what is known of so many pixels along each spatial axis.

    Of labels the first of them.
    """
    spread = [np.s_[:], np.s_[:]]
    if labels or image.dtype == np.bool_:
        first = (*spread, *(slice(None, None, factor) for factor in factors))
        return image[first], known[first]
    shape = [-(-size // factor) for size, factor in zip(image.shape[2:], factors, strict=True)]
    shape = [*image.shape[:2], *shape]
    work = np.float32 if image.dtype.itemsize <= 2 or image.dtype == np.float32 else np.float64
    total: NDArray[Any] = np.zeros(shape, work)
    count = np.zeros(shape, np.uint8)
    even = all(size % factor == 0 for size, factor in zip(image.shape[2:], factors, strict=True))
    whole = even and bool(known.all())
    for offsets in product(*(range(factor) for factor in factors)):
        one = (*spread, *(slice(o, None, f) for o, f in zip(offsets, factors, strict=True)))
        piece, there = image[one], known[one]
        place = tuple(slice(0, size) for size in piece.shape)
        if whole:
            total += piece
        else:
            total[place] += np.where(there, piece, 0)
            count[place] += there
    if whole:
        total /= math.prod(factors)
        return convert_dtype(total, image.dtype), known[tuple(np.s_[:size] for size in shape)]
    some = count > 0
    mean = total / np.where(some, count, np.uint8(1)).astype(work)
    return np.where(some, convert_dtype(mean, image.dtype), image.dtype.type(fill)), some
