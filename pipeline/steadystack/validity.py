"""Find which pixels of a frame are valid, from all causes that make pixels invalid.

Outlines are in array axis order, and their coordinates those of pixel centres: the first pixel's
centre is at 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steadystack.model import (
    TOO_LARGE,
    Bools,
    Boxes,
    InputError,
    Slices,
    as_plain,
    find_finite_pixels,
)


class Mask(Protocol):
    """A source of masks of frames, True = valid; one for all frames, or one per frame."""

    @property
    def per_frame(self) -> bool:
        """Whether frames have different masks."""
        ...

    @property
    def digest(self) -> str:
        """A short text that changes with the masks."""
        ...

    def __hash__(self) -> int: ...

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Read the mask of one frame of that shape, or a region of it; not to be written to."""
        ...


@dataclass(frozen=True)
class Validity:
    """The causes that make pixels of a series invalid, besides pixels missing in the store.

    Attributes
    ----------
    masks : of frames, along the axes of `border`
    border : pixels along each side of a frame that are not valid, per axis; (): none
    invalid_values : numbers that mean "no data", such as 0
    valid_range : lowest and highest valid value; None: no limit on that side
    saturation : pixels of this value or more are not valid; None: no limit
    """

    masks: tuple[Mask, ...] = ()
    border: tuple[int, ...] = ()
    invalid_values: tuple[float, ...] = ()
    valid_range: tuple[float | None, float | None] | None = None
    saturation: float | None = None

    @property
    def by_value(self) -> bool:
        """Whether pixels may be invalid by their values; NaN always is."""
        limits = self.valid_range is not None or self.saturation is not None
        return bool(self.invalid_values) or limits

    def drop_value_causes(self) -> Validity:
        """Keep the causes that apply to other channels, too: not values, nor camera defects."""
        masks = tuple(mask for mask in self.masks if not isinstance(mask, DefectMask))
        return Validity(masks, self.border)

    def find_valid(
        self,
        image: NDArray[Any],
        frame: int,
        shape: tuple[int, ...],
        region: Slices | None = None,
        stored: Bools | None = None,
    ) -> Bools | None:
        """Find the valid pixels of a frame, or of a region of it.

        Parameters
        ----------
        image : the pixels of the region
        frame : its number
        shape : of the frame; it may have more axes in front than masks and border have
        region : slices of the frame; None: all of it
        stored : which pixels the store has; None: all

        Returns
        -------
        bool array of the image's shape; None: all of it is valid
        """
        region = region or tuple(slice(0, size) for size in shape)
        last_axes = slice(len(shape) - (len(self.border) or len(shape)), None)
        valid: Bools | None = None
        cropped = (shape[last_axes], region[last_axes])
        for mask in self._find_masks(image, frame, (shape, region), cropped, stored):
            if not mask.all():
                valid = mask if valid is None else valid & mask
        return None if valid is None else np.broadcast_to(valid, image.shape)

    def _find_masks(
        self,
        image: NDArray[Any],
        frame: int,
        whole: tuple[tuple[int, ...], Slices],
        cropped: tuple[tuple[int, ...], Slices],
        stored: Bools | None,
    ) -> Iterator[Bools]:
        """Find the mask from each cause; all broadcast with the image.

        `whole` and `cropped` are shape and region of the frame, with all axes and with those of
        masks and border.
        """
        if stored is not None:
            yield stored
        if self.by_value or image.dtype.kind == "f":
            yield self._check_values(image)
        for mask in self.masks:
            yield mask.read(frame, *cropped)
        yield from self._find_inside_border(*whole)

    def _check_values(self, image: NDArray[Any]) -> Bools:
        """Find the pixels whose values are valid (bool array of the image's shape)."""
        valid = find_finite_pixels(image, TOO_LARGE)
        for value in self.invalid_values:
            valid &= image != value
        low, high = self.valid_range or (None, None)
        if low is not None:
            valid &= image >= low
        if high is not None:
            valid &= image <= high
        if self.saturation is not None:
            valid &= image < self.saturation
        return np.asarray(valid)

    def _find_inside_border(self, shape: Sequence[int], region: Slices) -> Iterator[Bools]:
        """Find, for every axis with a border, the positions along it that are inside (bool)."""
        for axis, width in enumerate(self.border, len(shape) - len(self.border)):
            if width:
                positions = np.arange(region[axis].start, region[axis].stop)
                inside = (positions >= width) & (positions < shape[axis] - width)
                yield inside.reshape([-1 if other == axis else 1 for other in range(len(shape))])


def as_mask(values: ArrayLike) -> Bools:
    """Make a mask from booleans or numbers: True where not 0; NaN is not valid.

    Masked entries of a `numpy.ma` array are unknown, so not valid. Raises InputError if a number is
    between 0 and 1.
    """
    numbers = np.asarray(as_plain(values))
    if numbers.dtype == bool:
        return numbers
    if numbers.dtype.kind == "f" and (between := numbers[(numbers > 0) & (numbers < 1)]).size:
        raise InputError(
            f"the mask has numbers between 0 and 1, such as {between[0]:.3g}: a pixel is valid or "
            "not; set a limit, such as mask > 0.5"
        )
    return np.asarray((numbers != 0) & (numbers == numbers))


