"""Shifts of frames that have none of their own, from the frames before and after them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from steadystack.model import LONE, Bools


def interpolated(
    shift: NDArray[np.float64],
    std: NDArray[np.float64],
    component: NDArray[np.int64],
    method: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The same columns with the frames filled in that lie between two of one component.

    ``linear`` is a straight line between the two; ``spline`` a cubic Hermite spline through all
    frames of the component that does not overshoot at a jump (Fritsch & Butland 1984).

    The standard deviation joins two: that of the two frames, as if their errors were the same
    ones, and how far known frames lie from a straight line across a gap of the same width
    elsewhere in the component, scaled as for a random walk (largest in the middle, 0 at the
    ends). Where the component has no place for such a gap, the rate of its steps stands in; where
    that is not known either, NaN.

    Parameters
    ----------
    shift, std : (frames, axes), px; NaN where not known
    component : (frames,), `LONE` where not known
    """
    before, after = _neighbours(component != LONE)
    inside = (component == LONE) & (before >= 0) & (after >= 0)
    inside &= component[before] == component[after]
    gap = np.flatnonzero(inside)
    shift, std, component = shift.copy(), std.copy(), component.copy()
    part = component[before[gap]]
    for number in np.unique(part):
        frames = gap[part == number]
        known = np.flatnonzero(component == number)
        one, two = before[frames], after[frames]
        place = ((frames - one) / (two - one))[:, None]
        if method == "spline" and len(known) > 2:
            filled = interpolate.PchipInterpolator(known, shift[known])(frames)
        else:
            filled = (1 - place) * shift[one] + place * shift[two]
        ends = (1 - place) * std[one] + place * std[two]
        away = _straying(shift, known, two - one) * 4 * place * (1 - place)
        shift[frames], std[frames] = filled, np.sqrt(ends**2 + away)
    component[gap] = part
    return shift, std, component


def _neighbours(known: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nearest known frame up to and from every frame; -1: none."""
    frames = np.arange(len(known))
    before = np.maximum.accumulate(np.where(known, frames, -1))
    after = np.minimum.accumulate(np.where(known, frames, len(known))[::-1])[::-1]
    return before, np.where(after == len(known), -1, after)


def _straying(
    shift: NDArray[np.float64], known: NDArray[np.intp], widths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean square, px², from a straight line, in the middle of gaps so wide: (gaps, axes)."""
    values = np.full(shift.shape, np.nan)
    values[known] = shift[known]
    different, which = np.unique(widths, return_inverse=True)
    found = np.full((len(different), shift.shape[1]), np.nan)
    for row, width in enumerate(different):
        middle = width // 2
        if len(values) > width:
            one, two = values[:-width], values[width:]
            between = values[middle : len(values) - width + middle]
            away = between - one - (two - one) * (middle / width)
            seen = np.isfinite(away).all(axis=1)
            if seen.any():
                part = 4 * (middle / width) * (1 - middle / width)
                found[row] = (away[seen] ** 2).mean(axis=0) / part
        if np.isnan(found[row]).any() and len(known) > 2:
            steps = np.diff(shift[known], axis=0) ** 2 / np.diff(known)[:, None]
            found[row] = steps.mean(axis=0) * width / 4
    return found[which]
