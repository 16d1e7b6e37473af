"""Frames, or blocks of large ones, read and made ready; and what was seen of them on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from steadystack.conditioning import (
    MEDIAN_STRIP,
    Conditioning,
    compute_masked_median,
    compute_reach,
    condition,
    narrow,
)
from steadystack.model import (
    Bools,
    Column,
    Floats,
    FrameSource,
    FrameStatus,
    PairStatus,
    Slices,
    Status,
)
from steadystack.ncc import (
    CachedMask,
    Kind,
    Layout,
    MaskedImage,
    Moments,
    derive_mask,
    find_extremes,
    is_constant_range,
    make_masked_image,
)
from steadystack.readers import ImagePart, read_image
from steadystack.register import Search
from steadystack.run_log import count_steps

# Frames that the stack's own median is taken over: evenly spread, enough to outvote the scene.
MEDIAN_FRAMES = 64
FEWEST_MEDIAN_FRAMES = 9
# Memory for them, of 8 bytes a pixel; fewer are taken where they are large.
FLAT_FIELD_BYTES = 2**30
# What the median of a strip of them takes, bytes for each value.
MEDIAN_PER_VALUE = 50

# An image of a frame's shape that is the same for all frames, or where it lies.
CameraImage: TypeAlias = NDArray[np.floating[Any]] | ImagePart | str | None

NO_PIXEL = (FrameStatus.MISSING, FrameStatus.EMPTY)


@dataclass(frozen=True)
class Method:
    """Everything that affects the shift of a pair, apart from the frames themselves.

    Attributes
    ----------
    search : what is searched for in the region, and how that is cut for it
    conditioning : what is done to every frame before it is correlated
    flat_field, fixed_pattern : an image, the path of one, or None
    region : the part of the frames that is read, without their border; None: all of them
    initial_shifts : shifts (frames, axes) that are known before, px; searches are centred on them
    places : where the windows of frames lie (frames, axes), px; None: frames are read as a whole
    cell : centres that are this near to each other along each axis share transforms, px
    widen : whether pairs without a shift in the search are searched for at every lag
    asks_parts : whether every pair is asked of the parts of the frame; no shift depends on it
    may_lack_box : whether frames may lack a box, which then takes less time; no shift depends on
        it but by rounding
    """

    search: Search
    conditioning: Conditioning = field(default_factory=Conditioning)
    flat_field: CameraImage = None
    fixed_pattern: CameraImage = None
    region: Slices | None = None
    keep: tuple[Kind, ...] = ()  # see `BatchSize`; no number depends on it
    initial_shifts: NDArray[np.float64] | None = None
    places: NDArray[np.int64] | None = None
    cell: tuple[int, ...] = ()
    widen: bool = False
    asks_parts: bool = True
    may_lack_box: bool = False

    @property
    def whole_region(self) -> Slices:
        """The part of the frames that is read, also where that is all of them."""
        return self.region or tuple(slice(0, size) for size in self.search.shape)

    @property
    def expected_shifts(self) -> NDArray[np.float64] | float:
        """The shifts (frames, axes), px, that searches are centred on, but for the same of all."""
        if self.places is not None:
            return -self.places.astype(float)
        return 0.0 if self.initial_shifts is None else self.initial_shifts

    def is_same(self, other: Method) -> bool:
        """Whether pairs are measured alike; images and shifts are the same only if they are one."""
        both = [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]
        differing = [(one, two) for one, two in both if one is not two]
        are_images = (isinstance(each, np.ndarray) for pair in differing for each in pair)
        return not any(are_images) and all(one == two for one, two in differing)

    def part(self, block: int, beyond: int = 0) -> tuple[Slices, Slices]:
        """Where to read a block in the frame, so many pixels more per side; and where it is in it.

        It is the part that the moving frame needs, which holds the reference's.
        """
        inside, outside = [], []
        for side, bounds, size in zip(
            self.search.blocks[block].moving, self.whole_region, self.search.shape, strict=True
        ):
            low, high = max(side.start - beyond, 0), min(side.stop + beyond, size)
            outside.append(slice(bounds.start + low, bounds.start + high))
            inside.append(slice(side.start - low, side.stop - low))
        return tuple(outside), tuple(inside)


@dataclass(frozen=True)
class ReadSummary:
    """What reading a frame, or a block of it, gave, and what preparing it left.

    Whatever measuring is to tell of frames in the dataset is an attribute here, by the field of its
    column.
    """

    status: FrameStatus
    reason: str = ""  # why it could not be read
    usable: bool = False  # whether any pixel was
    low: float = np.inf  # of the usable pixels as they were read
    high: float = -np.inf
    dtype: DTypeLike = float
    moments: Moments | None = None  # after the conditioning

    def plus(self, other: ReadSummary) -> ReadSummary:
        """The summary of two blocks of a frame together."""
        both = (self, other)
        bad = [summary for summary in both if summary.status is FrameStatus.UNREADABLE]
        alike = self.status is other.status
        moments = [summary.moments for summary in both if summary.moments is not None]
        return ReadSummary(
            status=bad[0].status if bad else self.status if alike else FrameStatus.INCOMPLETE,
            reason=bad[0].reason if bad else "",
            usable=self.usable or other.usable,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            dtype=self.dtype,
            moments=moments[0].add(moments[1]) if len(moments) == 2 else next(iter(moments), None),
        )

    @cached_property
    def frame_read_status(self) -> FrameStatus:
        """What became of the frame.

        Blank frames are judged as they were read: a flat field or a high-pass gives them texture.
        """
        if self.status is FrameStatus.UNREADABLE:
            return self.status
        if not self.usable or self.moments is None or not self.moments.count:
            return self.status if self.status is FrameStatus.MISSING else FrameStatus.EMPTY
        if is_constant_range(self.low, self.high, np.dtype(self.dtype)) or self.moments.flat:
            return FrameStatus.FLAT
        return self.status

    def value_of(self, column: Column) -> Any:
        """What a column of the dataset has of this frame; of a status its code."""
        value = getattr(self, column.field)
        return value.code if isinstance(value, Status) else value

    @cached_property
    def pair_status(self) -> PairStatus:
        """What that makes of the frame's pairs; `OK` if they can be measured."""
        if self.frame_read_status in NO_PIXEL:
            return PairStatus.EMPTY
        causes = {
            FrameStatus.UNREADABLE: PairStatus.UNREADABLE,
            FrameStatus.FLAT: PairStatus.FLAT,
        }
        return causes.get(self.frame_read_status, PairStatus.OK)


