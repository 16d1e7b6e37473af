"""Read masks from disk, and frames combined with masks."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place, retry_read
from steadystack.file_formats import Pixels, explaining_damage
from steadystack.model import (
    Bools,
    ChangedFrames,
    Frame,
    FrameStatus,
    InputError,
    Slices,
    UnreachableError,
)
from steadystack.readers.formats import find_image
from steadystack.readers.positions import AXIS_NAMES
from steadystack.readers.references import (
    InFile,
    InFiles,
    Reference,
    digest_metadata,
    open_reference,
)
from steadystack.units import parse_layout
from steadystack.validity import Mask, Validity, as_mask

log = logging.getLogger(__name__)

# How many frames' masks are combined to a common mask.
FRAMES_SAMPLED = 5
# Most pixels of a static mask that is kept in memory; of larger ones only regions are read.
MAX_KEPT_PIXELS = 2**24


@dataclass(frozen=True)
class MaskLabels:
    """The meaning of a mask's numbers: `labels` are valid; without labels, all numbers except 0.

    `invert`: these pixels are the invalid ones instead.
    """

    labels: tuple[int, ...] = ()
    invert: bool = False

    def valid(self, values: NDArray[Any]) -> Bools:
        is_listed = np.isin(values, self.labels) if self.labels else as_mask(values)
        # unknown pixels are not valid, inverted or not
        return ~is_listed & (values == values) if self.invert else is_listed


@dataclass(frozen=True)
class MaskSpec:
    """A mask on disk; static, or one per frame.

    In a mask a missing chunk means its fill value: masks are mostly empty by nature.
    """

    path: str
    array: Reference
    axes: tuple[int, ...]  # of the array, in the order of the frame's axes; t first if per frame
    per_frame: bool
    digest: str  # of the pixels of a static mask; of the metadata of a mask per frame
    labels: MaskLabels = MaskLabels()

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Read the mask of one frame of that shape, or a region of it; True: valid."""
        region = region or tuple(slice(0, size) for size in shape)
        if not self.per_frame and math.prod(shape) <= MAX_KEPT_PIXELS:
            return _read_static_mask(self, shape)[region]
        with get_place(self.path).explaining_outages():
            pixels = open_reference(self.path, self.array, self.digest)
            return self.labels.valid(_read_region(pixels, self, frame, shape, region))


@dataclass(frozen=True)
class ValidFrames(ChangedFrames):
    """The frames of a stack, with pixels excluded by `validity` not valid."""

    validity: Validity

    def common_mask(self, region: Slices) -> Bools | None:
        """Combine static masks, and for each mask per frame the union over a sample of frames.

        None: there are no masks, or one cannot be read.
        """
        common = self.frames.common_mask(region)
        sides = tuple((side.start, side.stop) for side in region)
        for mask in self.validity.masks:
            count = self.frame_count if mask.per_frame else 1
            frames = tuple(_sample_frames(count))
            try:
                union = _unite_masks(mask, self.frame_shape, sides, frames)
            except (MemoryError, UnreachableError):
                raise
            except Exception:  # reported for the frame that needs it
                return None
            common = union if common is None else common & union
        return common

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        pixels = self.frames.read(frame, region)
        if pixels.status is FrameStatus.UNREADABLE:
            return pixels
        find_valid = partial(
            self.validity.find_valid, pixels.image, frame, self.frame_shape, region, pixels.valid
        )
        try:
            valid = retry_read(find_valid)
        except (MemoryError, UnreachableError):
            raise
        except Exception as error:  # whatever a codec or a store raises
            return Frame.unreadable(pixels.image.shape, error, "its mask: ")
        return pixels if valid is None else replace(pixels, valid=valid)


def locate_mask(
    path: str,
    frame_count: int,
    frame_shape: tuple[int, ...],
    labels: MaskLabels = MaskLabels(),
    *,
    earlier: int | None = None,
) -> MaskSpec:
    """Locate a mask for frames of a shape and number; reads the pixels of a static mask only.

    `path` may be a Zarr array, an OME-Zarr image or label image, TIFF or .npy. Dimensions of
    length 1 do not count; named ones may come in any order. Raises InputError if the mask has
    neither the shape of a frame nor that of the stack, or numbers between 0 and 1. With `earlier`
    the digest of a mask per frame is the one that it had when it was for so many frames, "" if it
    cannot have been.
    """
    with get_place(path).explaining_outages():
        spec, array = _describe(path, frame_count, frame_shape, earlier=earlier)
        spec = replace(spec, labels=labels)
        if spec.per_frame:
            if array.dtype.kind == "f":
                _check_sample(spec, frame_count, frame_shape)
            return spec
        with explaining_damage(path, "the mask"):
            values = _read_all(array)
        pixels = labels.valid(values).transpose(spec.axes)
    return replace(spec, digest=digest_content(np.packbits(pixels)))


def _check_sample(spec: MaskSpec, frame_count: int, frame_shape: tuple[int, ...]) -> None:
    """Refuse masks with unsuitable numbers, judging by some frames."""
    for frame in _sample_frames(frame_count):
        try:
            spec.read(frame, frame_shape)
        except (InputError, MemoryError, UnreachableError):
            raise
        except Exception:  # reported for the frame that needs it
            log.info("the mask of frame %d in %s cannot be read", frame, spec.path)


def _sample_frames(count: int) -> list[int]:
    """Choose frames spread evenly over `count` frames."""
    frames = np.unique(np.linspace(0, count - 1, FRAMES_SAMPLED).round().astype(int))
    return [int(frame) for frame in frames]


