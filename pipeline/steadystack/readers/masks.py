"""Masks on disk, and frames joined with them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place, retry_read
from steadystack.model import (
    Bools,
    Frame,
    FrameSource,
    FrameStatus,
    InputError,
    Slices,
    UnreachableError,
)
from steadystack.readers.formats import AXIS_NAMES, find_image
from steadystack.readers.pixels import Pixels
from steadystack.readers.references import Reference, digest_metadata, open_reference
from steadystack.validity import Mask, Validity, as_mask

# Frames whose masks are looked at for what they have in common.
ASKED = 5
# Pixels of a static mask that stays in memory; of a larger one only parts are read.
MOST_KEPT = 2**24


@dataclass(frozen=True)
class MaskLabels:
    """What the numbers of a mask mean: valid are those of `labels` (none given: all but 0).

    `invert`: and that is what is not valid.
    """

    labels: tuple[int, ...] = ()
    invert: bool = False

    def valid(self, values: NDArray[Any]) -> Bools:
        found = np.isin(values, self.labels) if self.labels else as_mask(values)
        return ~found if self.invert else found


@dataclass(frozen=True)
class MaskSpec:
    """A mask on disk; static, or one per frame.

    In a mask a missing chunk means its fill value: masks are mostly empty by nature.
    """

    path: str
    array: Reference
    axes: tuple[int, ...]  # of the array, in the order of the frame's axes; t first if per frame
    per_frame: bool
    digest: str  # of the pixels of a static mask, of the metadata of one per frame
    sense: MaskLabels = MaskLabels()

    def read(self, frame: int, shape: tuple[int, ...], part: Slices | None = None) -> Bools:
        """The mask of one frame of that shape, or of a part of it."""
        part = part or tuple(slice(0, size) for size in shape)
        if not self.per_frame and math.prod(shape) <= MOST_KEPT:
            return _read_static_mask(self, shape)[part]
        with get_place(self.path).explaining_outages():
            pixels = open_reference(self.path, self.array, self.digest)
            return self.sense.valid(_read_part(pixels, self, frame, shape, part))


@dataclass(frozen=True)
class ValidFrames:
    """The frames of a stack, whose valid pixels are what every cause leaves."""

    frames: FrameSource
    validity: Validity

    @property
    def frame_count(self) -> int:
        return self.frames.frame_count

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.frames.frame_shape

    @property
    def axes(self) -> tuple[str, ...]:
        return self.frames.axes

    @property
    def in_memory(self) -> bool:
        return self.frames.in_memory

    def common_mask(self, part: Slices) -> Bools | None:
        """Static masks themselves; of those per frame what some frames' make up together."""
        found = self.frames.common_mask(part)
        sides = tuple((side.start, side.stop) for side in part)
        for mask in self.validity.masks:
            count = self.frame_count if mask.per_frame else 1
            frames = np.unique(np.linspace(0, count - 1, ASKED).round().astype(int))
            try:
                union = _unite_masks(mask, self.frame_shape, sides, tuple(frames.tolist()))
            except (MemoryError, UnreachableError):
                raise
            except Exception:  # it will be told of the frame that needs it
                return None
            found = union if found is None else found & union
        return found

    def read(self, frame: int, part: Slices | None = None) -> Frame:
        found = self.frames.read(frame, part)
        if found.status is FrameStatus.UNREADABLE:
            return found
        ask = partial(
            self.validity.find_valid, found.image, frame, self.frame_shape, part, found.valid
        )
        try:
            valid = retry_read(ask)
        except (MemoryError, UnreachableError):
            raise
        except Exception as error:  # whatever a codec or a store raises
            return Frame.unreadable(found.image.shape, error, "its mask: ")
        return found if valid is None else replace(found, valid=valid)


