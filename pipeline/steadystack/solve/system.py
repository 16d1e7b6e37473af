"""The normal equations of the pair graph: the weighted Laplacian without the frames held at 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from steadystack.model import Bools, Ints
from steadystack.solve.factors import Band, Iteration, Solver, Sparse

# Most entries of a banded matrix, in all and per pair.
BAND_ENTRIES, BAND_FILL = 6e7, 100
# A sparse factor of more entries than this (12 bytes each, twice) is not tried.
SPARSE_ENTRIES = 1e8
ALWAYS_FACTORIZED = 3000  # frames: even a full matrix of them is small


@dataclass(frozen=True, eq=False)
class System:
    """The pairs `start` -> `end` (pairs,) over `frame_count` frames of which `held` are 0.

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
        """Positions of both frames of every pair among the free frames; -1: held."""
        position = np.full(self.frame_count, -1, np.int64)
        position[self.free] = np.arange(len(self.free))
        return position[self.start], position[self.end]

    @cached_property
    def design(self) -> sparse.csr_array:
        """The design matrix (pairs, free frames): 1 for the end of a pair, -1 for its start."""
        start, end = self.ends
        rows = np.arange(len(start))
        end_free, start_free = end >= 0, start >= 0
        values = np.concatenate([np.ones(end_free.sum()), -np.ones(start_free.sum())])
        indices = (
            np.concatenate([rows[end_free], rows[start_free]]),
            np.concatenate([end[end_free], start[start_free]]),
        )
        return sparse.coo_array((values, indices), shape=(len(rows), len(self.free))).tocsr()

    @cached_property
    def transposed(self) -> sparse.csr_array:
        return self.design.T.tocsr()

    @cached_property
    def width(self) -> int:
        """The largest separation of a pair, counted in free frames: the bandwidth."""
        start, end = self.ends
        return int(np.abs(end - start)[(start >= 0) & (end >= 0)].max(initial=0))

    @cached_property
    def entries(self) -> float:
        """A bound on a sparse factor's entries if frames are eliminated after their last pair."""
        start, end = self.ends
        both_free = (start >= 0) & (end >= 0)
        last = np.arange(len(self.free))
        np.maximum.at(last, np.minimum(start, end)[both_free], np.maximum(start, end)[both_free])
        gone = np.cumsum(np.bincount(last, minlength=len(last)))
        return float((np.arange(1, len(last) + 1) - gone).sum())

    @cached_property
    def layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The normal matrix's entries (rows, starts of columns), and the entry each weight goes to.

        Weights come in this order: of pairs whose end is free, of pairs whose start is free, then
        twice those of pairs with both free.
        """
        start, end = self.ends
        both_free = (start >= 0) & (end >= 0)
        both_start, both_end = start[both_free], end[both_free]
        free_end, free_start = end[end >= 0], start[start >= 0]
        size = len(self.free)
        columns = np.concatenate([free_end, free_start, both_start, both_end])
        keys = columns * size + np.concatenate([free_end, free_start, both_end, both_start])
        entries, slots = np.unique(keys, return_inverse=True)
        starts = np.searchsorted(entries, np.arange(size + 1) * size)
        return entries % max(size, 1), starts, slots

    def make_solver(self, weights: NDArray[np.float64]) -> Solver:
        """Make the solver of the system with these weights (pairs,), 1/px², all above 0."""
        start, end = self.ends
        rows, starts, slots = self.layout
        across = -weights[(start >= 0) & (end >= 0)]
        entries = (weights[end >= 0], weights[start >= 0], across, across)
        values = np.bincount(slots, np.concatenate(entries), len(rows))
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
        """Fit `measured` (pairs, columns), px, by least squares with `weights` (pairs,), 1/px².

        Returns
        -------
        shifts (frames, columns), 0 for frames not solved for; residuals (pairs, columns); solver
        """
        solver = self.make_solver(weights)
        solution = solver.solve(self.transposed @ (weights[:, None] * measured))
        shift = np.zeros((self.frame_count, measured.shape[1]))
        shift[self.free] = solution
        return shift, measured - (shift[self.end] - shift[self.start]), solver


# Steps of the fit: exact after the first where frames are alike; each halves the error.
STEPS = 12


def estimate_shared_fraction(
    residual_fraction: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Estimate the fraction of stated variances due to the frames themselves, per component.

    `residual_fraction` is the fraction that residuals show, from `freedom` degrees of freedom;
    where it may be 1 within one standard error, pairs are taken as independent.
    """
    return np.asarray(np.maximum(1 - residual_fraction * (1 + np.sqrt(2 / freedom)), 0))


def estimate_own_variances(
    start: Ints, end: Ints, frame_count: int, shared: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Estimate variances (frames,), px², whose sums over the two frames of pairs fit `shared`.

    None is negative. In every step a pair's variance (`shared`, (pairs,), px²) is split between its
    frames in proportion to theirs, and a frame takes the mean of its shares (Richardson 1972; Lucy
    1974). All start equal, and stay so where the sums do not determine them (a chain, a star). 0
    for frames without a pair.
    """
    ends = np.concatenate([start, end])
    number = np.maximum(np.bincount(ends, minlength=frame_count), 1)
    variances = np.bincount(ends, np.tile(shared, 2), frame_count) / (2 * number)
    for _ in range(STEPS):
        pair_variances = variances[start] + variances[end]
        zeros = np.zeros_like(shared)
        ratio = np.divide(shared, pair_variances, out=zeros, where=pair_variances > 0)
        share = np.bincount(start, ratio, frame_count) + np.bincount(end, ratio, frame_count)
        variances = variances * share / number
    return np.asarray(variances, np.float64)


def compute_variances_about_mean(
    system: System, weights: NDArray[np.float64], component: Ints, members: Bools
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the variances (frames,) of frames relative to a mean, and to the held frames.

    Parameters
    ----------
    weights : of the pairs (pairs,), 1/px²
    component : of every frame (frames,)
    members : the frames (frames,) that are averaged, separately in each component

    The variances, px², hold if the errors of pairs are independent and match the weights. Relative
    to the held frames, that of a held frame itself is 0.
    """
    count, free = len(system.held), system.free
    solver = system.make_solver(weights)
    member = np.where(members, component, -1)
    number = np.maximum(np.bincount(member[member >= 0], minlength=count), 1)
    share = np.zeros((len(free), count))
    inside = np.flatnonzero(member[free] >= 0)
    share[inside, member[free][inside]] = 1 / number[member[free][inside]]
    with_mean = solver.solve(share)
    of_mean = (share * with_mean).sum(axis=0)
    none = np.zeros(0, np.int64)
    alone = np.zeros(system.frame_count)
    alone[free] = solver.compute_variances(none, none)[0]
    about = np.zeros(system.frame_count)
    known = component >= 0
    about[known] = of_mean[component[known]]
    across = with_mean[np.arange(len(free)), component[free]]
    about[free] += alone[free] - 2 * across
    return np.maximum(about, 0), alone
