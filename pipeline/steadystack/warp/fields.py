"""Fields of shifts: known at the nodes of a grid, interpolated between them.

A field belongs to the pixels of the moved frame: what is shown at a place of it is taken from the
frame at that place less the shift there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Floats, Slices

# Places per pixel of the grid of nodes at which the extremes of a field are looked for.
FINER = {1: 8, 2: 8, 3: 4}  # by axes
# Where something comes to lie is told to so much of a pixel, in so many rounds at most.
CLOSE, ROUNDS = 1e-6, 50
NODES = "rst"  # letters of the axes of nodes in sums


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
        """The fields (frames, ...), where `frames` says so those of the shift (frames, axes)."""
        nodes = tuple(range(1, 1 + self.ndim))
        is_flat, alike = np.expand_dims(frames, (*nodes, -1)), np.expand_dims(shift, nodes)
        return LocalField(self.nodes, np.where(is_flat, alike, self.values))

    @property
    def ndim(self) -> int:
        """How many axes the nodes have."""
        return len(self.nodes)

    def at(self, *lines: Floats) -> NDArray[np.float64]:
        """The shifts (..., axes, [z,] y, x) where lines of these places along each axis cross, px.

        Cubic splines between the nodes (of fewer than four: parabolas, straight lines); beyond the
        outermost ones it is constant.
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
        """Where what lies at places (places, axes) of the frame is shown, px; of a single frame.

        Every round adds the shift of where the last one has laid it. NaN where that comes to no
        end: where the field folds, several places show the same.
        """
        laid, before = places + self.at_places(places), places
        for _ in range(ROUNDS):
            if np.abs(laid - before).max(initial=0.0) < CLOSE:
                return np.asarray(laid)
            laid, before = places + self.at_places(laid), laid
        is_close = np.abs(laid - before).max(axis=-1, keepdims=True) < CLOSE
        return np.where(is_close, laid, np.nan)

    def find_bends(self) -> NDArray[np.float64]:
        """The largest second derivatives along each axis (axes,), per pixel; of a single frame.

        Of its shifts by where they are shown, and by where in the frame that comes from, which
        bends more where the field stretches.
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

        Of one frame after the other: a fine grid of a volume has many places.
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
        """Places along each axis that are `FINER` than the nodes."""
        finer = FINER[self.ndim]
        return [np.linspace(n[0], n[-1], finer * (len(n) - 1) + 1) for n in self.nodes]


# The motion of a frame, or of several: matrices (..., axes, axes), or local shifts.
AnyMotion: TypeAlias = NDArray[np.float64] | LocalField


def make_nodes(shape: Sequence[int], grid: Sequence[int]) -> tuple[NDArray[np.float64], ...]:
    """Make evenly spaced nodes from the first to the last pixel along each axis."""
    return tuple(np.linspace(0, size - 1, count) for size, count in zip(shape, grid, strict=True))


def _weigh(along: Sequence[NDArray[np.float64]], values: Floats) -> NDArray[np.float64]:
    """Values (..., nodes along each axis, axes) by weights of nodes along each (places, nodes).

    One axis after the other: (..., places along each axis, axes).
    """
    found = np.asarray(values, np.float64)
    for axis, weights in enumerate(along):
        at = axis - 1 - len(along)
        found = np.moveaxis(np.tensordot(weights, found, (1, found.ndim + at)), 0, at)
    return found


def _make_weights(
    nodes: NDArray[np.float64], places: Floats, derivative: int = 0
) -> NDArray[np.float64]:
    """How much every node counts at every place (places, nodes), or for a derivative there."""
    from scipy import interpolate  # it takes long to import, and few series need it

    spline = interpolate.CubicSpline(nodes, np.eye(len(nodes)))
    return np.asarray(spline(np.clip(places, nodes[0], nodes[-1]), derivative))
