"""Sums under masks that are boxes: prefix sums instead of transforms."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats, Slices
from steadystack.ncc.lags import Window


def box_overlap(reference: Slices, moving: Slices, window: Window) -> NDArray[np.float64]:
    """How many pixels two boxes have in common at every lag."""
    lengths = []
    for f, g, lo, hi in zip(reference, moving, window.first, window.last, strict=True):
        lags = np.arange(lo, hi + 1)
        common = np.minimum(f.stop, g.stop + lags) - np.maximum(f.start, g.start + lags)
        lengths.append(np.maximum(common, 0).astype(np.float64))
    return np.asarray(reduce(np.multiply.outer, lengths))


def box_sums(values: Floats, box: Slices, window: Window) -> NDArray[np.float64]:
    """The sums of an image and of its square under a box moved by every lag: (2, *lags)."""
    sums = []
    for array in (values, values * values):
        for axis, side in enumerate(box):
            array = _sliding_sum(array, axis, side, window.first[axis], window.last[axis])
        sums.append(array)
    return np.stack(sums)


def _sliding_sum(array: Floats, axis: int, side: slice, first: int, last: int) -> Floats:
    """Sums along an axis over ``side`` moved by every lag from `first` to `last`.

    What lies in all of these ranges is added once; only what is not goes through prefix sums.
    """
    rows = np.moveaxis(array, axis, 0)
    lags = np.arange(first, last + 1)
    starts = np.clip(side.start + lags, 0, len(rows))
    stops = np.maximum(np.clip(side.stop + lags, 0, len(rows)), starts)
    inner = slice(int(starts[-1]), max(int(stops[0]), int(starts[-1])))
    pieces = np.concatenate(
        [
            rows[starts[0] : inner.start].astype(np.float64),
            rows[inner].sum(axis=0, dtype=np.float64, keepdims=True),
            rows[inner.stop : max(stops[-1], inner.stop)].astype(np.float64),
        ]
    )
    prefix = np.concatenate([np.zeros((1, *pieces.shape[1:])), np.cumsum(pieces, axis=0)])

    def place(position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in the prefix sums a position along the axis is, the inner rows being one."""
        skipped = np.where(position >= inner.stop, inner.stop - inner.start - 1, 0)
        return np.asarray(position - starts[0] - skipped)

    return np.moveaxis(prefix[place(stops)] - prefix[place(starts)], 0, axis)
