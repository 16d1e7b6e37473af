"""A grid of parts over the frame: fixed in the camera, the same in all pairs of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from steadystack.model import PART_CUTS, count_parts

# Parts are at least this long along an axis, pixels: shorter axes are cut into fewer.
THINNEST = 4


@dataclass(frozen=True)
class PartGrid:
    """Boxes that together cover the frame, or the region of it that is correlated.

    Attributes
    ----------
    edges : per axis the bounds of the boxes, pixels, ascending; for the whole frame the first is 0
        and the last is its size
    """

    edges: tuple[tuple[int, ...], ...]

    @classmethod
    def make(cls, shape: Sequence[int]) -> PartGrid:
        """Cut a frame of this shape into parts of equal size, to within a pixel."""
        cuts = list(PART_CUTS[len(shape)])
        if len(shape) == 3 and shape[0] < 2 * THINNEST:  # a few planes are not cut
            cuts = [1, 2, 4] if shape[2] >= shape[1] else [1, 4, 2]
        cuts = [max(min(cut, size // THINNEST), 1) for cut, size in zip(cuts, shape, strict=True)]
        return cls(
            tuple(
                tuple(round(size * step / cut) for step in range(cut + 1))
                for size, cut in zip(shape, cuts, strict=True)
            )
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of parts along each axis."""
        return tuple(len(bounds) - 1 for bounds in self.edges)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The centre of every part (parts, axes), pixels; the centre of the first pixel is 0."""
        middles = [np.add(bounds[:-1], bounds[1:]) / 2 - 0.5 for bounds in self.edges]
        return np.array(list(product(*middles)))

    @property
    def places(self) -> int:
        """The number of parts that tables have room for: the most that such a grid has."""
        return count_parts(len(self.edges))
