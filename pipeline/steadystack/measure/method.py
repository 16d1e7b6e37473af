"""Read and prepare frames, or blocks of large ones, and summarise their pixels."""

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

# Frames, evenly spread, whose median is the flat field: enough to average out the scene.
MEDIAN_FRAMES = 64
FEWEST_MEDIAN_FRAMES = 9
# Memory for them, at 8 bytes a pixel; of large frames fewer are used.
FLAT_FIELD_BYTES = 2**30
# Memory for the median of a strip of them, bytes for each value.
MEDIAN_PER_VALUE = 50

# An image of a frame's shape that is the same for all frames, or its location.
CameraImage: TypeAlias = NDArray[np.floating[Any]] | ImagePart | str | None

NO_PIXEL = (FrameStatus.MISSING, FrameStatus.EMPTY)


@dataclass(frozen=True)
class Method:
    """Everything that affects the shift of a pair, apart from the frames themselves.

    Attributes
    ----------
    search : the lags that are searched, and how the region is cut into blocks and tiles
    conditioning : applied to every frame before it is correlated
    flat_field, fixed_pattern : an image, the path of one, or None
    region : the region of the frames that is read, without their border; None: all of it
    keep : the transforms kept with a frame, see `BatchSize`; no result depends on it
    initial_shifts : known approximately (frames, axes), px; searches are centred on them
    places : positions of the windows of frames (frames, axes), px; None: frames are read as a whole
    cell : centres within boxes with these sides, px, share transforms
    widen : whether pairs without a shift in the search are searched for at every lag
    evaluates_parts : whether the parts of the frame are evaluated; no shift depends on it
    may_lack_box : whether frames may have an invalid box, which is then faster; shifts change by
        rounding only
    """

    search: Search
    conditioning: Conditioning = field(default_factory=Conditioning)
    flat_field: CameraImage = None
    fixed_pattern: CameraImage = None
    region: Slices | None = None
    keep: tuple[Kind, ...] = ()
    initial_shifts: NDArray[np.float64] | None = None
    places: NDArray[np.int64] | None = None
    cell: tuple[int, ...] = ()
    widen: bool = False
    evaluates_parts: bool = True
    may_lack_box: bool = False

    @property
    def whole_region(self) -> Slices:
        """The region of the frames that is read, also if that is all of it."""
        return self.region or tuple(slice(0, size) for size in self.search.shape)

    @property
    def expected_shifts(self) -> NDArray[np.float64] | float:
        """The shifts (frames, axes), px, that searches are centred on, up to a constant."""
        if self.places is not None:
            return -self.places.astype(float)
        return 0.0 if self.initial_shifts is None else self.initial_shifts

    def is_same(self, other: Method) -> bool:
        """Whether pairs are measured in the same way; arrays only count as equal if identical."""
        both = [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]
        differing = [(one, two) for one, two in both if one is not two]
        are_images = (isinstance(each, np.ndarray) for pair in differing for each in pair)
        return not any(are_images) and all(one == two for one, two in differing)

    def part(self, block: int, beyond: int = 0) -> tuple[Slices, Slices]:
        """Find the slices to read for a block, `beyond` px more per side, and the block in these.

        The block is that of the moving frame, which contains the reference's.
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
    """A summary of a frame, or of a block of it, as read and as prepared.

    Every column of the dataset that describes frames as read is an attribute here, by the name of
    its field.
    """

    status: FrameStatus
    reason: str = ""  # why it could not be read
    usable: bool = False  # whether any pixel is
    low: float = np.inf  # of the usable pixels as they were read
    high: float = -np.inf
    dtype: DTypeLike = float
    moments: Moments | None = None  # after the conditioning

    def plus(self, other: ReadSummary) -> ReadSummary:
        """Combine with the summary of another block of the frame."""
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
        """The status of the frame after reading.

        Flat frames are recognised as read, because a flat field or a high-pass gives them texture.
        """
        if self.status is FrameStatus.UNREADABLE:
            return self.status
        if not self.usable or self.moments is None or not self.moments.count:
            return self.status if self.status is FrameStatus.MISSING else FrameStatus.EMPTY
        if is_constant_range(self.low, self.high, np.dtype(self.dtype)) or self.moments.flat:
            return FrameStatus.FLAT
        return self.status

    def value_of(self, column: Column) -> Any:
        """Get the value of a column of the dataset; the code of a status."""
        value = getattr(self, column.field)
        return value.code if isinstance(value, Status) else value

    @cached_property
    def pair_status(self) -> PairStatus:
        """The status that the frame's pairs have because of it; `OK` if they can be measured."""
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
    """Read and prepare a block of a frame for correlation; returns it and its summary.

    `camera_images` are those of the block, from `read_camera_images`. The block is None if it
    cannot be read. A mask that equals one of `masks` is replaced by it; the first of these is the
    mask common to all frames.
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
    """Read a method's flat field and fixed pattern in the region that is read for a block."""
    region, _ = method.part(block, compute_reach(method.conditioning))

    def of(still: CameraImage) -> Floats | None:
        if isinstance(still, str):
            return read_image(still, tuple(frame_shape), region)
        if isinstance(still, ImagePart):
            return still.read(region)
        return None if still is None else still[region]

    return of(method.flat_field), of(method.fixed_pattern)


def estimate_flat_field_bytes(frame_count: int, pixels: int, itemsize: int) -> int:
    """Estimate the memory for the median of frames, in blocks of this many pixels, bytes."""
    held = (itemsize + 2) * count_median_frames(frame_count, pixels) * pixels
    return held + 8 * pixels + MEDIAN_PER_VALUE * MEDIAN_STRIP


def count_median_frames(frame_count: int, pixels: int) -> int:
    """The number of frames whose median is the flat field."""
    affordable = max(FLAT_FIELD_BYTES // (8 * pixels), FEWEST_MEDIAN_FRAMES)
    return min(MEDIAN_FRAMES, frame_count, affordable)


def estimate_flat_field(source: FrameSource, method: Method) -> NDArray[np.float64]:
    """Compute the masked temporal median of frames spread evenly over a stack; NaN: none valid.

    Frames are used as read, in the blocks and the region of the method.
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
    """Read the mask common to all frames in a block, as far as it is known before reading them."""
    region, inside = method.part(block, compute_reach(method.conditioning))
    pixels = source.common_mask(region)
    if pixels is None:
        pixels = np.ones([side.stop - side.start for side in region], bool)
    pixels = narrow(pixels, method.conditioning)[inside]
    return CachedMask(pixels, may_lack_box=method.may_lack_box)


def reuse_mask(pixels: Bools, masks: Sequence[CachedMask], layout: Layout) -> CachedMask:
    """Find the first mask that equals `pixels`, or derive one from the first mask."""
    for mask in masks:
        if np.array_equal(mask.pixels, pixels):
            return mask
    return derive_mask(pixels, masks[0], layout)