def prepare_block(
    source: FrameSource,
    frame: int,
    block: int,
    method: Method,
    camera_images: Sequence[Floats | None],
    masks: Sequence[CachedMask],
) -> tuple[MaskedImage | None, ReadSummary]:
    """A block of a frame, ready to be correlated, and what was seen of it.

    `camera_images` are those of the block, from `read_camera_images`. The block is None where
    nothing can be read. A mask that equals one of `masks` is that one; the first of them is common
    to all.
    """
    outside, inside = method.part(block, compute_reach(method.conditioning))
    read = source.read(frame, outside)
    if read.status is FrameStatus.UNREADABLE:
        return None, ReadSummary(read.status, read.reason)
    low, high = find_extremes(read.image, read.valid)
    image, valid = condition(read.image, read.valid, method.conditioning, *camera_images)
    mask = reuse_mask(valid[inside], masks, method.search.layouts[block])
    prepared = make_masked_image(image[inside], mask)
    moments = Moments.compute(prepared, method.search.find_frame_parts(block)[1])
    summary = ReadSummary(read.status, "", low <= high, low, high, read.image.dtype, moments)
    return prepared, summary


def read_camera_images(
    method: Method, frame_shape: Sequence[int], block: int
) -> tuple[Floats | None, Floats | None]:
    """The parts of a method's flat field and fixed pattern that belong to a block as it is read."""
    region, _ = method.part(block, compute_reach(method.conditioning))

    def of(still: CameraImage) -> Floats | None:
        if isinstance(still, str):
            return read_image(still, tuple(frame_shape), region)
        if isinstance(still, ImagePart):
            return still.read(region)
        return None if still is None else still[region]

    return of(method.flat_field), of(method.fixed_pattern)


def estimate_flat_field_bytes(frame_count: int, pixels: int, itemsize: int) -> int:
    """The memory in which the median of frames is taken, of blocks of so many pixels, about."""
    held = (itemsize + 2) * count_median_frames(frame_count, pixels) * pixels
    return held + 8 * pixels + MEDIAN_PER_VALUE * MEDIAN_STRIP


def count_median_frames(frame_count: int, pixels: int) -> int:
    """Over how many frames the stack's own median is taken."""
    affordable = max(FLAT_FIELD_BYTES // (8 * pixels), FEWEST_MEDIAN_FRAMES)
    return min(MEDIAN_FRAMES, frame_count, affordable)


def estimate_flat_field(source: FrameSource, method: Method) -> NDArray[np.float64]:
    """The masked temporal median of frames spread evenly over a stack; NaN where none is valid.

    The method's conditioning says which pixels are valid.
    """
    median, blocks = np.full(source.frame_shape, np.nan), len(method.search.blocks)
    for block in range(blocks):
        region, _ = method.part(block)
        count = count_median_frames(source.frame_count, median[region].size)
        chosen = np.unique(np.linspace(0, source.frame_count - 1, count).round().astype(int))
        what = "flat field" if blocks == 1 else f"flat field, block {block + 1} of {blocks}"
        frames = [
            source.read(int(frame), region)
            for frame in count_steps(chosen, len(chosen), what, "frames")
        ]
        median[region] = compute_masked_median(
            [frame.image for frame in frames], [frame.valid for frame in frames]
        )
    return median


def read_common_mask(source: FrameSource, block: int, method: Method) -> CachedMask:
    """What is valid in a block of all frames, as far as that is known before they are read."""
    region, inside = method.part(block, compute_reach(method.conditioning))
    pixels = source.common_mask(region)
    if pixels is None:
        pixels = np.ones([side.stop - side.start for side in region], bool)
    pixels = narrow(pixels, method.conditioning)[inside]
    return CachedMask(pixels, may_lack_box=method.may_lack_box)


def reuse_mask(pixels: Bools, masks: Sequence[CachedMask], layout: Layout) -> CachedMask:
    """The first of some masks that equals `pixels`, or one made from the first of them."""
    for mask in masks:
        if np.array_equal(mask.pixels, pixels):
            return mask
    return derive_mask(pixels, masks[0], layout)
