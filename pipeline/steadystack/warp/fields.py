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

from steadystack.model import Floats, Slices

# Places per pixel of the grid of nodes at which the extremes of a field are looked for.
FINER = 8
# Where something comes to lie is told to so much of a pixel, in so many rounds at most.
CLOSE, ROUNDS = 1e-6, 50


@dataclass(frozen=True, eq=False)
class LocalField:
    """The local shifts of a frame, or of several.

    Attributes
    ----------
    nodes : ascending places along y and along x, pixels of the moved frame, at least two each
    values : (..., rows, columns, 2) pixels, what has to be applied to the frame at each node
    """

    nodes: tuple[NDArray[np.float64], NDArray[np.float64]]
    values: NDArray[np.float64]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.values if dtype is None else self.values.astype(dtype)

    def __getitem__(self, frames: Any) -> LocalField:
        """The field of a frame, or those of some."""
        return LocalField(self.nodes, self.values[frames])

    def shifted(self, offset: Floats) -> LocalField:
        """The field with an offset (..., 2), pixels, added to all of its shifts."""
        return LocalField(self.nodes, self.values + np.asarray(offset)[..., None, None, :])

    def at(self, y: Floats, x: Floats) -> NDArray[np.float64]:
        """The shifts (..., 2, y, x) at the crossings of these lines and columns, pixels.

        Cubic splines between the nodes (of fewer than four: parabolas, straight lines); beyond the
        outermost ones it is constant.
        """
        along_y, along_x = (
            _make_weights(nodes, places) for nodes, places in zip(self.nodes, (y, x), strict=True)
        )
        return np.asarray(
            np.einsum("yr,...rca,xc->...ayx", along_y, self.values, along_x, optimize=True)
        )

    @property
    def places(self) -> NDArray[np.float64]:
        """Where the nodes are (rows times columns, 2), pixels."""
        crossings = np.meshgrid(*self.nodes, indexing="ij")
        return np.stack(crossings, axis=-1).reshape(-1, 2)

    def at_places(self, places: Floats) -> NDArray[np.float64]:
        """The shifts (..., places, 2) at places (places, 2), pixels."""
        along = [_make_weights(nodes, places[:, axis]) for axis, nodes in enumerate(self.nodes)]
        return np.asarray(
            np.einsum("pr,...rca,pc->...pa", along[0], self.values, along[1], optimize=True)
        )

    def lay(self, places: Floats) -> NDArray[np.float64]:
        """Where what lies at places (places, 2) of the frame is shown, pixels; of a single frame.

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
        """The largest second derivatives along y and along x (2,), per pixel; of a single frame.

        Of its shifts by where they are shown, and by where in the frame that comes from, which
        bends more where the field stretches.
        """
        lines = [np.linspace(n[0], n[-1], FINER * (len(n) - 1) + 1) for n in self.nodes]
        along_y, along_x = (
            [_make_weights(nodes, places, order) for order in range(3)]
            for nodes, places in zip(self.nodes, lines, strict=True)
        )

        def derive(*axes: int) -> NDArray[np.float64]:
            """The derivative (y, x, 2) along these axes."""
            y, x = along_y[axes.count(0)], along_x[axes.count(1)]
            return np.asarray(np.einsum("yr,rca,xc->yxa", y, self.values, x, optimize=True))

        slope = np.stack([derive(0), derive(1)], axis=-1)
        bend = np.stack([np.stack([derive(i, j) for j in (0, 1)], -1) for i in (0, 1)], -2)
        # With q - shift(q) = p, the derivatives of q by p: the first, and from it the second.
        stretch = np.linalg.inv(np.eye(2) - slope)
        shown = np.einsum("yxaii->yxai", bend)
        taken = np.einsum("yxak,yxkij,yxib,yxjb->yxab", stretch, bend, stretch, stretch)
        return np.asarray(np.abs(np.stack([shown, taken])).max(axis=(0, 1, 2, 3)))

    def locate(self, block: Slices) -> NDArray[np.float64]:
        """The positions (2, y, x) in the frame that a block of the moved frame comes from."""
        y, x = (np.arange(side.start, side.stop, dtype=np.float64) for side in block)
        shift = self.at(y, x)
        return np.stack([y[:, None] - shift[0], x - shift[1]])

    def find_extremes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and the largest shift of each frame (..., 2), pixels."""
        y, x = (np.linspace(n[0], n[-1], FINER * (len(n) - 1) + 1) for n in self.nodes)
        shifts = self.at(y, x)
        return shifts.min(axis=(-2, -1)), shifts.max(axis=(-2, -1))


# The motion of a frame, or of several: matrices (..., axes, axes), or local shifts.
AnyMotion: TypeAlias = NDArray[np.float64] | LocalField


def make_nodes(shape: Sequence[int], grid: Sequence[int]) -> tuple[NDArray[np.float64], ...]:
    """Make evenly spaced nodes from the first to the last pixel along each axis."""
    return tuple(np.linspace(0, size - 1, count) for size, count in zip(shape, grid, strict=True))


def _make_weights(
    nodes: NDArray[np.float64], places: Floats, derivative: int = 0
) -> NDArray[np.float64]:
    """How much every node counts at every place (places, nodes), or for a derivative there."""
    from scipy import interpolate  # it takes long to import, and few series need it

    spline = interpolate.CubicSpline(nodes, np.eye(len(nodes)))
    return np.asarray(spline(np.clip(places, nodes[0], nodes[-1]), derivative))
