"""The masked NCC written down as obviously as possible: a loop over lags, and numpy's means."""

from __future__ import annotations

from itertools import product

import numpy as np


def masked_ncc(reference, moving, reference_mask, moving_mask, lag_ranges):
    """NCC and overlap for every lag of the ranges; NaN where a part is flat or empty."""
    shape = tuple(len(lags) for lags in lag_ranges)
    ncc, count = np.full(shape, np.nan), np.zeros(shape)
    for place, lag in zip(np.ndindex(shape), product(*lag_ranges), strict=True):
        first, second = [], []
        for u, n, m in zip(lag, reference.shape, moving.shape, strict=True):
            # the moving image's pixel x - u lies on the reference's pixel x
            low, high = max(0, u), max(min(n, m + u), max(0, u))
            first.append(slice(low, high))
            second.append(slice(low - u, high - u))
        first, second = tuple(first), tuple(second)
        both = reference_mask[first] & moving_mask[second]
        a, b = reference[first][both], moving[second][both]
        count[place] = both.sum()
        if both.sum() >= 2 and a.std() > 0 and b.std() > 0:
            ncc[place] = np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std())
    return ncc, count
