"""Choose where to search for the shift of a pair, if initial shifts are known.

The search of a pair is centred on the difference of its frames' initial shifts, in whole pixels.
Tiles of the moving frame are cut around that centre, so that large shifts need no larger
transforms; but a frame prepared for one centre cannot be used for another. So pairs are measured in
cells of nearby centres: within a cell every frame is prepared once, and the transforms cover a few
more lags than a pair needs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from steadystack.measure.method import Method
from steadystack.model import Ints
from steadystack.register import Search

# Cost of preparing a frame and of measuring a pair, in transforms.
FRAME_COST, PAIR_COST = 2.5, 2.0
# Beyond this size, px, frames are cut into tiles instead of using longer transforms.
USUAL_TILE = 256
# If there are more pairs, a sample is evaluated: this many stretches of this many pairs.
STRETCHES, STRETCH = 16, 4096


def find_pair_centres(method: Method, pairs: Ints) -> NDArray[np.int64] | None:
    """Find the centres of pairs (n, 2), whole pixels (n, axes); None: no initial shifts."""
    if method.initial_shifts is None:
        return None
    shifts = method.initial_shifts
    return np.rint(shifts[pairs[:, 1]] - shifts[pairs[:, 0]]).astype(np.int64)


def find_cells(centres: Ints, side: tuple[int, ...]) -> NDArray[np.int64]:
    """Find the cell of every centre (n, axes); those of opposite centres are opposite."""
    return np.asarray((centres + np.array(side) // 2) // np.array(side), np.int64)


def group_by_cell(
    method: Method, pairs: Ints
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64] | None]]:
    """Group pairs (n, 2) that are measured together: yields their row numbers, and centres."""
    centres = find_pair_centres(method, pairs)
    if centres is None:
        yield np.arange(len(pairs)), None
        return
    cells, of_row = _number_cells(find_cells(centres, method.cell))
    order = np.argsort(of_row, kind="stable")
    counts = np.bincount(of_row, minlength=len(cells))
    for rows in np.split(order, np.cumsum(counts)[:-1]):
        yield rows, centres[rows]


def make_search(method: Method, centres: Ints | None) -> Search:
    """Make the search for pairs with these centres, which must all be in one cell.

    Raises ValueError if they are not.
    """
    if centres is None:
        return method.search
    cells = find_cells(centres, method.cell)
    if (cells != cells[0]).any():
        raise ValueError("a batch has pairs of one cell only")
    middle = cells[0] * np.array(method.cell)
    return method.search.centre_on(middle.tolist(), [side // 2 for side in method.cell])


def list_searches(method: Method, pairs: Ints) -> list[Search]:
    """List the searches of all cells that the pairs (n, 2) are in."""
    return [make_search(method, centres) for _, centres in group_by_cell(method, pairs)]


def find_cheapest_cell(centres: Ints, pairs: Ints, search: Search) -> tuple[int, ...]:
    """Find the sides of cells, odd numbers of pixels, for which the pairs (n, 2) cost least.

    Small cells have few lags; with large cells few frames are prepared again for another cell. The
    largest is a single cell. Of very many pairs a sample is evaluated.
    """
    if len(pairs) > STRETCHES * STRETCH:
        starts = np.linspace(0, len(pairs) - STRETCH, STRETCHES).astype(int)
        sample = np.unique(starts[:, None] + np.arange(STRETCH))
    else:
        sample = np.arange(len(pairs))
    lags = np.array(search.window.shape)
    whole = 2 * np.abs(centres).max(axis=0, initial=0) + 1
    best, least, side = whole, np.inf, lags | 1
    while True:
        side = np.minimum(side, whole)
        cost = _estimate_cost(centres[sample], pairs[sample], side, search)
        if cost <= least:
            best, least = side, cost
        if (side == whole).all():
            return tuple(best.tolist())
        side = 2 * side + 1


def _estimate_cost(centres: Ints, pairs: Ints, side: Ints, search: Search) -> float:
    """Estimate the number of pixels that are transformed."""
    cells, of_pair = _number_cells(find_cells(centres, tuple(side.tolist())))
    of_frame = np.unique(np.tile(of_pair, 2) * (int(pairs.max()) + 1) + pairs.T.ravel())
    ready = np.bincount(of_frame // (int(pairs.max()) + 1), minlength=len(cells))
    measured = np.bincount(of_pair, minlength=len(cells))
    size, more = np.array(search.shape), np.array(search.window.shape) // 2 + side // 2
    longer = size + np.minimum(np.abs(cells) * side + more, size)
    tiled = size + 2 * more * np.ceil(size / USUAL_TILE)
    pixels = np.minimum(longer, tiled).prod(axis=1)
    return float((pixels * (FRAME_COST * ready + PAIR_COST * measured)).sum())


def _number_cells(cells: Ints) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Find the distinct cells among cells (n, axes), and the index (n,) of each."""
    number = np.zeros(len(cells), np.int64)
    for along in cells.T:
        places, of_row = np.unique(along, return_inverse=True)
        number = number * len(places) + of_row.ravel()
    _, rows, of_row = np.unique(number, return_index=True, return_inverse=True)
    return cells[rows].astype(np.int64), of_row.ravel()
