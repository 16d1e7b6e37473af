"""Fields of shifts: known at the nodes of a grid, interpolated between them.

A field belongs to the pixels of the moved frame: a place in it shows what the frame has at that
place minus the shift there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Floats, Slices

# Sampling points per node spacing at which the extremes of a field are searched.
FINER = {1: 8, 2: 8, 3: 4}  # by axes
# Precision (px) and most iterations of finding where a place of the frame is moved to.
CLOSE, ROUNDS = 1e-6, 50
NODES = "rst"  # letters for the axes of nodes in einsum


@dataclass(frozen=True, eq=False)
class LocalField:
    """The local shifts of a frame, or of several.

    Attributes
    ----------
    nodes : ascending places along each axis, [z,] y, x, pixels of the moved frame, at least two
        each
    values : (..., nodes along each axis, axes) pixels, what has to be applied to the frame at each
        node
    """

    nodes: tuple[NDArray[np.float64], ...]
    values: NDArray[np.float64]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.values if dtype is None else self.values.astype(dtype)

    def __getitem__(self, frames: Any) -> LocalField:
        """The field of a frame, or those of some."""
        return LocalField(self.nodes, self.values[frames])

    def shifted(self, offset: Floats) -> LocalField:
        """The field with an offset (..., axes), pixels, added to all of its shifts."""
        added = np.expand_dims(np.asarray(offset), tuple(range(-1 - self.ndim, -1)))
        return LocalField(self.nodes, self.values + added)

    def flattened(self, frames: Bools, shift: Floats) -> LocalField:
        """The fields (frames, ...), constant at the shift (frames, axes) where `frames` is true."""
        nodes = tuple(range(1, 1 + self.ndim))
        is_flat, alike = np.expand_dims(frames, (*nodes, -1)), np.expand_dims(shift, nodes)
        return LocalField(self.nodes, np.where(is_flat, alike, self.values))

    @property
    def ndim(self) -> int:
        """How many axes the nodes have."""
        return len(self.nodes)

    def at(self, *lines: Floats) -> NDArray[np.float64]:
        """The shifts (..., axes, [z,] y, x), px, on the grid of the given places along each axis.

        Cubic splines between the nodes (parabolas or straight lines for fewer than four); constant
        beyond the outermost ones.
        """
        along = [_make_weights(*each) for each in zip(self.nodes, lines, strict=True)]
        shifts = np.moveaxis(_weigh(along, self.values), -1, -1 - self.ndim)
        return np.ascontiguousarray(shifts)

    @property
    def places(self) -> NDArray[np.float64]:
        """Where the nodes are (nodes, axes), pixels."""
        crossings = np.meshgrid(*self.nodes, indexing="ij")
        return np.stack(crossings, axis=-1).reshape(-1, self.ndim)

    def at_places(self, places: Floats) -> NDArray[np.float64]:
        """The shifts (..., places, axes) at places (places, axes), pixels."""
        along = [_make_weights(nodes, places[:, axis]) for axis, nodes in enumerate(self.nodes)]
        names = NODES[: self.ndim]
        terms = ",".join(f"p{name}" for name in names)
        return np.asarray(
            np.einsum(f"...{names}a,{terms}->...pa", self.values, *along, optimize=True)
        )

    def lay(self, places: Floats) -> NDArray[np.float64]:
        """Where places (places, axes) of the frame are moved to, px; for a single frame.

        Iterative: each round adds the shift at the last result. NaN if that does not converge:
        where the field folds, several places show the same pixel.
        """
        laid, before = places + self.at_places(places), places
        for _ in range(ROUNDS):
            if np.abs(laid - before).max(initial=0.0) < CLOSE:
                return np.asarray(laid)
            laid, before = places + self.at_places(laid), laid
        is_close = np.abs(laid - before).max(axis=-1, keepdims=True) < CLOSE
        return np.where(is_close, laid, np.nan)

    def find_bends(self) -> NDArray[np.float64]:
        """The largest second derivatives along each axis (axes,), per pixel; for a single frame.

        Of the shifts as function of the moved place, and of the original place, which bends more
        where the field stretches.
        """
        axes = range(self.ndim)
        along = [
            [_make_weights(nodes, places, order) for order in range(3)]
            for nodes, places in zip(self.nodes, self._make_fine_lines(), strict=True)
        ]

        def derive(*by: int) -> NDArray[np.float64]:
            """The derivative ([z,] y, x, axes) along these axes."""
            return _weigh([along[axis][by.count(axis)] for axis in axes], self.values)

        slope = np.stack([derive(axis) for axis in axes], axis=-1)
        bend = np.stack([np.stack([derive(i, j) for j in axes], -1) for i in axes], -2)
        # With q - shift(q) = p, the derivatives of q by p: the first, and from it the second.
        stretch = np.linalg.inv(np.eye(self.ndim) - slope)
        shown = np.einsum("...aii->...ai", bend)
        taken = np.einsum(
            "...ak,...kij,...ib,...jb->...ab", stretch, bend, stretch, stretch, optimize=True
        )
        most = np.abs(np.stack([shown, taken])).max(axis=tuple(range(-2 - self.ndim, -1)))
        return np.asarray(most.max(axis=0))

    def locate(self, block: Slices) -> NDArray[np.float64]:
        """The positions (axes, [z,] y, x) in the frame that a block of the moved one comes from."""
        lines = [np.arange(side.start, side.stop, dtype=np.float64) for side in block]
        places = self.at(*lines)
        np.negative(places, out=places)
        for place, line in zip(places, np.ix_(*lines), strict=True):
            place += line
        return places

    def find_extremes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and the largest shift of each frame (..., axes), pixels.

        One frame at a time, as a fine grid over a volume has many places.
        """
        frames = self.values.reshape(-1, *self.values.shape[-1 - self.ndim :])
        most, lines = np.empty((2, len(frames), self.ndim)), self._make_fine_lines()
        along = [_make_weights(*each) for each in zip(self.nodes, lines, strict=True)]
        for row, values in enumerate(frames):
            shifts = _weigh(along, values).reshape(-1, self.ndim)
            most[:, row] = shifts.min(axis=0), shifts.max(axis=0)
        low, high = most.reshape(2, *self.values.shape[: -1 - self.ndim], self.ndim)
        return low, high

    def _make_fine_lines(self) -> list[NDArray[np.float64]]:
        """Places along each axis, `FINER` than the nodes."""
        finer = FINER[self.ndim]
        return [np.linspace(n[0], n[-1], finer * (len(n) - 1) + 1) for n in self.nodes]