def locate_mask(
    path: str, frame_count: int, frame_shape: tuple[int, ...], sense: MaskLabels = MaskLabels()
) -> MaskSpec:
    """A mask for frames of this shape and number; reads a static one, and no pixel of others.

    A Zarr array, an OME-Zarr image or label image, TIFF or .npy. Dimensions of length 1 do not
    count; named ones may come in any order. Raises InputError if the mask is neither of the shape
    of a frame nor of the shape of the stack.
    """
    with get_place(path).explaining_outages():
        spec, array = _describe(path, frame_count, frame_shape)
        spec = replace(spec, sense=sense)
        if spec.per_frame:
            return spec
        pixels = sense.valid(_read_all(array)).transpose(spec.axes)
    return replace(spec, digest=digest_content(np.packbits(pixels)))


def read_image(
    path: str, frame_shape: tuple[int, ...], part: Slices | None = None
) -> NDArray[np.float64]:
    """A single image of the shape of a frame, such as a flat field; or a part of it."""
    with get_place(path).explaining_outages():
        spec, array = _describe(path, 0, frame_shape)
        part = part or tuple(slice(0, size) for size in frame_shape)
        return np.asarray(_read_part(array, spec, 0, frame_shape, part), np.float64)


def _describe(path: str, frame_count: int, frame_shape: tuple[int, ...]) -> tuple[MaskSpec, Pixels]:
    """What lies at a path, checked to fit frames of this shape and number; reads no pixel."""
    found = get_place(path).call_interruptibly(partial(find_image, path))
    array, ndim = found.pixels, len(found.pixels.shape)
    if array.dtype.kind not in "biuf":
        raise InputError(f"the mask {path} holds {array.dtype}: booleans or numbers are needed")
    names = [AXIS_NAMES.get(dim.lower(), dim) for dim in found.axes or []]
    order = sorted(range(ndim), key=lambda i: "tczyx".find(names[i]) if names else i)
    shape = tuple(int(array.shape[i]) for i in order)
    digest = digest_metadata(path, found.reference, array, names)
    spec = MaskSpec(path, found.reference, tuple(order), False, digest)
    if _drop_ones(shape) == _drop_ones(frame_shape):
        return spec, array
    per_frame = _drop_ones((frame_count, *frame_shape))
    if _drop_ones(shape) == per_frame and shape[0] == frame_count:
        return replace(spec, per_frame=True), array
    raise InputError(
        f"the mask {path} has the shape {tuple(array.shape)}: it must be that of a frame, "
        f"{frame_shape}, or of all frames, {(frame_count, *frame_shape)}"
    )


def digest_content(values: NDArray[Any]) -> str:
    """A short digest of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


@lru_cache(maxsize=4)
def _unite_masks(
    mask: Mask,
    shape: tuple[int, ...],
    sides: tuple[tuple[int, int], ...],
    frames: tuple[int, ...],
) -> Bools:
    """What is valid in a part of any of these frames; not to be written to."""
    part = tuple(slice(*side) for side in sides)
    union = np.logical_or.reduce([mask.read(frame, shape, part) for frame in frames])
    union.setflags(write=False)
    return np.asarray(union)


@lru_cache(maxsize=4)
def _read_static_mask(spec: MaskSpec, shape: tuple[int, ...]) -> Bools:
    """A static mask, read once per process; not to be written to."""
    with get_place(
        spec.path
    ).explaining_outages():  # as it is now, not as this process first saw it
        values = _read_all(spec.array.open(spec.path))
    mask = spec.sense.valid(values).transpose(spec.axes).reshape(shape)
    mask.setflags(write=False)
    return mask


def _read_all(array: Pixels) -> NDArray[Any]:
    return array.read(tuple(slice(0, size) for size in array.shape))


def _read_part(
    array: Pixels, spec: MaskSpec, frame: int, shape: tuple[int, ...], part: Slices
) -> NDArray[Any]:
    """A part of the mask of one frame, as an array with the frame's axes."""
    where = [slice(0, 1)] * len(array.shape)
    sides = [side for side, size in zip(part, shape, strict=True) if size != 1]
    axes = spec.axes
    if spec.per_frame:
        where[axes[0]] = slice(frame, frame + 1)
        axes = axes[1:]
    for axis, side in zip([axis for axis in axes if array.shape[axis] != 1], sides, strict=True):
        where[axis] = side
    found = array.read(tuple(where)).transpose(spec.axes)
    return found.reshape([side.stop - side.start for side in part])


def _drop_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