@dataclass(frozen=True, eq=False)
class ArrayMask:
    """A mask in memory: one for all frames, or one per frame with the frames' axis in front."""

    values: Bools
    per_frame: bool = False
    digest = "memory"

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Read the mask of one frame, or a region of it; not to be written to."""
        mask: Bools = self.values[frame] if self.per_frame else self.values
        return mask if region is None else mask[region]


@dataclass(frozen=True)
class Ellipse:
    """All points whose distance from `centre`, in `radii` per axis, is at most 1."""

    centre: tuple[float, ...]
    radii: tuple[float, ...]

    @property
    def ndim(self) -> int:
        return len(self.centre)

    def find_covered(self, region: Slices) -> Bools:
        """Find the pixels of a region whose centre is inside (bool array of its shape)."""
        total = np.zeros((1,) * self.ndim)
        for axis, (side, centre, radius) in enumerate(
            zip(region, self.centre, self.radii, strict=True)
        ):
            along = (np.arange(side.start, side.stop) - centre) / radius
            total = total + (along**2).reshape(
                [-1 if other == axis else 1 for other in range(self.ndim)]
            )
        return np.asarray(total <= 1)


@dataclass(frozen=True)
class Polygon:
    """The inside of a closed outline through `corners`, by the even-odd rule; two axes."""

    corners: tuple[tuple[float, float], ...]
    ndim = 2

    def find_covered(self, region: Slices) -> Bools:
        """Find the pixels of a region whose centre is inside (bool array of its shape)."""
        rows, columns = (np.arange(side.start, side.stop) for side in region)
        inside = np.zeros((len(rows), len(columns)), bool)
        before = (*self.corners[-1:], *self.corners[:-1])
        for (row0, column0), (row1, column1) in zip(before, self.corners, strict=True):
            crossed = (rows >= min(row0, row1)) & (rows < max(row0, row1))
            if crossed.any():
                along = (rows[crossed] - row0) / (row1 - row0)
                edge = column0 + along * (column1 - column0)
                inside[crossed] ^= columns[None] >= edge[:, None]
        return inside


@dataclass(frozen=True)
class DrawnMask:
    """A static mask made of shapes: pixels inside (or outside) of every shape are valid.

    `shapes` are (shape, whether its inside is valid). A shape with fewer axes than the frame
    applies to the last ones: in a volume a polygon is a prism.
    """

    shapes: tuple[tuple[Ellipse | Polygon, bool], ...]
    per_frame = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.shapes).encode()).hexdigest()[:16]

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Draw the mask of frames of that shape, or a region of it; not to be written to."""
        region = region or tuple(slice(0, size) for size in shape)
        return _draw(self, tuple((side.start, side.stop) for side in region))


@dataclass(frozen=True)
class DefectMask:
    """A static mask that excludes single pixels of a frame: `pixels`, flat indices in `shape`."""

    shape: tuple[int, ...]
    pixels: tuple[int, ...]
    per_frame = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.pixels).encode()).hexdigest()[:16]

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Read the mask, or a region of it; not to be written to."""
        mask = _leave_out(self)
        return mask if region is None else mask[region]


@dataclass(frozen=True)
class CutMask:
    """The masks of some frames, or of a region of them, cut from those of whole frames.

    Attributes
    ----------
    whole : the masks of whole frames, of all frames
    shape : of a whole frame
    frames : the numbers of the frames
    first : the first pixel of the region, along the axes of a whole frame; if it has one more axis,
        in front, that of the frames' single plane
    """

    whole: Mask
    shape: tuple[int, ...]
    frames: range
    first: tuple[int, ...]

    @property
    def per_frame(self) -> bool:
        return self.whole.per_frame

    @property
    def digest(self) -> str:
        text = f"{self.whole.digest} {self.shape} {self.frames} {self.first}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Read the mask of one of the frames, whose shape is that of the region, or of a part."""
        region = region or tuple(slice(0, size) for size in shape)
        planes = (slice(0, 1),) * (len(self.shape) - len(region))
        moved = tuple(
            slice(side.start + begin, side.stop + begin)
            for side, begin in zip((*planes, *region), self.first, strict=True)
        )
        mask = self.whole.read(self.frames[frame], self.shape, moved)
        return mask[(0,) * len(planes)] if mask.ndim > len(region) else mask


@dataclass(frozen=True)
class BoxMask:
    """A static mask that excludes boxes of a frame: per axis first and one past the last pixel."""

    boxes: Boxes
    per_frame = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.boxes).encode()).hexdigest()[:16]

    def read(self, frame: int, shape: tuple[int, ...], region: Slices | None = None) -> Bools:
        """Read the mask of frames of that shape, or a region of it."""
        region = region or tuple(slice(0, size) for size in shape)
        valid = np.ones([side.stop - side.start for side in region], bool)
        for box in self.boxes:
            inside = (
                slice(max(first - side.start, 0), max(stop - side.start, 0))
                for (first, stop), side in zip(box, region, strict=True)
            )
            valid[tuple(inside)] = False
        return valid


@lru_cache(maxsize=4)
def _leave_out(mask: DefectMask) -> Bools:
    """Make a mask that excludes some pixels; cached."""
    valid = np.ones(mask.shape, bool)
    valid.flat[list(mask.pixels)] = False
    valid.setflags(write=False)
    return valid


@lru_cache(maxsize=4)
def _draw(mask: DrawnMask, sides: Sequence[tuple[int, int]]) -> Bools:
    """Draw a mask over the pixels (first, stop) along each axis; cached."""
    region = tuple(slice(*side) for side in sides)
    valid = np.ones([side.stop - side.start for side in region], bool)
    for shape, inside in mask.shapes:
        covered = shape.find_covered(region[len(region) - shape.ndim :])
        valid &= covered if inside else ~covered
    valid.setflags(write=False)
    return valid
