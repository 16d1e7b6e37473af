"""Which pixels of a frame are valid: every cause in one place, whoever asks.

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

from steadystack.model import Bools, Slices


class Mask(Protocol):
    """What is valid in every frame, True = valid; static, or one per frame."""

    @property
    def per_frame(self) -> bool: ...

    @property
    def digest(self) -> str: ...

    def __hash__(self) -> int: ...

    def read(self, frame: int, shape: tuple[int, ...], part: Slices | None = None) -> Bools:
        """The mask of one frame of that shape, or a part of it; not to be written to."""
        ...


@dataclass(frozen=True)
class Validity:
    """The causes that take pixels away from the frames of a series, beside what a store lacks.

    Attributes
    ----------
    masks : of frames, along the axes of `border`
    border : pixels along each side of a frame that are not valid, per axis; (): none
    invalid_values : numbers that mean "no data", such as 0
    valid_range : lowest and highest valid value; None: no limit on that side
    saturation : from this value on nothing is valid; None: no limit
    """

    masks: tuple[Mask, ...] = ()
    border: tuple[int, ...] = ()
    invalid_values: tuple[float, ...] = ()
    valid_range: tuple[float | None, float | None] | None = None
    saturation: float | None = None

    @property
    def by_value(self) -> bool:
        """Whether values decide, and not places alone; NaN does in any case."""
        limits = self.valid_range is not None or self.saturation is not None
        return bool(self.invalid_values) or limits

    def whatever_the_value(self) -> Validity:
        """The causes that hold for other channels of the same frames, too."""
        return Validity(self.masks, self.border)

    def valid(
        self,
        image: NDArray[Any],
        frame: int,
        shape: tuple[int, ...],
        part: Slices | None = None,
        there: Bools | None = None,
    ) -> Bools | None:
        """What is valid in a frame, or in a part of it.

        Parameters
        ----------
        image : the pixels of the part
        shape : of the frame; it may have more axes in front than masks and border know
        there : which pixels the store has; None: all

        Returns
        -------
        bool array of the image's shape; None: all of it is valid
        """
        part = part or tuple(slice(0, size) for size in shape)
        own = slice(len(shape) - (len(self.border) or len(shape)), None)
        valid: Bools | None = None
        for cause in self._causes(image, frame, (shape, part), (shape[own], part[own]), there):
            if not cause.all():
                valid = cause if valid is None else valid & cause
        return None if valid is None else np.broadcast_to(valid, image.shape)

    def _causes(
        self,
        image: NDArray[Any],
        frame: int,
        whole: tuple[tuple[int, ...], Slices],
        own: tuple[tuple[int, ...], Slices],
        there: Bools | None,
    ) -> Iterator[Bools]:
        """What each cause leaves; shapes that the image's broadcasts with."""
        if there is not None:
            yield there
        if self.by_value or image.dtype.kind == "f":
            yield self._of_values(image)
        for mask in self.masks:
            yield mask.read(frame, *own)
        yield from self._inside(*whole)

    def _of_values(self, image: NDArray[Any]) -> Bools:
        valid = find_finite_pixels(image)
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

    def _inside(self, shape: Sequence[int], part: Slices) -> Iterator[Bools]:
        """For every axis with a border, which places along it lie inside."""
        for axis, width in enumerate(self.border, len(shape) - len(self.border)):
            if width:
                places = np.arange(part[axis].start, part[axis].stop)
                inside = (places >= width) & (places < shape[axis] - width)
                yield inside.reshape([-1 if a == axis else 1 for a in range(len(shape))])


def find_finite_pixels(image: NDArray[Any]) -> Bools:
    """True where a pixel is a number; an array that may be written to."""
    if np.issubdtype(image.dtype, np.inexact):
        return np.asarray(np.isfinite(image))
    return np.ones(image.shape, bool)


def as_mask(values: ArrayLike) -> Bools:
    """A mask from booleans or numbers: True where not 0; NaN is not valid."""
    numbers = np.asarray(values)
    if numbers.dtype == bool:
        return numbers
    return np.asarray((numbers != 0) & (numbers == numbers))


@dataclass(frozen=True, eq=False)
class ArrayMask:
    """A mask in memory: one for all frames, or one per frame with the frames' axis in front."""

    values: Bools
    per_frame: bool = False
    digest = "memory"

    def read(self, frame: int, shape: tuple[int, ...], part: Slices | None = None) -> Bools:
        mask: Bools = self.values[frame] if self.per_frame else self.values
        return mask if part is None else mask[part]


@dataclass(frozen=True)
class Ellipse:
    """All points whose distance from `centre`, in `radii` per axis, is at most 1."""

    centre: tuple[float, ...]
    radii: tuple[float, ...]

    @property
    def ndim(self) -> int:
        return len(self.centre)

    def covers(self, part: Slices) -> Bools:
        """Which pixels of a part of an image have their centre inside."""
        total = np.zeros((1,) * self.ndim)
        for axis, (side, centre, radius) in enumerate(
            zip(part, self.centre, self.radii, strict=True)
        ):
            along = (np.arange(side.start, side.stop) - centre) / radius
            total = total + (along**2).reshape([-1 if d == axis else 1 for d in range(self.ndim)])
        return np.asarray(total <= 1)


@dataclass(frozen=True)
class Polygon:
    """The inside of a closed outline through `corners`, by the even-odd rule; two axes."""

    corners: tuple[tuple[float, float], ...]
    ndim = 2

    def covers(self, part: Slices) -> Bools:
        """Which pixels of a part of an image have their centre inside."""
        rows, columns = (np.arange(side.start, side.stop) for side in part)
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
    """A static mask made of shapes: valid is what lies inside (or outside) of every one.

    `shapes` are (shape, whether its inside is valid). A shape of fewer axes than the frame stands
    for its last ones: in a volume a polygon is a prism.
    """

    shapes: tuple[tuple[Ellipse | Polygon, bool], ...]
    per_frame = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.shapes).encode()).hexdigest()[:16]

    def read(self, frame: int, shape: tuple[int, ...], part: Slices | None = None) -> Bools:
        """The mask of frames of that shape, or a part of it; not to be written to."""
        part = part or tuple(slice(0, size) for size in shape)
        return _draw(self, tuple((side.start, side.stop) for side in part))


@lru_cache(maxsize=4)
def _draw(mask: DrawnMask, sides: Sequence[tuple[int, int]]) -> Bools:
    part = tuple(slice(*side) for side in sides)
    valid = np.ones([side.stop - side.start for side in part], bool)
    for shape, inside in mask.shapes:
        covered = shape.covers(part[len(part) - shape.ndim :])
        valid &= covered if inside else ~covered
    valid.setflags(write=False)
    return valid
