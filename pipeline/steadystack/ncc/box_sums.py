"""Sum an image under a box moved by every lag, by differences of prefix sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from itertools import pairwise, product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats, Ints, Slices
from steadystack.ncc.lags import Window
from steadystack.ncc.masked import SignedBox

Rows: TypeAlias = tuple[int, int, int]  # first, one past the last, step

# How many sums along the last axis are computed together.
CHUNK = 2**15


def count_box_overlap(
    reference: Sequence[SignedBox], moving: Sequence[SignedBox], window: Window
) -> NDArray[np.float64]:
    """Count the pixels that two masks, given as `CachedMask.boxes`, have in common at every lag."""
    counts = [
        sign * other_sign * _count_overlap(box, other, window)
        for (sign, box), (other_sign, other) in product(reference, moving)
    ]
    return np.asarray(reduce(np.add, counts))


def _count_overlap(reference: Slices, moving: Slices, window: Window) -> NDArray[np.float64]:
    """Count the pixels that two boxes have in common at every lag."""
    lengths = []
    for f, g, lo, hi in zip(reference, moving, window.first, window.last, strict=True):
        lags = np.arange(lo, hi + 1)
        common = np.minimum(f.stop, g.stop + lags) - np.maximum(f.start, g.start + lags)
        lengths.append(np.maximum(common, 0).astype(np.float64))
    return np.asarray(reduce(np.multiply.outer, lengths))


def compute_box_sums(
    values: Floats, boxes: Sequence[SignedBox], window: Window
) -> NDArray[np.float64]:
    """Sum an image and its square under a mask moved by every lag: (2, *lags).

    The mask is given by its `CachedMask.boxes`.
    """
    sums = np.empty((2, *window.shape))
    for number, (sign, box) in enumerate(boxes):
        _add_sums(sums, 0 if number == 0 else sign, values, box, window)
    return sums


def _add_sums(
    sums: NDArray[np.float64], sign: int, values: Floats, box: Slices, window: Window
) -> None:
    """Add the sums of an image and its square under a box moved by every lag; sign 0: store them.

    Along the last axis, as many lines as fit the cache are summed together.
    """
    region, inside = [], []  # all pixels ever under the box, and the box within them
    for side, first, last, size in zip(box, window.first, window.last, values.shape, strict=True):
        low = min(max(side.start + first, 0), size)
        region.append(slice(low, max(min(side.stop + last, size), low)))
        inside.append(slice(side.start - low, side.stop - low))
    values = values[tuple(region)]
    arrays: Sequence[Floats] = [values, values * values]
    *others, end = range(values.ndim)
    for axis in others:
        arrays = list(
            _compute_sliding_sums(arrays, axis, inside[axis], window.first[axis], window.last[axis])
        )
    lines = max(CHUNK // max(math.prod(sums.shape[2:]), 1), 1) if others else 1
    for begin in range(0, len(arrays[0]) if others else 1, lines):
        chunk = slice(begin, begin + lines) if others else slice(None)
        some = [array[chunk] for array in arrays]
        found = _compute_sliding_sums(some, end, inside[end], window.first[end], window.last[end])
        target = sums[:, chunk]
        if sign == 0:
            target[...] = found
        elif sign > 0:
            target += found
        else:
            target -= found


def _compute_sliding_sums(
    arrays: Sequence[Floats], axis: int, side: slice, first: int, last: int
) -> NDArray[np.float64]:
    """Sum arrays of one shape along an axis over ``side`` moved by every lag from first to last.

    Rows in all of these ranges are summed once; only the others need prefix sums.
    """
    shape = list(arrays[0].shape)
    moved = _move_side(side.start, side.stop, first, last, shape[axis])
    begin, inner, end = moved.begin, moved.inner, moved.end
    one = inner.start - begin + 1  # the inner rows count as one
    shape[axis] = one + 1 + end - inner.stop
    prefix = np.empty((len(arrays), *shape))
    _cut(prefix, axis + 1, 0, 1)[...] = 0
    for array, sums in zip(arrays, prefix, strict=True):
        _cut(sums, axis, 1, one)[...] = _cut(array, axis, begin, inner.start)
        _cut(array, axis, inner.start, inner.stop).sum(
            axis=axis, dtype=np.float64, keepdims=True, out=_cut(sums, axis, one, one + 1)
        )
        _cut(sums, axis, one + 1, None)[...] = _cut(array, axis, inner.stop, end)
    for sums in prefix:
        _add_up(sums, axis)
    shape[axis] = last - first + 1
    found = np.empty((len(arrays), *shape))
    for run, upper, lower in moved.runs:
        part, until = _cut(found, axis + 1, *run), _cut(prefix, axis + 1, *upper)
        if lower[1] > 1:
            np.subtract(until, _cut(prefix, axis + 1, *lower), out=part)
        else:  # nothing is before the first row
            part[...] = until
    return found


class _MovedSide(NamedTuple):
    """Which rows of an axis lie under a side of the box that is moved by every lag.

    Rows from `begin` to `end` do at some lags, the `inner` rows at all lags. For each of the `runs`
    of lags, the sums are prefix sums up to the `upper` rows less prefix sums up to the `lower`
    rows.
    """

    begin: int
    inner: slice
    end: int
    runs: tuple[tuple[tuple[int, int], Rows, Rows], ...]


@lru_cache(maxsize=512)
def _move_side(start: int, stop: int, first: int, last: int, size: int) -> _MovedSide:
    lags = np.arange(first, last + 1)
    starts = np.clip(start + lags, 0, size)
    stops = np.maximum(np.clip(stop + lags, 0, size), starts)
    begin, inner = int(starts[0]), slice(int(starts[-1]), max(int(stops[0]), int(starts[-1])))

    def locate(positions: Ints) -> Ints:
        """Indices into the prefix sums of positions along the axis."""
        skipped = np.where(positions >= inner.stop, inner.stop - inner.start - 1, 0)
        return np.asarray(positions - begin - skipped)

    runs = tuple(_list_runs(locate(stops), locate(starts)))
    return _MovedSide(begin, inner, max(int(stops[-1]), inner.stop), runs)


def _cut(
    array: NDArray[Any], axis: int, start: int, stop: int | None, step: int = 1
) -> NDArray[Any]:
    """Cut an array along one axis."""
    return array[(slice(None),) * axis + (slice(start, stop, step),)]


def _add_up(sums: NDArray[np.float64], axis: int) -> None:
    """Replace the rows along an axis by their prefix sums, in place; the first is 0.

    Whole lines of memory are added, which NumPy's own cumulative sum does along the last axis only.
    """
    if axis == sums.ndim - 1:
        np.cumsum(sums, axis=axis, out=sums)
        return
    for before, row in pairwise(sums.swapaxes(axis, 0)[1:]):
        np.add(before, row, out=row)


def _list_runs(upper: Ints, lower: Ints) -> Iterator[tuple[tuple[int, int], Rows, Rows]]:
    """List the runs in which two non-decreasing lists of indices both rise evenly or stay.

    Yields each run's first position and one past its last, and the slices that the two lists
    select; a slice of one element where a list stays.
    """
    bends = np.diff(upper, 2) | np.diff(lower, 2)
    rows = upper.tolist(), lower.tolist()
    for start, stop in pairwise([0, *(np.flatnonzero(bends) + 2).tolist(), len(upper)]):
        if start < stop:
            there = [
                (row[start], row[stop - 1] + 1, max(row[min(start + 1, stop - 1)] - row[start], 1))
                for row in rows
            ]
            yield (start, stop), there[0], there[1]
