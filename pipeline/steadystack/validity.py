"""Masks drawn by outline: ellipses and polygons, in pixels.

Coordinates are in array axis order and those of pixel centres: the first pixel's centre is at 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from steadystack.model import Bools, Slices


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
        return _drawn(self, tuple((side.start, side.stop) for side in part))


@lru_cache(maxsize=4)
def _drawn(mask: DrawnMask, sides: Sequence[tuple[int, int]]) -> Bools:
    part = tuple(slice(*side) for side in sides)
    valid = np.ones([side.stop - side.start for side in part], bool)
    for shape, inside in mask.shapes:
        covered = shape.covers(part[len(part) - shape.ndim :])
        valid &= covered if inside else ~covered
    valid.setflags(write=False)
    return valid
