"""Find the fixed pattern of a pair of images that shows in their NCC surface.

A fixed pattern of single pixels, such as hot ones, adds to lag zero; one of rows or columns adds to
all lags that are zero across them. That makes a spike or a crest one lag wide, which neither noise
nor a scene seen through optics makes. Its height is the share of the images' variance that stands
still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from steadystack.model import MEDIAN_DEVIATION, Bools, Floats, Surface

# Lags on each side of zero whose crests are compared with that at zero.
REACH = 12
# A crest counts if it has this height, and this many times the deviation of the others.
LEAST_HEIGHT, LEAST_RATIO = 0.01, 2.5
# Along the other axes, lags within NEAR_PEAK of the peak are left out unless it is more than
# IN_THE_WAY lags from zero.
NEAR_PEAK, IN_THE_WAY = 6, 3
# Fewest crests to compare with.
FEWEST = 6

Axes = tuple[int, ...]


@dataclass(frozen=True)
class FixedPattern:
    """A fixed pattern that varies along some axes and is constant along the others, if any.

    `share` is its fraction of the images' variance. `apart` tells whether the peak is so far from
    zero that the crest cannot be a scene that does not move.
    """

    axes: Axes
    share: float
    apart: bool


def find_fixed_patterns(surface: Surface, index: tuple[int, ...]) -> list[FixedPattern]:
    """Find the crests at zero of a surface with its peak at an index."""
    free = [axis for axis, size in enumerate(surface.ncc.shape) if size > 1]
    found = []
    for count in range(1, len(free) + 1):
        for axes in combinations(free, count):
            pattern = _measure_crest(surface, index, axes)
            if pattern is not None:
                found.append(pattern)
    return found


def remove_fixed_patterns(surface: Surface, patterns: list[FixedPattern]) -> Surface:
    """Subtract crests from a surface, which leaves about the surface of the scene alone."""
    ncc = surface.ncc.copy()
    for pattern in patterns:
        at = tuple(
            -first if axis in pattern.axes else slice(None)
            for axis, first in enumerate(surface.first_lag)
        )
        ncc[at] = np.maximum(ncc[at] - pattern.share, -1)
    return replace(surface, ncc=ncc)


def _measure_crest(surface: Surface, index: tuple[int, ...], axes: Axes) -> FixedPattern | None:
    """Measure the crest of a pattern that varies along `axes`; None if there is none."""
    zero = [-first for first in surface.first_lag]
    if any(not 2 <= zero[axis] < surface.ncc.shape[axis] - 2 for axis in axes):
        return None
    apart = any(abs(index[axis] - zero[axis]) > IN_THE_WAY for axis in axes)
    away = [
        slice(None) if apart or axis in axes else np.abs(np.arange(size) - index[axis]) > NEAR_PEAK
        for axis, size in enumerate(surface.ncc.shape)
    ]
    height = _measure_height(surface, axes, away)
    if not height > LEAST_HEIGHT:
        return None
    bends = _measure_heights(surface, axes, away)
    at = [min(zero[axis] - 2, REACH) for axis in axes]
    # the crest's own lags and those around the peak tell nothing about the noise
    ends = [index[axis] - zero[axis] + place for axis, place in zip(axes, at, strict=True)]
    for place, reach in ((at, 1), (ends, IN_THE_WAY)):
        bends[tuple(slice(max(p - reach, 0), max(p + reach + 1, 0)) for p in place)] = np.nan
    rest = np.abs(bends[np.isfinite(bends)])
    if len(rest) < FEWEST:
        return None
    deviation = MEDIAN_DEVIATION * float(np.median(rest))
    return FixedPattern(axes, height, apart) if height > LEAST_RATIO * deviation else None


def _measure_height(surface: Surface, axes: Axes, away: Sequence[slice | Bools]) -> float:
    """Measure how high lag zero stands out along `axes`; NaN where nothing is known.

    Like `_measure_heights`, but much faster: most pairs need no more.
    """
    heights = _bend_around_zero(surface.ncc, surface.first_lag, axes, away, 0).ravel()
    heights = heights[~np.isnan(heights)]
    if not heights.size:
        return float("nan")
    middle = len(heights) // 2
    return float(np.partition(heights, middle)[middle])


def _measure_heights(
    surface: Surface, axes: Axes, away: Sequence[slice | Bools]
) -> NDArray[np.float64]:
    """Measure how high lags within `REACH` of zero along `axes` stand out from their neighbours.

    Over the other axes it is the median, of the lags that are `away`; NaN if one of them has none.
    """
    ncc = surface.ncc.astype(np.float64)
    bends = _bend_around_zero(ncc, surface.first_lag, axes, away, REACH)
    others = tuple(axis for axis in range(bends.ndim) if axis not in axes)
    if not others:
        return np.asarray(bends)
    if np.isfinite(bends).all():
        return np.asarray(np.median(bends, axis=others))
    known = np.isfinite(bends).any(axis=others)
    if not known.all():
        return np.full(known.shape, np.nan)
    return np.asarray(np.nanmedian(bends, axis=others))


def _bend_around_zero(
    ncc: Floats, first_lag: Axes, axes: Axes, away: Sequence[slice | Bools], reach: int
) -> Floats:
    """Apply `_bend` within `reach` of zero along `axes`; along other axes, to lags `away`."""
    for axis, first in enumerate(first_lag):
        around = slice(max(-first - reach - 2, 0), -first + reach + 3)
        ncc = ncc[(*[slice(None)] * axis, around if axis in axes else away[axis])]
    for axis in axes:
        ncc = _bend(ncc, axis)
    return ncc


def _bend(values: Floats, axis: int) -> Floats:
    """How far values stand out from the cubic through two neighbours on each side."""
    lines = values.swapaxes(axis, 0)
    near, far = lines[1:-3] + lines[3:-1], lines[:-4] + lines[4:]
    return (lines[2:-2] - (4 * near - far) / 6).swapaxes(axis, 0)
