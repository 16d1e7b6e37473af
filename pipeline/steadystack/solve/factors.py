"""Solvers of the normal equations, which also compute the needed entries of the inverse.

The matrix A is symmetric and positive definite. Of A⁻¹, only the entries where the factor of A is
nonzero are computed, from the last column to the first (Takahashi, Fagan & Chen 1973; Erisman &
Tinney 1975, doi:10.1145/360680.360704): these include the diagonal and the entry of every pair, so
no frame needs a solve of its own. A band is inverted by dense blocks along its diagonal; a sparse
factor (SuperLU, minimum degree, pivots on the diagonal) by dense blocks down its elimination tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from steadystack.model import Floats, Ints

# Fewest columns in a block of a band: smaller blocks are all overhead.
SMALLEST_BLOCK = 16
# Number of random right-hand sides that estimate the variances without a factor, and their seed.
PROBES, PROBE_SEED = 128, 20120710
TOLERANCE = 1e-12


class Solver(Protocol):
    """A weighted system that is ready to be solved."""

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for right-hand sides (free frames, columns); the solution has the same shape."""
        ...

    def compute_variances(
        self, start: Ints, end: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the variance of every free frame, and of the difference end - start of pairs.

        `start` and `end` (pairs,) are positions among the free frames; -1 stands for a held frame,
        and at most one frame of a pair is held.
        """
        ...


class Band:
    """A system solved by Cholesky's factor of a band, A = L L'."""

    def __init__(self, matrix: sparse.csc_array, width: int) -> None:
        """Factorize a matrix whose entries are at most `width` off the diagonal."""
        lower = sparse.tril(matrix, format="coo")
        self._lower = np.zeros((width + 1, matrix.shape[0]), order="F")
        self._lower[lower.row - lower.col, lower.col] = lower.data
        self._lower = linalg.cholesky_banded(
            self._lower, overwrite_ab=True, lower=True, check_finite=False
        )

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(linalg.cho_solve_banded((self._lower, True), right, check_finite=False))

    def compute_variances(
        self, start: Ints, end: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inverse = invert_banded(self._lower)
        return inverse[0], _compute_differences(
            inverse[0], start, end, lambda low, high: inverse[high - low, low]
        )


def invert_banded(lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute entries of (L L')⁻¹ within the band of L; both as ``entries[row - column, column]``.

    Works block by block along the diagonal; blocks are as wide as the band: with ``W = L[k+1, k]
    L[k, k]⁻¹`` and Z the inverse, ``Z[k, k] = (L[k, k] L[k, k]')⁻¹ + W' Z[k+1, k+1] W`` and
    ``Z[k+1, k] = - Z[k+1, k+1] W``.
    """
    width, size = lower.shape[0] - 1, lower.shape[1]
    block = max(width, SMALLEST_BLOCK)
    inverse = np.zeros(lower.shape, order="F")
    rows, columns = np.indices((block, block))
    inner = (rows >= columns) & (rows - columns <= width)
    outer = block + rows - columns <= width

    def locate(mask: NDArray[np.bool_], offset: int, first: int, high: int, wide: int) -> Any:
        """Find where a block's entries lie in the band, and which of them lie in it."""
        inner_mask = mask[:high, :wide]
        row, column = rows[:high, :wide][inner_mask], columns[:high, :wide][inner_mask]
        return (offset + row - column, first + column), inner_mask

    below_block = np.zeros((0, 0))
    for first in range((size - 1) // block * block, -1, -block):
        wide, below_size = min(block, size - first), len(below_block)
        inner_entries, inner_mask = locate(inner, 0, first, wide, wide)
        diagonal = np.zeros((wide, wide))
        diagonal[inner_mask] = lower[inner_entries]
        half = linalg.solve_triangular(diagonal, np.eye(wide), lower=True, check_finite=False)
        current = half.T @ half
        if below_size:
            outer_entries, outer_mask = locate(outer, block, first, below_size, wide)
            link = np.zeros((below_size, wide))
            link[outer_mask] = lower[outer_entries]
            link = link @ half
            beside = -below_block @ link
            current -= link.T @ beside
            inverse[outer_entries] = beside[outer_mask]
        inverse[inner_entries] = current[inner_mask]
        below_block = current
    return inverse


def _compute_differences(
    variance: NDArray[np.float64],
    start: Ints,
    end: Ints,
    find_entries: Callable[[Ints, Ints], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Compute variances of the differences end - start (pairs,); -1 is a held frame.

    `find_entries` takes two arrays of different positions, the smaller and the larger of each pair,
    and returns the entries of the inverse there.
    """
    padded = np.append(variance, 0.0)  # -1 finds the 0
    differences = padded[start] + padded[end]
    both_free = np.flatnonzero((start >= 0) & (end >= 0))
    first, second = start[both_free], end[both_free]
    differences[both_free] -= 2 * find_entries(np.minimum(first, second), np.maximum(first, second))
    return np.asarray(np.maximum(differences, 0), np.float64)


class Sparse:
    """A system solved by its sparse factors, P A P' = L U with U = D L'."""

    def __init__(self, matrix: sparse.csc_array) -> None:
        self._factors = sparse_linalg.splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._factors.solve(right))

    def compute_variances(
        self, start: Ints, end: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        order = self._factors.perm_c.astype(np.int64)
        lower = self._factors.L.tocsc()
        lower.sort_indices()
        values = invert_selected(lower, self._factors.U.diagonal())
        columns = np.repeat(np.arange(len(order)), np.diff(lower.indptr))
        keys = columns * len(order) + lower.indices

        def find_entries(low: Ints, high: Ints) -> NDArray[np.float64]:
            first, second = order[low], order[high]
            sought = np.minimum(first, second) * len(order) + np.maximum(first, second)
            return np.asarray(values[np.searchsorted(keys, sought)])

        variance = np.maximum(values[lower.indptr[:-1]][order], 0)
        return variance, _compute_differences(variance, start, end, find_entries)


def invert_selected(lower: sparse.csc_array, pivots: Floats) -> NDArray[np.float64]:
    """Compute the entries of (L D L')⁻¹ where L is nonzero, in the order of ``lower.data``.

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

    # the block of a column: its parent's block (the parent is its first row below the diagonal),
    # less the rows that the column lacks, plus the column itself
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
            parent_rows, inner = blocks[parent]
            rows = indices[low:high]
            below = rows[1:]
            if len(parent_rows) != len(below):
                positions = parent_rows.searchsorted(below)
                inner = inner[positions[:, None], positions]
            column_entries = data[low + 1 : high]
            across = inner @ column_entries
            block = np.empty((high - low, high - low))
            block[0, 0] = inverse_pivots[column] + column_entries @ across
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
    """A system solved by conjugate gradients, for graphs whose factor would not fit in memory.

    Variances are estimated from `PROBES` random right-hand sides whose covariance is the matrix, so
    a standard deviation is known to ``1 / sqrt(2 PROBES)``, 6 %.
    """

    def __init__(self, matrix: sparse.csr_array, root: sparse.csr_array) -> None:
        self.matrix, self.root = matrix, root
        self.scale = 1 / matrix.diagonal()

    def solve(
        self, right: NDArray[np.float64], tolerance: float = TOLERANCE
    ) -> NDArray[np.float64]:
        """Solve for all columns at once, with the Jacobi preconditioner."""
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

    def compute_variances(
        self, start: Ints, end: Ints
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rng = np.random.default_rng(PROBE_SEED)
        frame, pair = np.zeros(len(self.scale)), np.zeros(len(start))
        for _ in range(PROBES // 8):
            probes = self.root @ rng.normal(size=(self.root.shape[1], 8))
            samples = np.vstack([self.solve(probes, 1e-4), np.zeros((1, 8))])
            frame += (samples[:-1] ** 2).sum(axis=1)
            pair += ((samples[end] - samples[start]) ** 2).sum(axis=1)
        return frame / PROBES, pair / PROBES
