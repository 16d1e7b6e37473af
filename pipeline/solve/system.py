"""The normal equations of the pair graph: their solution, and the entries of their inverse.

The matrix is the weighted Laplacian of the graph without the frames that are held at 0. It is
factorized sparsely (SuperLU, minimum degree, pivots on the diagonal). Of the inverse only what the
factor has room for is worked out, from the last column to the first (Takahashi, Fagan & Chen 1973;
Erisman & Tinney 1975, doi:10.1145/360680.360704), as dense blocks down the elimination tree: the
diagonal and the entry of every pair are among it, and no frame costs a solve of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from pipeline.model import Floats, Ints

# A factor of more entries than this (12 bytes each, twice) is not tried if the frames are many.
MOST_ENTRIES = 1.5e8
ALWAYS_FACTORIZED = 3000  # frames: even a full matrix of them is small
# Random right-hand sides that tell the variances where there is no factor.
PROBES, PROBE_SEED = 128, 20120710
TOLERANCE = 1e-12


class Solver(Protocol):
    """A weighted system that is ready to be solved."""

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solution (free frames, columns) for right-hand sides of the same shape."""
        ...

    def variances(self, start: Ints, end: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variance of every free frame, and of the differences end - start of some pairs.

        Of a pair at most one frame is -1, which stands for a held one.
        """
        ...


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
    def factorizes(self) -> bool:
        """Whether a factor is sure to be small enough: frames eliminated after their last pair."""
        count = len(self.free)
        if count <= ALWAYS_FACTORIZED:
            return True
        start, end = self.ends
        both = (start >= 0) & (end >= 0)
        last = np.arange(count)
        np.maximum.at(last, np.minimum(start, end)[both], np.maximum(start, end)[both])
        active = np.arange(1, count + 1) - np.cumsum(np.bincount(last, minlength=count))
        return bool(active.sum() <= MOST_ENTRIES)

    def weighted(self, weights: NDArray[np.float64]) -> Solver:
        """The system of these weights (pairs,), 1/px²; all of them above 0."""
        start, end = self.ends
        size = len(self.free)
        there, back = end >= 0, start >= 0
        both = there & back
        diagonal = np.bincount(end[there], weights[there], size)
        diagonal += np.bincount(start[back], weights[back], size)
        one, two, across = start[both], end[both], -weights[both]
        places = np.arange(size)
        matrix = sparse.coo_array(
            (
                np.concatenate([diagonal, across, across]),
                (np.concatenate([places, one, two]), np.concatenate([places, two, one])),
            ),
            shape=(size, size),
        ).tocsc()
        if self.factorizes:
            return Factor(matrix)
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


class Factor:
    """A system by its factors, P A P' = L U with U = D L'."""

    def __init__(self, matrix: sparse.csc_array) -> None:
        self.size = matrix.shape[0]
        if self.size:
            self._factors = sparse_linalg.splu(
                matrix,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._factors.solve(right)) if self.size else np.zeros(right.shape)

    def variances(self, start: Ints, end: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self.size:
            return np.zeros(0), np.zeros(len(start))
        order = self._factors.perm_c
        lower = self._factors.L.tocsc()
        lower.sort_indices()
        values = selected_inverse(lower, self._factors.U.diagonal())
        diagonal = values[lower.indptr[:-1]][order]
        padded = np.append(np.maximum(diagonal, 0), 0.0)  # -1, a held frame, finds the 0
        variance = padded[start] + padded[end]
        both = np.flatnonzero((start >= 0) & (end >= 0))
        one, two = order[start[both]], order[end[both]]
        columns = np.repeat(np.arange(self.size), np.diff(lower.indptr))
        keys = columns * self.size + lower.indices
        wanted = np.minimum(one, two).astype(np.int64) * self.size + np.maximum(one, two)
        variance[both] -= 2 * values[np.searchsorted(keys, wanted)]
        return padded[:-1], np.maximum(variance, 0)


def selected_inverse(lower: sparse.csc_array, pivots: Floats) -> NDArray[np.float64]:
    """Entries of (L D L')⁻¹ where L has some, in the order of ``lower.data``.

    Parameters
    ----------
    lower : unit lower triangular, sorted indices, the pattern of a complete factorization
    pivots : the diagonal of D
    """
    size, starts = len(pivots), lower.indptr
    counts = np.diff(starts)
    full = counts == np.arange(size, 0, -1)
    begin = int(np.flatnonzero(~full).max(initial=-1)) + 1  # from here on the factor is full
    values = np.empty(len(lower.data))
    factor = lower[begin:, begin:].toarray()
    half = linalg.solve_triangular(factor, np.eye(size - begin), lower=True, unit_diagonal=True)
    tail = half.T @ (half / pivots[begin:, None])
    for column in range(begin, size):
        values[starts[column] : starts[column + 1]] = tail[column - begin :, column - begin]

    # a column's block is that of its parent (its first row below), less rows, plus itself
    indices, data, bounds = lower.indices, lower.data, starts.tolist()
    inverse_pivots = (1 / pivots).tolist()
    first = np.full(size, -1, np.int64)
    several = counts > 1
    first[several] = indices[starts[:-1][several] + 1]
    children = np.bincount(np.minimum(first[first >= 0], begin), minlength=size + 1)
    parents, waiting = np.minimum(first, begin).tolist(), children.tolist()
    blocks: dict[int, tuple[Ints, NDArray[np.float64]]] = {begin: (np.arange(begin, size), tail)}
    for column in range(begin - 1, -1, -1):
        low, high = bounds[column], bounds[column + 1]
        if high - low == 1:
            rows, block = indices[low:high], np.full((1, 1), inverse_pivots[column])
        else:
            parent = parents[column]
            known, inner = blocks[parent]
            rows = indices[low:high]
            below = rows[1:]
            if len(known) != len(below):
                place = known.searchsorted(below)
                inner = inner[place[:, None], place]
            part = data[low + 1 : high]
            across = inner @ part
            block = np.empty((high - low, high - low))
            block[0, 0] = inverse_pivots[column] + part @ across
            block[1:, 0] = block[0, 1:] = -across
            block[1:, 1:] = inner
            waiting[parent] -= 1
            if not waiting[parent]:
                del blocks[parent]
        values[low:high] = block[0]
        if waiting[column]:
            blocks[column] = (rows, block)
    return values


class Iteration:
    """A system by conjugate gradients, for graphs whose factor would not fit.

    Its variances are those of `PROBES` random right-hand sides of the right covariance, so that a
    standard deviation is known to ``1 / sqrt(2 PROBES)``, 6 %.
    """

    def __init__(self, matrix: sparse.csr_array, root: sparse.csr_array) -> None:
        self.matrix, self.root = matrix, root
        self.scale = 1 / matrix.diagonal()

    def solve(
        self, right: NDArray[np.float64], tolerance: float = TOLERANCE
    ) -> NDArray[np.float64]:
        """All columns at once, Jacobi's preconditioner."""
        solution, rest = np.zeros_like(right), right.copy()
        step = scaled = self.scale[:, None] * rest
        energy = goal = (rest * scaled).sum(axis=0)
        for _ in range(10 * len(right)):
            if (energy <= tolerance**2 * goal).all():
                break
            applied = self.matrix @ step
            length = energy / np.maximum((step * applied).sum(axis=0), np.finfo(float).tiny)
            solution += length * step
            rest -= length * applied
            scaled = self.scale[:, None] * rest
            before, energy = energy, (rest * scaled).sum(axis=0)
            step = scaled + energy / np.maximum(before, np.finfo(float).tiny) * step
        return solution

    def variances(self, start: Ints, end: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rng = np.random.default_rng(PROBE_SEED)
        frame, pair = np.zeros(len(self.scale)), np.zeros(len(start))
        for _ in range(PROBES // 8):
            probes = self.root @ rng.normal(size=(self.root.shape[1], 8))
            found = np.vstack([self.solve(probes, 1e-4), np.zeros((1, 8))])
            frame += (found[:-1] ** 2).sum(axis=1)
            pair += ((found[end] - found[start]) ** 2).sum(axis=1)
        return frame / PROBES, pair / PROBES
