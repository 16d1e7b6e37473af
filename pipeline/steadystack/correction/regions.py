"""Make one region of a corrected stack: read its frames, move them, write it on every level."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction.chunks import Regions, scale_to_level
from steadystack.correction.movements import Movements, get_channel_offsets
from steadystack.durable import get_place
from steadystack.model import Bools, Slices, UnreachableError
from steadystack.ome import make_image_attributes
from steadystack.outputs import PyramidSpec, explaining_write_errors, write_region
from steadystack.readers import StackSpec, cut_at_chunks, get_coordinates, read_block
from steadystack.validity import Validity
from steadystack.warp import (
    HOLE_REACH,
    REACH,
    AnyMotion,
    Box,
    LocalField,
    convert_dtype,
    find_source_part,
    find_warped_part,
    join_parts,
    warp_part,
)


@dataclass(frozen=True, eq=False)
class CorrectionPlan:
    """How a stack is moved and where it is written, for all tasks. Small, except for the shifts.

    Attributes
    ----------
    source : the stack that is read, all its channels and planes
    target : the image that is written
    regions : the regions that the tasks write
    shift : (frames, spatial axes of `source`) pixels; NaN: the frame stays blank
    linear : (frames, 2, 2) of the last two axes or, of volumes, (frames, 3, 3), about the middle of
        a frame, or local shifts; None: shifts alone
    box : the pixels that are shown, along the spatial axes of `source`
    interpolation : see `warp.move`; "nearest" for label images
    labels : whether coarser levels take one pixel of several instead of their mean
    invalid : what becomes of pixels that are not valid: "blank", "keep" or "fill"; see `move_part`
    validity : which pixels are valid in the frames that the shifts were measured on
    channel : the one whose values decide whether a pixel is valid; None: no channel
    offsets : (channels of `source`, spatial axes) pixels, additional shift of each; None: none
    """

    source: StackSpec
    target: PyramidSpec
    regions: Regions
    shift: NDArray[np.float64]
    box: Box
    interpolation: str
    labels: bool
    invalid: str
    validity: Validity
    channel: int | None
    linear: AnyMotion | None = None
    offsets: NDArray[np.float64] | None = None

    def get_shift(self, frame: int, channel: int) -> NDArray[np.float64]:
        """The shift of a frame in a channel (spatial axes,), pixels."""
        offset = 0.0 if self.offsets is None else self.offsets[channel]
        return np.asarray(self.shift[frame] + offset)

    def get_motion(self, frame: int, channel: int) -> AnyMotion:
        """The linear motion of a frame (identity: shift alone), or local shifts of a channel."""
        motion = np.eye(2) if self.linear is None else self.linear[frame]
        if isinstance(motion, LocalField) and self.offsets is not None:
            return motion.shifted(self.offsets[channel, -motion.ndim :])
        return motion

    def find_source(self, frame: int, channel: int, box: Box, margin: int) -> Slices | None:
        """Find the region of a frame that a box of the moved frame needs; None: none."""
        shift, shape = self.get_shift(frame, channel), self.source.frame_shape
        reach = REACH[self.interpolation]
        if not np.isfinite(shift).all():
            return None
        if self.linear is None:
            return find_source_part(box, shift, shape, reach, margin)
        motion = self.get_motion(frame, channel)
        return find_warped_part(box, motion, shift, shape, reach + 1, margin)


def place_canvas(canvas: Box, axes: Sequence[str], source: StackSpec) -> Box:
    """Extend a canvas over `axes` to all spatial axes of a stack, with full extent along others."""
    first = dict(zip(axes, canvas.first, strict=True))
    sides = dict(zip(axes, canvas.shape, strict=True))
    return Box(
        tuple(first.get(axis, 0) for axis in source.spatial),
        tuple(sides.get(axis, source.size(axis)) for axis in source.spatial),
    )


def add_labelled_offsets(
    movements: Movements, stack: xr.DataArray, shifts: xr.Dataset
) -> Movements:
    """Add the offsets of those channels of the stack that are in the dataset."""
    offsets = get_channel_offsets(shifts)
    if offsets is None or "c" not in (*stack.dims, *stack.coords):
        return movements
    labels = [str(label) for label in np.atleast_1d(stack["c"].to_numpy())]
    wanted = shifts["channel"].to_numpy().tolist()
    if not set(wanted) & set(labels):
        warnings.warn(
            f"the offsets are for the channels {wanted}, but the stack has {labels}: no channel "
            "is moved by its offset; give the stack the labels of the dataset (assign_coords)",
            stacklevel=3,
        )
        return movements
    still = np.zeros(offsets.shape[1])
    found = [offsets[wanted.index(label)] if label in wanted else still for label in labels]
    return replace(movements, offsets=np.stack(found))


def assign_box_coordinates(
    filled: xr.DataArray, stack: xr.DataArray, axes: list[str], box: Box
) -> xr.DataArray:
    """Give a box of a stack its coordinates, beginning at the box along the axes."""
    others = {
        name: coordinate
        for name, coordinate in stack.coords.items()
        if not set(axes) & set(coordinate.dims)
    }
    return filled.assign_coords(others).assign_coords(_make_coordinates(stack, axes, box))


def _make_coordinates(stack: xr.DataArray, axes: list[str], box: Box) -> dict[str, Any]:
    """Make the coordinates of a box by continuing those of the stack; pixels if it has none."""
    coordinates = {}
    for axis, first, size in zip(axes, box.first, box.shape, strict=True):
        stack_coordinate = stack.coords.get(axis)
        begin, step = 0.0, 1.0
        if stack_coordinate is not None and stack_coordinate.size > 1:
            begin = float(stack_coordinate[0])
            step = float(stack_coordinate[-1] - stack_coordinate[0]) / (stack_coordinate.size - 1)
        values = begin + step * (first + np.arange(size))
        attributes = {} if stack_coordinate is None else stack_coordinate.attrs
        coordinates[axis] = (axis, values, attributes)
    return coordinates


def make_attributes(
    path: str, target: PyramidSpec, source: StackSpec, canvas: Box, axes: Sequence[str]
) -> dict[str, Any]:
    """Make the attributes of an image, to be written to `path`, that shows a canvas over `axes`."""
    return make_image_attributes(
        target.axes,
        [(level.name, level.factors) for level in target.levels],
        get_coordinates(source),
        name=get_place(path).name.split(".")[0],
        version=target.version,
        first=dict(zip(axes, canvas.first, strict=True)),
    )


def correct_region(number: int, plan: CorrectionPlan) -> list[int]:
    """Write a region, given by its number.

    Returns how many of its pixels are known, for every channel of every frame.
    """
    region = plan.regions.get_slices(number)
    image, is_known = move_region(plan, region)
    counts = [int(np.count_nonzero(channel)) for frame in is_known for channel in frame]
    with explaining_write_errors(plan.target.path):
        if plan.target.valid is not None:
            write_region(plan.target, plan.target.valid, region, is_known)
        write_levels(plan.target, plan.source.spatial, region, image, is_known, plan.labels)
    return counts


def write_levels(
    target: PyramidSpec,
    spatial: Sequence[str],
    region: Slices,
    image: NDArray[Any],
    is_known: Bools,
    labels: bool = False,
) -> None:
    """Write a region on every level, each made from the next finer one.

    `image` and `is_known` are (t, c, [z,] y, x), with the axes `spatial` behind t and c.
    """
    for level, finer in zip(target.levels, (None, *target.levels), strict=False):
        if finer is not None:
            factors = np.floor_divide(level.factors, finer.factors)
            along = [
                int(f) for axis, f in zip(target.axes, factors, strict=True) if axis in spatial
            ]
            image, is_known = coarsen(image, is_known, along, target.fill_value, labels)
        write_region(target, level, scale_to_level(region, level), image)


def move_region(plan: CorrectionPlan, region: Slices) -> tuple[NDArray[Any], Bools]:
    """Read and move the frames of a region of the corrected stack.

    Returns pixels and the booleans that say which of them are known, both (t, c, [z,] y, x).
    """
    slices = dict(zip(plan.target.axes, region, strict=True))
    frames = range(slices["t"].start, slices["t"].stop)
    channels = range(slices["c"].start, slices["c"].stop) if "c" in slices else range(1)
    box = Box(
        tuple(
            slices[axis].start + first
            for axis, first in zip(plan.source.spatial, plan.box.first, strict=True)
        ),
        tuple(slices[axis].stop - slices[axis].start for axis in plan.source.spatial),
    )
    shape = (len(frames), len(channels), *box.shape)
    image = np.full(shape, plan.target.fill_value, plan.target.dtype)
    is_known = np.zeros(shape, bool)
    chunk = dict(zip(plan.source.axes, plan.source.chunks, strict=True))
    for frame_group, channel_group in product(
        cut_at_chunks(frames, chunk.get("t", 1)), cut_at_chunks(channels, chunk.get("c", 1))
    ):
        inside = tuple(
            slice(group.start - indices.start, group.stop - indices.start)
            for group, indices in ((frame_group, frames), (channel_group, channels))
        )
        _move_group(plan, frame_group, channel_group, box, image[inside], is_known[inside])
    return image, is_known


def _move_group(
    plan: CorrectionPlan,
    frames: range,
    channels: range,
    box: Box,
    image: NDArray[Any],
    is_known: Bools,
) -> None:
    """Read frames and channels that share their chunks at once, and move them.

    Fills `image` and `is_known`, both (t, c, [z,] y, x), for the pixels of `box`.
    """
    shape = plan.source.frame_shape
    margin = HOLE_REACH if plan.invalid == "fill" else 0
    source_regions = {
        (frame, channel): region
        for frame, channel in product(frames, channels)
        if (region := plan.find_source(frame, channel, box, margin)) is not None
    }
    if not source_regions:
        return
    source = plan.source
    chunks = [source.chunks[source.axes.index(axis)] for axis in source.spatial]
    region = join_parts(source_regions.values(), shape, chunks)
    # Blank frames are not read, so broken chunks in them do no harm.
    read_frames = range(min(source_regions)[0], max(source_regions)[0] + 1)
    pixels, valid = read_block(plan.source, read_frames, channels, region)
    for frame, channel in source_regions:
        target_index = (frame - frames.start, channel - channels.start)
        source_index = (frame - read_frames.start, channel - channels.start)
        stored_valid = None if valid is None else valid[source_index]
        warp_part(
            pixels[source_index],
            _read_valid(plan, frame, channel, region, pixels[source_index], stored_valid),
            region,
            shape,
            plan.get_motion(frame, channel),
            plan.get_shift(frame, channel),
            box.first,
            plan.interpolation,
            image[target_index],
            is_known[target_index],
            invalid=plan.invalid,
        )


def _read_valid(
    plan: CorrectionPlan,
    frame: int,
    channel: int,
    region: Slices,
    image: NDArray[Any],
    stored_valid: Bools | None,
) -> Bools | None:
    """Find the valid pixels of a region of a frame; None: all of them.

    `image` are the pixels of the region, `stored_valid` which of them the store calls valid.
    """
    validity = plan.validity
    if channel != plan.channel:
        validity = validity.drop_value_causes()
    try:
        return validity.find_valid(image, frame, plan.source.frame_shape, region, stored_valid)
    except (MemoryError, UnreachableError):
        raise
    except Exception:  # a mask may raise anything; the frame's status says it
        return np.zeros(image.shape, bool)


def coarsen(
    image: NDArray[Any], is_known: Bools, factors: list[int], fill: float, labels: bool
) -> tuple[NDArray[Any], Bools]:
    """Coarsen an image: the mean of the known pixels of each block; for labels the first pixel.

    Parameters
    ----------
    image, is_known : pixels, and which of them are known, (t, c, [z,] y, x)
    factors : pixels of a block along each spatial axis
    fill : value of blocks in which no pixel is known
    labels : whether the pixels are labels

    Returns
    -------
    image, is_known : of the coarser image; a block is known if one of its pixels is
    """
    leading = [np.s_[:], np.s_[:]]
    if labels or image.dtype == np.bool_:
        first = (*leading, *(slice(None, None, factor) for factor in factors))
        return image[first], is_known[first]
    shape = [-(-size // factor) for size, factor in zip(image.shape[2:], factors, strict=True)]
    shape = [*image.shape[:2], *shape]
    fits_float32 = image.dtype.itemsize <= 2 or image.dtype == np.float32
    work_dtype = np.float32 if fits_float32 else np.float64
    total: NDArray[Any] = np.zeros(shape, work_dtype)
    count = np.zeros(shape, np.uint8)
    even = all(size % factor == 0 for size, factor in zip(image.shape[2:], factors, strict=True))
    all_known = even and bool(is_known.all())
    for offsets in product(*(range(factor) for factor in factors)):
        every = (
            *leading,
            *(slice(offset, None, factor) for offset, factor in zip(offsets, factors, strict=True)),
        )
        piece, piece_known = image[every], is_known[every]
        region = tuple(slice(0, size) for size in piece.shape)
        if all_known:
            total += piece
        else:
            total[region] += np.where(piece_known, piece, 0)
            count[region] += piece_known
    if all_known:
        total /= math.prod(factors)
        return convert_dtype(total, image.dtype), is_known[tuple(np.s_[:size] for size in shape)]
    is_filled = count > 0
    mean = total / np.where(is_filled, count, np.uint8(1)).astype(work_dtype)
    return np.where(is_filled, convert_dtype(mean, image.dtype), image.dtype.type(fill)), is_filled