def read_image(
    path: str, frame_shape: tuple[int, ...], region: Slices | None = None
) -> NDArray[np.float64]:
    """Read a single image with the shape of a frame, such as a flat field, or a region of it."""
    with get_place(path).explaining_outages():
        spec, array = _describe(path, 0, frame_shape, is_coded=True)
        region = region or tuple(slice(0, size) for size in frame_shape)
        return np.asarray(_read_region(array, spec, 0, frame_shape, region), np.float64)


@dataclass(frozen=True)
class ImagePart:
    """A part of a single image with the shape of a whole frame, such as a flat field.

    Attributes
    ----------
    path : of the image
    shape : of the whole frame
    first : the first pixel of the part; if it has one more axis, in front, that of the frames'
        single plane
    """

    path: str
    shape: tuple[int, ...]
    first: tuple[int, ...]

    def read(self, region: Slices) -> NDArray[np.float64]:
        """Read a region of the part, one slice for each axis of the frames."""
        planes = (slice(0, 1),) * (len(self.shape) - len(region))
        moved = tuple(
            slice(side.start + begin, side.stop + begin)
            for side, begin in zip((*planes, *region), self.first, strict=True)
        )
        image = read_image(self.path, self.shape, moved)
        return image.reshape(image.shape[len(planes) :])


def _describe(
    path: str,
    frame_count: int,
    frame_shape: tuple[int, ...],
    *,
    is_coded: bool = False,
    earlier: int | None = None,
) -> tuple[MaskSpec, Pixels]:
    """Describe the array at a path, checked to fit shape and number of frames; reads no pixels.

    `is_coded`: its numbers may be encoded values, as xarray writes them; those of masks are not.
    `earlier`: see `locate_mask`.
    """
    located = get_place(path).call_interruptibly(partial(find_image, path, is_coded=is_coded))
    array, ndim = located.pixels, len(located.pixels.shape)
    if array.dtype.kind not in "biuf":
        raise InputError(f"the mask {path} holds {array.dtype}: booleans or numbers are needed")
    names = [AXIS_NAMES.get(dim.lower(), dim) for dim in located.axes or []]
    order = sorted(range(ndim), key=lambda i: "tczyx".find(names[i]) if names else i)
    shape = tuple(int(array.shape[i]) for i in order)
    digest = digest_metadata(path, located.reference, array, names)
    spec = MaskSpec(path, located.reference, tuple(order), False, digest)
    if _drop_single(shape) == _drop_single(frame_shape):
        return spec, array
    per_frame = _drop_single((frame_count, *frame_shape))
    if _drop_single(shape) == per_frame and shape[0] == frame_count:
        if earlier is not None:
            sides = tuple(earlier if i == order[0] else n for i, n in enumerate(array.shape))
            before = find_earlier(path, located.reference, earlier)
            pixels = array if before is None else before.open(path)
            if before is not None:
                digest = digest_metadata(path, before, pixels, names, sides)
            spec = replace(spec, digest="" if before is None else digest)
        return replace(spec, per_frame=True), array
    raise InputError(
        f"the mask {path} has the shape {tuple(array.shape)}: it must be that of a frame, "
        f"{frame_shape}, or of all frames, {(frame_count, *frame_shape)}"
    )


def find_earlier(path: str, reference: Reference, count: int) -> Reference | None:
    """Find where an array was when it had `count` frames; None: files do not grow."""
    if isinstance(reference, InFile) and reference.file_format == "raw":
        layout = replace(parse_layout("input.raw", reference.name), count=count)
        return replace(reference, name=str(layout))
    if not isinstance(reference, InFiles):
        return reference
    files = reference.open(path)
    ends = np.cumsum(files.counts or np.ones(len(files.files), int)).tolist()
    names = files.files[: ends.index(count) + 1] if count in ends else ()
    of_each = reference.file_reference, reference.is_joined
    return InFiles.from_files(names, *of_each) if names else None


def digest_content(values: NDArray[Any]) -> str:
    """Hash an array's values to 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


@lru_cache(maxsize=4)
def _unite_masks(
    mask: Mask,
    shape: tuple[int, ...],
    sides: tuple[tuple[int, int], ...],
    frames: tuple[int, ...],
) -> Bools:
    """Find what is valid in any of the frames, in the region of `sides` (start, stop).

    Cached and read-only.
    """
    region = tuple(slice(*side) for side in sides)
    union = np.logical_or.reduce([mask.read(frame, shape, region) for frame in frames])
    union.setflags(write=False)
    return np.asarray(union)


@lru_cache(maxsize=4)
def _read_static_mask(spec: MaskSpec, shape: tuple[int, ...]) -> Bools:
    """Read a static mask, once per process; the array is read-only."""
    # Opened anew: the pixels as they are now, not as this process first saw them.
    with get_place(spec.path).explaining_outages():
        values = _read_all(spec.array.open(spec.path))
    mask = spec.labels.valid(values).transpose(spec.axes).reshape(shape)
    mask.setflags(write=False)
    return mask


def _read_all(array: Pixels) -> NDArray[Any]:
    return array.read(tuple(slice(0, size) for size in array.shape))


def _read_region(
    array: Pixels, spec: MaskSpec, frame: int, shape: tuple[int, ...], region: Slices
) -> NDArray[Any]:
    """Read a region of the array for one frame, as an array with the frame's axes."""
    slices = [slice(0, 1)] * len(array.shape)
    sides = [side for side, size in zip(region, shape, strict=True) if size != 1]
    axes = spec.axes
    if spec.per_frame:
        slices[axes[0]] = slice(frame, frame + 1)
        axes = axes[1:]
    for axis, side in zip([axis for axis in axes if array.shape[axis] != 1], sides, strict=True):
        slices[axis] = side
    values = array.read(tuple(slices)).transpose(spec.axes)
    return values.reshape([side.stop - side.start for side in region])


def _drop_single(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
