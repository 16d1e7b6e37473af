"""Which lag of an NCC surface the images have, and what chance would show in its place.

**Which lag.** At small overlaps chance reaches a high NCC, so the highest NCC is not the best lag.
The significance ``z = atanh(ncc) * sqrt(N - 3)`` (Fisher 1921) weighs the NCC with the number of
pixels N it rests on; its maximum needs no limit on the overlap. The factor sqrt(N) leans towards
lag zero, so the lag itself is the local maximum of the NCC reached from there.

**Chance.** What chance does is read off the same surface: the lags away from the peak compare
parts of the images that do not belong together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, Slices, Surface

# A peak is believed if it stands this many standard deviations above the highest that chance is
# expected to make in the surface. Of 2200 pairs of unrelated images (64 and 128 px, smooth over 0
# to 6 px, full, elliptic and sparse masks) two stood higher, by 2.1 and 2.4.
CHANCE_MARGIN = 2.0
# The surface around the peak of a true pair is symmetric but for noise: both images are one scene.
# A peak is believed if it is this many times as high as the highest of the antisymmetric part, and
# so many scales of that part's tail above it. Of true pairs at a signal-to-noise ratio of
# 0.5 (128 px, textures, cells, stars) 98 % are 2.0 to 4.5 times as high, median 3.4 to 6; of true
# pairs with little noise 98 % are 12 to 40 times as high.
ODD_FACTOR, ODD_SCALES = 2.4, 7.0
# Where the tail is heavy, with a mean log excess above this, chance lays few bright details on one
# another: e to this power times the excess is asked for, but no more than that of the last number.
HEAVY_TAIL, HEAVY_POWER, HEAVY_MOST = 0.25, 7.0, 1.1
# Then the other searched maxima have a say too, unless the peak is so many times as high as what is
# not symmetric: so many scales of their tail above them, or the first factor. Nothing asks for more
# than that, as a tail's scale is at most its highest value.
CLEAR_FACTOR = 12.0
TAIL_SCALES = 6.0
# Nothing of that is asked where no rival reaches this fraction of the peak.
RIVAL_FRACTION = 0.2
# Fewer local maxima than this do not show a tail; it is taken for one of that mean log excess.
FEWEST_MAXIMA, UNKNOWN_TAIL = 16, 0.4
# The neighbourhood of a peak: the lags connected to it above this fraction of its significance.
# They are looked for within so many lags first.
NEIGHBOURHOOD_LEVEL, HILL_REACH = 0.5, 8
# Fisher's z of the largest NCC that is told from 1.
LARGEST_FISHER = float(np.arctanh(1 - 1e-6))
# The quartiles of normal values are so many standard deviations apart.
QUARTILES_APART = 1.349
# Fewer independent lags away from the peak than this do not show what chance does by themselves.
FEWEST_LAGS = 8


@dataclass(frozen=True)
class Peak:
    """The chosen lag (as an index into the surface) and what speaks for and against it."""

    index: tuple[int, ...]
    significance: float
    second_peak_ratio: (
        float  # significance of the best lag outside the neighbourhood; NaN if there is none
    )
    chance: float  # the significance that unrelated images do not reach
    z: Floats = field(repr=False)  # significance of every lag, -inf where unknown
    away: Bools = field(repr=False)  # the lags outside the neighbourhood


def compute_significance(surface: Surface) -> Floats:
    """Fisher's z of every lag, in standard deviations for white noise; -inf where unknown.

    It has the precision of the surface; an NCC of 1 counts as one a little below.
    """
    dtype, count = surface.ncc.dtype, surface.overlap_count
    root = np.sqrt(np.where(count > 3, count - 3, np.nan).astype(dtype, copy=False))
    with np.errstate(divide="ignore"):
        fisher = np.clip(np.arctanh(surface.ncc), -LARGEST_FISHER, LARGEST_FISHER)
    return np.asarray(np.fmax(fisher * root, -np.inf, dtype=dtype))  # -inf in place of NaN


def find_peak(surface: Surface, z: Floats | None = None) -> Peak | None:
    """The most significant lag that is searched; None if no lag is known or none correlates.

    `z` is the significance of every lag, if it is known already.
    """
    z, searched = compute_significance(surface) if z is None else z, surface.searched
    inside = z[searched]
    best = np.unravel_index(int(np.argmax(inside)), inside.shape)
    top = tuple(int(i) + side.start for i, side in zip(best, searched, strict=True))
    if not z[top] > 0:
        return None
    box, hill = _find_hill(z, top)
    away = np.isfinite(z)
    away[box] &= ~_dilate(hill)
    near = _intersect(box, searched)
    hill = hill[_locate_within(box, near)]
    values = inside[away[searched]]
    return Peak(
        index=_climb(np.where(hill, surface.ncc[near], -np.inf), near, top),
        significance=float(z[top]),
        second_peak_ratio=max(float(values.max()), 0.0) if values.size else float("nan"),
        chance=_estimate_normal_chance(
            values, int(np.count_nonzero(hill)), surface.chance_deviation
        ),
        z=z,
        away=away,
    )


def _find_hill(z: Floats, top: tuple[int, ...]) -> tuple[Slices, Bools]:
    """The lags connected to the highest one above half of its significance, and a box around them.

    The box has a lag more on each side, but where the surface ends; only in it are they looked for.
    """
    level, reach = NEIGHBOURHOOD_LEVEL * z[top], HILL_REACH
    while True:
        box = tuple(
            slice(max(at - reach, 0), min(at + reach + 1, size))
            for at, size in zip(top, z.shape, strict=True)
        )
        labels, _ = ndimage.label(z[box] > level, np.ones((3,) * z.ndim))
        hill = labels == labels[tuple(at - side.start for at, side in zip(top, box, strict=True))]
        inner = tuple(
            slice(1 if side.start else None, -1 if side.stop < size else None)
            for side, size in zip(box, z.shape, strict=True)
        )
        if np.count_nonzero(hill[inner]) == np.count_nonzero(hill):
            return box, np.asarray(hill)
        reach *= 2


def _intersect(one: Slices, other: Slices) -> Slices:
    """The part that two have in common."""
    sides = zip(one, other, strict=True)
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in sides)


def _locate_within(box: Slices, part: Slices) -> Slices:
    """Where in a box a part of it lies."""
    sides = zip(box, part, strict=True)
    return tuple(slice(b.start - a.start, b.stop - a.start) for a, b in sides)


def _dilate(values: NDArray[Any]) -> NDArray[Any]:
    """The highest value of every lag and its neighbours, diagonal ones too; any, of booleans."""
    highest = values
    for axis in range(values.ndim):
        lines = highest.swapaxes(axis, 0)
        near = lines.copy()
        np.maximum(near[1:], lines[:-1], out=near[1:])
        np.maximum(near[:-1], lines[1:], out=near[:-1])
        highest = near.swapaxes(axis, 0)
    return highest


def _climb(ncc: Floats, box: Slices, index: tuple[int, ...]) -> tuple[int, ...]:
    """The local maximum of a box that steepest ascent over whole lags reaches from `index`."""
    begin = tuple(side.start for side in box)
    here = tuple(i - first for i, first in zip(index, begin, strict=True))
    while True:
        around = tuple(slice(max(i - 1, 0), i + 2) for i in here)
        step = np.unravel_index(int(np.argmax(ncc[around])), ncc[around].shape)
        higher = tuple(int(a.start + s) for a, s in zip(around, step, strict=True))
        if not ncc[higher] > ncc[here]:
            return tuple(i + first for i, first in zip(here, begin, strict=True))
        here = higher


def estimate_tail_chance(peak: Peak, place: Floats, searched: Slices) -> float:
    """The significance that unrelated images do not reach, from what is not symmetric.

    `place` is the peak's, between the lags; without a rival nothing is asked: -inf.

    Where few bright details make up the images (stars, cells), chance lays one on another, and the
    maxima of the surface fall off slowly. Of a true pair, so do those of its own structure, but
    that is symmetric around the peak; the difference of opposite lags knows only of noise and
    chance. The mean log excess of the highest values tells how heavy their tail is (Hill 1975).
    """
    if not peak.second_peak_ratio > RIVAL_FRACTION * peak.significance:
        return -np.inf
    odd = _compute_odd_differences(peak.z, peak.away, place)
    highest = float(odd.max())
    if not highest > 0:
        return -np.inf
    if peak.significance >= CLEAR_FACTOR * highest:  # whatever the tail is like, it asks for less
        return CLEAR_FACTOR * highest
    excess, heaviness = _measure_tail(_find_maxima(odd))
    light = max(ODD_FACTOR * highest, highest + ODD_SCALES * excess)
    if heaviness < HEAVY_TAIL:
        return light
    heavy = highest * float(np.exp(min(HEAVY_POWER * heaviness, HEAVY_MOST)))
    others = _find_maxima(np.where(peak.away, peak.z, -np.inf)[searched])
    if len(others) < FEWEST_MAXIMA:
        return max(light, heavy)
    far = float(others[0])
    far = min(far + TAIL_SCALES * _measure_tail(others)[0], ODD_FACTOR * far)
    return max(light, heavy, min(far, CLEAR_FACTOR * highest))


def _compute_odd_differences(z: Floats, away: Bools, place: Floats) -> Floats:
    """Differences of opposite lags around `place`, as large as the noise of one of them.

    Lags next to the peak, and those without an opposite, count as 0.
    """
    centre = np.rint(place).astype(int).tolist()
    reach = [max(min(at, size - 1 - at), 0) for at, size in zip(centre, z.shape, strict=True)]
    around = tuple(slice(at - r, at + r + 1) for at, r in zip(centre, reach, strict=True))
    both = away[around] & np.flip(away[around])
    known = z[around].copy()
    known[~np.isfinite(known)] = 0
    for axis, step in enumerate((place - centre).tolist()):
        known = _move(known, axis, step)
    odd = known - np.flip(known)
    odd *= both
    odd *= math.sqrt(0.5)
    return np.asarray(odd)


def _move(values: Floats, axis: int, step: float) -> Floats:
    """The values a part of a lag further along an axis, by cubic convolution (Keys 1981)."""
    if step == 0 or values.shape[axis] < 4:
        return values
    first = -1 if step < 0 else 0
    t = step - first
    taps = (
        -t / 2 + t**2 - t**3 / 2,
        1 - 5 * t**2 / 2 + 3 * t**3 / 2,
        t / 2 + 2 * t**2 - 3 * t**3 / 2,
        -(t**2) / 2 + t**3 / 2,
    )
    lines = values.swapaxes(axis, 0)
    size = len(lines)
    padded = np.concatenate([lines[:1], lines[:1], lines, lines[-1:], lines[-1:]])
    moved = taps[0] * padded[1 + first : 1 + first + size]
    for k in (1, 2, 3):
        moved += taps[k] * padded[1 + first + k : 1 + first + k + size]
    return np.asarray(moved).swapaxes(axis, 0)


def _find_maxima(values: Floats) -> Floats:
    """Heights of the positive local maxima, the highest first."""
    top = values == _dilate(values)
    top &= values > 0
    return np.asarray(np.sort(values[top])[::-1])


def _measure_tail(heights: Floats) -> tuple[float, float]:
    """Mean excess of the highest tenth of the maxima over the next, and that of the logarithm."""
    top = min(max(len(heights) // 10, 6), len(heights) - 1)
    if not top:
        return 0.0, UNKNOWN_TAIL
    over = heights[:top] / heights[top]
    heaviness = float(np.log(over).sum()) / top
    if len(heights) < FEWEST_MAXIMA:
        heaviness = max(heaviness, UNKNOWN_TAIL)
    return (float(over.sum()) / top - 1) * float(heights[top]), heaviness


def _estimate_normal_chance(away: Floats, hill: int, expected_deviation: float) -> float:
    """The significance that unrelated images do not reach at any of the searched lags.

    The largest of M independent normal values is about sqrt(2 ln M) deviations above their mean.
    Neighbouring lags are not independent: half of the `hill`'s lags count as one. The deviation is
    what the spectra let expect, or what the lags away from the peak show, whichever is larger:
    structure that repeats or stands still makes it larger than the spectra say.
    """
    core = max(hill / 2, 1)
    middle, deviation = 0.0, expected_deviation
    if away.size >= FEWEST_LAGS * core:
        quartiles = [away.size // 4, away.size // 2, 3 * away.size // 4]
        low, middle, high = np.partition(away, quartiles)[quartiles].tolist()
        deviation = max(deviation, (high - low) / QUARTILES_APART)
    independent = max(away.size / core, FEWEST_LAGS)
    highest_expected = float(np.sqrt(2 * np.log(independent)))
    return middle + deviation * (highest_expected + CHANCE_MARGIN)
