"""Estimate how well the shifts of a series are known, independent of which frame is at 0.

The errors in a dataset are relative to the anchor, whose own error is part of all others while it
has none itself: weights from them would trust the anchor infinitely. Here a constant common to all
frames of a connected part is removed, so that errors are relative to their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, FrameTable, PairTable
from steadystack.solve import System

# Smallest error, px: those of images without noise are practically 0.
LEAST_STD = 1e-6


@dataclass(frozen=True, eq=False)
class ShiftErrors:
    """Covariance of the shifts of the frames of a connected part, up to a common constant.

    It is ``unit * inverse(graph) + diag(own)``, in every axis.

    Attributes
    ----------
    known : (frames,) which frames are of the part
    own : (frames, axes) px², a frame's own variance; 0 for other frames
    unit : (axes,), factor by which the graph's weights are wrong
    graph : the pairs of the part; None: the errors are the frames' own alone
    weights : of the pairs of the graph, 1/px²
    """

    known: Bools
    own: NDArray[np.float64]
    unit: NDArray[np.float64]
    graph: System | None = None
    weights: NDArray[np.float64] | None = None

    @cached_property
    def solver(self) -> Any:
        assert self.graph is not None
        assert self.weights is not None
        return self.graph.make_solver(self.weights)

    @classmethod
    def independent(cls, variance: NDArray[np.float64]) -> ShiftErrors:
        """Independent errors (frames, axes), px²; NaN: not known."""
        known: Bools = np.asarray(np.isfinite(variance).all(axis=1))
        own = np.where(known[:, None], variance + LEAST_STD**2, 0).astype(np.float64)
        return cls(known, own, np.zeros(variance.shape[1]))

    def multiply(self, vectors: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        """The covariance along an axis, times vectors (frames, columns)."""
        product = self.own[:, axis, None] * vectors
        if self.graph is not None:
            free = self.graph.free
            solved = self.solver.solve(np.ascontiguousarray(vectors[free]))
            product[free] += self.unit[axis] * solved
        return product

    @cached_property
    def diagonal(self) -> NDArray[np.float64]:
        """The diagonal of the covariance (frames, axes), px²."""
        diagonal = self.own.copy()
        if self.graph is not None:
            none = np.zeros(0, np.int64)
            of_graph = self.solver.compute_variances(none, none)[0]
            diagonal[self.graph.free] += np.outer(of_graph, self.unit)
        return diagonal

    def compute_variance(self) -> NDArray[np.float64]:
        """The variances about the mean of the part (frames, axes), px²; NaN for other frames."""
        variance = self.diagonal.copy()
        share = self.known[:, None] / max(int(self.known.sum()), 1)
        for axis in range(variance.shape[1]):
            with_mean = self.multiply(share, axis)
            variance[:, axis] += (share * with_mean).sum() - 2 * with_mean[:, 0]
        least = np.maximum(variance, LEAST_STD**2)
        return np.where(self.known[:, None], least, np.nan)


def find_shift_errors(pairs: PairTable, frames: FrameTable, component: int) -> ShiftErrors:
    """Find the errors of the frames of a connected part of a solved series.

    The graph of its pairs gives their pattern, the deviations from the anchor their size. What the
    latter exceed the pattern by is each frame's own; the anchor is given the usual amount.
    """
    known = frames.component == component
    known &= np.isfinite(frames.shift).all(axis=1) & np.isfinite(frames.shift_std).all(axis=1)
    anchor = frames.anchors[component]
    others = np.flatnonzero(known & (np.arange(len(known)) != anchor))
    if not known[anchor] or not others.size:
        return ShiftErrors.independent(np.full(frames.shift.shape, np.nan))
    used = np.flatnonzero((frames.weight > 0) & known[pairs.reference] & known[pairs.moving])
    own = np.broadcast_to(frames.own_variance, frames.shift.shape).copy()
    own[~known] = 0
    graph = System(
        pairs.reference[used], pairs.moving[used], len(known), np.array([anchor], np.int64)
    )
    weights = frames.weight[used]
    stated = frames.stated_std[others] ** 2
    of_graph = np.maximum(stated - own[others] - own[anchor], 0).sum(axis=0)
    of_one = ShiftErrors(known, np.zeros_like(own), np.ones(own.shape[1]), graph, weights)
    alone = np.maximum(of_one.diagonal.sum(axis=0), np.finfo(float).tiny)
    whole = frames.shift_std[others] ** 2
    ratio = np.maximum(np.median(whole / np.maximum(stated, LEAST_STD**2), axis=0), 1)
    beyond = np.maximum(whole - ratio * stated, 0)
    own *= ratio
    own[others] += beyond
    own[anchor] += np.median(beyond, axis=0)
    own[known] += LEAST_STD**2
    return ShiftErrors(known, own, ratio * of_graph / alone, graph, weights)
