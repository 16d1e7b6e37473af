"""The normal equations of the pair graph: the weighted Laplacian without the frames held at 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from steadystack.model import Ints
from steadystack.solve.factors import Band, Iteration, Solver, Sparse

# A band is worth it up to so many entries in it, and so many per pair.
BAND_ENTRIES, BAND_FILL = 6e7, 100
# A sparse factor of more entries than this (12 bytes each, twice) is not tried.
SPARSE_ENTRIES = 1e8
ALWAYS_FACTORIZED = 3000  # frames: even a full matrix of them is small


@dataclass(frozen=True, eq=False)
class System:
    """The pairs `start` -> `end` over `frame_count` frames of which `held` are 0.

    Every other frame with a pair must be connected to a held one.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    frame_count: int
    held: NDArray[np.int64]

    @cached_property
    def free(self) -> NDArray[np.int64]:
        """The frames that are solved for."""
        touched = np.zeros(self.frame_count, bool)
        touched[self.start] = touched[self.end] = True
        touched[self.held] = False
        return np.flatnonzero(touched)

    @cached_property
    def ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the frames of every pair among the free ones; -1: held."""
        place = np.full(self.frame_count, -1, np.int64)
        place[self.free] = np.arange(len(self.free))
        return place[self.start], place[self.end]

    @cached_property
    def design(self) -> sparse.csr_array:
        """(pairs, free frames): end minus start."""
        start, end = self.ends
        rows = np.arange(len(start))
        there, back = end >= 0, start >= 0
        values = np.concatenate([np.ones(there.sum()), -np.ones(back.sum())])
        places = (
            np.concatenate([rows[there], rows[back]]),
            np.concatenate([end[there], start[back]]),
        )
        return sparse.coo_array((values, places), shape=(len(rows), len(self.free))).tocsr()

    @cached_property
    def transposed(self) -> sparse.csr_array:
        return self.design.T.tocsr()

    @cached_property
    def width(self) -> int:
        """How far the ends of a pair are apart, at most, in free frames."""
        start, end = self.ends
        return int(np.abs(end - start)[(start >= 0) & (end >= 0)].max(initial=0))

    @cached_property
    def entries(self) -> float:
        """A bound on the entries of a sparse factor: frames eliminated after their last pair."""
        start, end = self.ends
        both = (start >= 0) & (end >= 0)
        last = np.arange(len(self.free))
        np.maximum.at(last, np.minimum(start, end)[both], np.maximum(start, end)[both])
        gone = np.cumsum(np.bincount(last, minlength=len(last)))
        return float((np.arange(1, len(last) + 1) - gone).sum())

    @cached_property
    def layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Where the normal matrix has entries (rows, starts of columns), and where weights go.

        The weights: of the pairs' ends that are free (end, start), then twice of both together.
        """
        start, end = self.ends
        both = (start >= 0) & (end >= 0)
        one, two, there, back = start[both], end[both], end[end >= 0], start[start >= 0]
        size = len(self.free)
        columns = np.concatenate([there, back, one, two])
        keys = columns * size + np.concatenate([there, back, two, one])
        entries, slots = np.unique(keys, return_inverse=True)
        starts = np.searchsorted(entries, np.arange(size + 1) * size)
        return entries % max(size, 1), starts, slots

    def weighted(self, weights: NDArray[np.float64]) -> Solver:
        """The system of these weights (pairs,), 1/px²; all of them above 0."""
        start, end = self.ends
        rows, starts, slots = self.layout
        across = -weights[(start >= 0) & (end >= 0)]
        parts = (weights[end >= 0], weights[start >= 0], across, across)
        values = np.bincount(slots, np.concatenate(parts), len(rows))
        size = len(self.free)
        matrix = sparse.csc_array((values, rows, starts), shape=(size, size))
        if size * self.width <= min(BAND_ENTRIES, BAND_FILL * len(weights)):
            return Band(matrix, self.width)
        if size <= ALWAYS_FACTORIZED or self.entries <= SPARSE_ENTRIES:
            return Sparse(matrix)
        return Iteration(matrix.tocsr(), self.transposed @ sparse.diags_array(np.sqrt(weights)))

    def fit(
        self, weights: NDArray[np.float64], measured: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Solver]:
        """Least squares: shifts (frames, columns), 0 where nothing is solved for; residuals."""
        solver = self.weighted(weights)
        solution = solver.solve(self.transposed @ (weights[:, None] * measured))
        shift = np.zeros((self.frame_count, measured.shape[1]))
        shift[self.free] = solution
        return shift, measured - (shift[self.end] - shift[self.start]), solver


# Steps of the fit: where frames are alike the first is right, and each halves what is left.
STEPS = 12


def estimate_shared_part(
    rest: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The part of stated variances that is the frames' own (per component).

    `rest` is the part that residuals show, from so many degrees of `freedom`; where it may be all
    of it within one standard error, pairs pass for independent.
    """
    return np.asarray(np.maximum(1 - rest * (1 + np.sqrt(2 / freedom)), 0))


def estimate_own_variances(
    start: Ints, end: Ints, frame_count: int, shared: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variances (frames,), px², whose sums over the two frames of pairs come next to `shared`.

    None is negative: every pair's variance is split between its frames as they have it now, and a
    frame takes the mean of its shares (Richardson 1972; Lucy 1974). Begun with all alike, which is
    what stays where sums leave it open (a chain, a star). 0 for frames without a pair.
    """
    ends = np.concatenate([start, end])
    number = np.maximum(np.bincount(ends, minlength=frame_count), 1)
    own = np.bincount(ends, np.tile(shared, 2), frame_count) / (2 * number)
    for _ in range(STEPS):
        both = own[start] + own[end]
        ratio = np.divide(shared, both, out=np.zeros_like(both), where=both > 0)
        share = np.bincount(start, ratio, frame_count) + np.bincount(end, ratio, frame_count)
        own = own * share / number
    return np.asarray(own, np.float64)
