"""A grid of parts over the frame: fixed in the camera, the same in all pairs of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from steadystack.model import PART_CUTS, count_parts

# An axis shorter than this times its cuts is cut less often, pixels.
THINNEST = 4


@dataclass(frozen=True)
class PartGrid:
    """Boxes that together are the frame, or the part of it that is correlated.

    Attributes
    ----------
    edges : per axis the bounds of the boxes, pixels; the first is 0, the last the size
    """

    edges: tuple[tuple[int, ...], ...]

    @classmethod
    def make(cls, shape: Sequence[int]) -> PartGrid:
        """Cut a frame of this shape into parts as even as whole pixels are."""
        cuts = list(PART_CUTS[len(shape)])
        if len(shape) == 3 and shape[0] < 2 * THINNEST:  # a few planes are one
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
        """How many parts there are along each axis."""
        return tuple(len(bounds) - 1 for bounds in self.edges)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of every part (parts, axes), pixels from the first of the frame."""
        middles = [np.add(bounds[:-1], bounds[1:]) / 2 - 0.5 for bounds in self.edges]
        return np.array(list(product(*middles)))

    @property
    def places(self) -> int:
        """How many parts a table has room for: as many as a grid of these axes has at most."""
        return count_parts(len(self.edges))
