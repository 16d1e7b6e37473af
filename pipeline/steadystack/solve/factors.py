"""Ways to solve the normal equations, and to take what is needed of their inverse.

The matrix A is symmetric and positive definite. Of A⁻¹ only entries where its factor has some are
worked out, from the last column to the first (Takahashi, Fagan & Chen 1973; Erisman & Tinney 1975,
doi:10.1145/360680.360704): its diagonal and the entry of every pair are among them, and no frame
costs a solve of its own. A band goes by dense blocks along its diagonal; a sparse factor (SuperLU,
minimum degree, pivots on the diagonal) by dense blocks down its elimination tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from steadystack.model import Floats, Ints

# Columns of a block of a band, at least: smaller ones are all overhead.
SMALLEST_BLOCK = 16
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


class Band:
    """A system by Cholesky's factor of a band, A = L L'."""

    def __init__(self, matrix: sparse.csc_array, width: int) -> None:
        """`width`: how far from the diagonal there are entries."""
        lower = sparse.tril(matrix, format="coo")
        self._lower = np.zeros((width + 1, matrix.shape[0]), order="F")
        self._lower[lower.row - lower.col, lower.col] = lower.data
        self._lower = linalg.cholesky_banded(
            self._lower, overwrite_ab=True, lower=True, check_finite=False
        )

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(linalg.cho_solve_banded((self._lower, True), right, check_finite=False))

    def variances(self, start: Ints, end: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inverse = invert_banded(self._lower)
        return inverse[0], _compute_differences(
            inverse[0], start, end, lambda low, high: inverse[high - low, low]
        )


def invert_banded(lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entries of (L L')⁻¹ within the band of L; both as ``entries[row - column, column]``.

    Blocks along the diagonal, as wide as the band: with ``W = L[k+1, k] L[k, k]⁻¹`` and Z the
    inverse, ``Z[k, k] = (L[k, k] L[k, k]')⁻¹ + W' Z[k+1, k+1] W``, ``Z[k+1, k] = - Z[k+1, k+1] W``.
    """
    width, size = lower.shape[0] - 1, lower.shape[1]
    block = max(width, SMALLEST_BLOCK)
    inverse = np.zeros(lower.shape, order="F")
    rows, columns = np.indices((block, block))
    inner = (rows >= columns) & (rows - columns <= width)
    outer = block + rows - columns <= width

    def place(mask: NDArray[np.bool_], offset: int, first: int, high: int, wide: int) -> Any:
        """Where the entries of a block are in the band, and which of the block they are."""
        chosen = mask[:high, :wide]
        row, column = rows[:high, :wide][chosen], columns[:high, :wide][chosen]
        return (offset + row - column, first + column), chosen

    after = np.zeros((0, 0))
    for first in range((size - 1) // block * block, -1, -block):
        wide, below = min(block, size - first), len(after)
        where, chosen = place(inner, 0, first, wide, wide)
        diagonal = np.zeros((wide, wide))
        diagonal[chosen] = lower[where]
        half = linalg.solve_triangular(diagonal, np.eye(wide), lower=True, check_finite=False)
        this = half.T @ half
        if below:
            down, across = place(outer, block, first, below, wide)
            link = np.zeros((below, wide))
            link[across] = lower[down]
            link = link @ half
            beside = -after @ link
            this -= link.T @ beside
            inverse[down] = beside[across]
        inverse[where] = this[chosen]
        after = this
    return inverse


def _compute_differences(
    variance: NDArray[np.float64],
    start: Ints,
    end: Ints,
    entry: Callable[[Ints, Ints], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Variances of the differences end - start; -1 is a held frame.

    `entry` finds entries of the inverse by the smaller and the larger of two different places.
    """
    padded = np.append(variance, 0.0)  # -1 finds the 0
    found = padded[start] + padded[end]
    both = np.flatnonzero((start >= 0) & (end >= 0))
    one, two = start[both], end[both]
    found[both] -= 2 * entry(np.minimum(one, two), np.maximum(one, two))
    return np.asarray(np.maximum(found, 0), np.float64)


class Sparse:
    """A system by its sparse factors, P A P' = L U with U = D L'."""

    def __init__(self, matrix: sparse.csc_array) -> None:
        self._factors = sparse_linalg.splu(
            matrix,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._factors.solve(right))

    def variances(self, start: Ints, end: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        order = self._factors.perm_c.astype(np.int64)
        lower = self._factors.L.tocsc()
        lower.sort_indices()
        values = invert_selected(lower, self._factors.U.diagonal())
        columns = np.repeat(np.arange(len(order)), np.diff(lower.indptr))
        keys = columns * len(order) + lower.indices

        def entry(low: Ints, high: Ints) -> NDArray[np.float64]:
            one, two = order[low], order[high]
            wanted = np.minimum(one, two) * len(order) + np.maximum(one, two)
            return np.asarray(values[np.searchsorted(keys, wanted)])

        variance = np.maximum(values[lower.indptr[:-1]][order], 0)
        return variance, _compute_differences(variance, start, end, entry)


def invert_selected(lower: sparse.csc_array, pivots: Floats) -> NDArray[np.float64]:
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
