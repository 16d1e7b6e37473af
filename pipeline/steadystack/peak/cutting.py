"""Cut patches out of surfaces around their peaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import fft

from steadystack.model import Surface
from steadystack.peak.patch import Array, make_grid

Index: TypeAlias = tuple[int, ...]
SurfaceAtLag: TypeAlias = tuple[Surface, Index]  # a request for the summit near this index

# Surfaces with at least this many lags along an axis (images of 4 pixels) are extrapolated.
FEWEST_LAGS = 7


def compute_likeness(requests: Sequence[SurfaceAtLag], free: Sequence[int]) -> Array:
    """Compute patches (surfaces, lags) of the images' likeness, 1 - (mean square difference) / 2.

    Each patch is around the index of a request, over the `free` axes. The difference is that of the
    overlapping pixels after both images are scaled to mean 0 and deviation 1 at the index. There
    the likeness equals the NCC; the NCC of other lags divides by deviations that change with the
    region of the scene that overlaps, so that noise gives it a slope at the true shift, which the
    mean square difference does not have. Beyond the last known lag of an axis, as where images of
    few pixels no longer overlap, it is extrapolated: a cliff would pull the peak. Other unknown
    lags get the lowest value of the patch.
    """
    grid = make_grid(len(free))
    ncc, variance_f, variance_g = np.full((3, len(requests), *grid.shape), np.nan)
    for row, (surface, index) in enumerate(requests):
        inside: list[slice] = []
        outside: list[int | slice] = list(index)
        for axis in free:
            low, high = index[axis] - grid.radius, index[axis] + grid.radius + 1
            start, stop = max(low, 0), min(high, surface.ncc.shape[axis])
            outside[axis] = slice(start, stop)
            inside.append(slice(start - low, stop - low))
        region, slices = tuple(outside), tuple(inside)
        ncc[row][slices] = surface.ncc[region]
        variance_f[row], variance_g[row] = 1, 1
        if surface.variances is not None:
            for target, variance in zip((variance_f, variance_g), surface.variances, strict=True):
                at_peak = variance[index]  # rounding may have made it 0: nothing is known then
                target[row][slices] = variance[region] / at_peak if at_peak > 0 else np.nan
    # rounding may have made variances of unknown lags negative
    f, g = np.maximum(variance_f, 0), np.maximum(variance_g, 0)
    # not below -1, as an NCC: a bright detail at the border of the overlap must not make a cliff
    likeness = np.maximum(ncc * np.sqrt(f * g) - (f + g) / 2 + 1, -1)
    lowest = np.fmin.reduce(likeness, axis=tuple(range(1, likeness.ndim)))
    for patch, least in zip(likeness, lowest, strict=True):
        if not np.isfinite(patch).all():
            for axis in range(grid.ndim):
                _extend(np.moveaxis(patch, axis, 0), float(least))
    flat = fft.ifftshift(likeness, range(1, likeness.ndim)).reshape(len(requests), -1)
    return np.where(np.isfinite(flat), flat, lowest[:, None])


def _extend(values: Array, lowest: float) -> None:
    """Extend values (lags, ...) beyond the first and the last lag that is known, in place.

    They are continued by point reflection at that lag, which keeps value and slope; where nothing
    is left to reflect, by the mean slope. No value rises, or falls below `lowest`. Very few lags
    are left alone.
    """
    count = len(values)
    known = np.flatnonzero(np.isfinite(values).reshape(count, -1).any(axis=1))
    if len(known) < FEWEST_LAGS:
        return
    start, end = int(known[0]), int(known[-1])
    for lags, first, last in (
        (values, start, end),
        (values[::-1], count - 1 - end, count - 1 - start),
    ):
        for lag in range(last + 1, count):
            inner = max(2 * last - lag, first)
            step = (lags[last] - lags[inner]) * (lag - last) / (last - inner)
            lags[lag] = np.maximum(lags[last] + np.minimum(step, 0), lowest)