# The motion of a frame, or of several: matrices (..., axes, axes), or local shifts.
AnyMotion: TypeAlias = NDArray[np.float64] | LocalField


def make_nodes(shape: Sequence[int], grid: Sequence[int]) -> tuple[NDArray[np.float64], ...]:
    """Make evenly spaced nodes from the first to the last pixel along each axis."""
    return tuple(np.linspace(0, size - 1, count) for size, count in zip(shape, grid, strict=True))


def _weigh(along: Sequence[NDArray[np.float64]], values: Floats) -> NDArray[np.float64]:
    """Apply weights of nodes (places, nodes), one per axis, to values (..., nodes, axes).

    One axis after another; the result is (..., places along each axis, axes).
    """
    found = np.asarray(values, np.float64)
    for axis, weights in enumerate(along):
        at = axis - 1 - len(along)
        found = np.moveaxis(np.tensordot(weights, found, (1, found.ndim + at)), 0, at)
    return found


def _make_weights(
    nodes: NDArray[np.float64], places: Floats, derivative: int = 0
) -> NDArray[np.float64]:
    """Weights of the nodes at every place (places, nodes), or for a derivative there."""
    from scipy import interpolate  # slow to import, and rarely needed

    spline = interpolate.CubicSpline(nodes, np.eye(len(nodes)))
    return np.asarray(spline(np.clip(places, nodes[0], nodes[-1]), derivative))
