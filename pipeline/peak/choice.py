"""Which lag of an NCC surface the images have, and what chance would show in its place.

**Which lag.** At small overlaps chance reaches a high NCC, so the highest NCC is not the best lag.
The significance ``z = atanh(ncc) * sqrt(N - 3)`` (Fisher 1921) weighs the NCC with the number of
pixels N it rests on; its maximum needs no limit on the overlap. The factor sqrt(N) leans towards
lag zero, so the lag itself is the local maximum of the NCC reached from there.

**Chance.** What chance does is read off the same surface: the lags away from the peak compare
parts of the images that do not belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.model import Bools, Floats, Slices, Surface

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
# not symmetric: so many scales of their tail above them, or the first factor.
CLEAR_FACTOR = 12.0
TAIL_SCALES = 6.0
# Nothing of that is asked where no rival reaches this fraction of the peak.
RIVAL_FRACTION = 0.2
# Fewer local maxima than this do not show a tail; it is taken for one of that mean log excess.
FEWEST_MAXIMA, UNKNOWN_TAIL = 16, 0.4
# The neighbourhood of a peak: the lags connected to it above this fraction of its significance.
NEIGHBOURHOOD_LEVEL = 0.5
# The quartiles of normal values are so many standard deviations apart.
QUARTILES_APART = 1.349
# Fewer independent lags away from the peak than this do not show what chance does by themselves.
FEWEST_LAGS = 8


@dataclass(frozen=True)
class Peak:
    """The chosen lag (as an index into the surface) and what speaks for and against it."""

    index: tuple[int, ...]
    significance: float
    runner_up: float  # significance of the best lag outside the neighbourhood; NaN if there is none
    chance: float  # the significance that unrelated images do not reach
    z: Floats = field(repr=False)  # significance of every lag, -inf where unknown
    away: Bools = field(repr=False)  # the lags outside the neighbourhood


def significance(surface: Surface) -> NDArray[np.float64]:
    """Fisher's z of every lag, in standard deviations for white noise; -inf where unknown."""
    ncc = np.clip(surface.ncc.astype(np.float64), -1 + 1e-6, 1 - 1e-6)
    freedom = surface.overlap_count - 3
    z = np.arctanh(ncc) * np.sqrt(np.maximum(freedom, 0))
    return np.where(np.isfinite(ncc) & (freedom > 0), z, -np.inf)


def find_peak(surface: Surface, z: Floats | None = None) -> Peak | None:
    """The most significant lag that is searched; None if no lag is known or none correlates.

    `z` is the significance of every lag, if it is known already.
    """
    z, searched = significance(surface) if z is None else z, surface.searched
    inside = z[searched]
    best = np.unravel_index(int(np.argmax(inside)), inside.shape)
    top = tuple(int(i) + side.start for i, side in zip(best, searched, strict=True))
    if not z[top] > 0:
        return None
    hill = _hill(z, top)
    allowed = np.full(z.shape, -np.inf)
    allowed[searched] = np.where(hill[searched], surface.ncc[searched], -np.inf)
    away = np.isfinite(z) & ~_around(hill)
    values = inside[away[searched]]
    return Peak(
        index=_climb(allowed, top),
        significance=float(z[top]),
        runner_up=max(float(values.max()), 0.0) if values.size else float("nan"),
        chance=_normal_chance(values, hill[searched], surface.chance_deviation),
        z=z,
        away=away,
    )


def _hill(z: Floats, top: tuple[int, ...]) -> Bools:
    """The lags connected to the highest one above half of its significance."""
    labels, _ = ndimage.label(z > NEIGHBOURHOOD_LEVEL * z[top], np.ones((3,) * z.ndim))
    return np.asarray(labels == labels[top])


def _around(values: NDArray[Any]) -> NDArray[Any]:
    """The highest value of every lag and its neighbours, diagonal ones too; any, of booleans."""
    highest = values
    for axis in range(values.ndim):
        lines = highest.swapaxes(axis, 0)
        near = lines.copy()
        np.maximum(near[1:], lines[:-1], out=near[1:])
        np.maximum(near[:-1], lines[1:], out=near[:-1])
        highest = near.swapaxes(axis, 0)
    return highest


def _climb(ncc: Floats, index: tuple[int, ...]) -> tuple[int, ...]:
    """The local maximum that steepest ascent over whole lags reaches from `index`."""
    while True:
        around = tuple(slice(max(i - 1, 0), i + 2) for i in index)
        step = np.unravel_index(int(np.argmax(ncc[around])), ncc[around].shape)
        higher = tuple(int(a.start + s) for a, s in zip(around, step, strict=True))
        if not ncc[higher] > ncc[index]:
            return index
        index = higher


def tail_chance(peak: Peak, place: Floats, searched: Slices) -> float:
    """The significance that unrelated images do not reach, from what is not symmetric.

    `place` is the peak's, between the lags; without a rival nothing is asked: -inf.

    Where few bright details make up the images (stars, cells), chance lays one on another, and the
    maxima of the surface fall off slowly. Of a true pair, so do those of its own structure, but
    that is symmetric around the peak; the difference of opposite lags knows only of noise and
    chance. The mean log excess of the highest values tells how heavy their tail is (Hill 1975).
    """
    if not peak.runner_up > RIVAL_FRACTION * peak.significance:
        return -np.inf
    heights = _maxima(_odd(peak.z, peak.away, place))
    if not heights.size:
        return -np.inf
    highest = float(heights[0])
    excess, heaviness = _tail(heights)
    light = max(ODD_FACTOR * highest, highest + ODD_SCALES * excess)
    if heaviness < HEAVY_TAIL:
        return light
    heavy = highest * float(np.exp(min(HEAVY_POWER * heaviness, HEAVY_MOST)))
    others = _maxima(np.where(peak.away, peak.z, -np.inf)[searched])
    if len(others) < FEWEST_MAXIMA:
        return max(light, heavy)
    far = float(others[0])
    far = min(far + TAIL_SCALES * _tail(others)[0], ODD_FACTOR * far)
    return max(light, heavy, min(far, CLEAR_FACTOR * highest))


def _odd(z: Floats, away: Bools, place: Floats) -> Floats:
    """Differences of opposite lags around `place`, as large as the noise of one of them.

    Lags next to the peak, and those without an opposite, count as 0.
    """
    centre = np.rint(place).astype(int)
    sides = zip(centre, z.shape, strict=True)
    reach = [max(min(int(at), size - 1 - int(at)), 0) for at, size in sides]
    around = tuple(slice(at - r, at + r + 1) for at, r in zip(centre, reach, strict=True))
    both = away[around] & np.flip(away[around])
    known = np.where(np.isfinite(z[around]), z[around], 0)
    for axis, step in enumerate((place - centre).tolist()):
        known = _moved(known, axis, step)
    odd = (known - np.flip(known)) / np.sqrt(2)
    return np.asarray(np.where(both, odd, 0))


def _moved(values: Floats, axis: int, step: float) -> Floats:
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
    moved = sum(tap * padded[1 + first + k : 1 + first + k + size] for k, tap in enumerate(taps))
    return np.asarray(moved).swapaxes(axis, 0)


def _maxima(values: Floats) -> Floats:
    """Heights of the positive local maxima, the highest first."""
    return np.asarray(np.sort(values[(_around(values) == values) & (values > 0)])[::-1])


def _tail(heights: Floats) -> tuple[float, float]:
    """Mean excess of the highest tenth of the maxima over the next, and that of the logarithm."""
    top = min(max(len(heights) // 10, 6), len(heights) - 1)
    if not top:
        return 0.0, UNKNOWN_TAIL
    heaviness = float(np.log(heights[:top]).mean() - np.log(heights[top]))
    if len(heights) < FEWEST_MAXIMA:
        heaviness = max(heaviness, UNKNOWN_TAIL)
    return float(heights[:top].mean() - heights[top]), heaviness


def _normal_chance(away: Floats, hill: Bools, expected_deviation: float) -> float:
    """The significance that unrelated images do not reach at any of the searched lags.

    The largest of M independent normal values is about sqrt(2 ln M) deviations above their mean.
    Neighbouring lags are not independent: half of the hill's area counts as one. The deviation is
    what the spectra let expect, or what the lags away from the peak show, whichever is larger:
    structure that repeats or stands still makes it larger than the spectra say.
    """
    core = max(np.count_nonzero(hill) / 2, 1)
    middle, deviation = 0.0, expected_deviation
    if away.size >= FEWEST_LAGS * core:
        quartiles = [away.size // 4, away.size // 2, 3 * away.size // 4]
        low, middle, high = np.partition(away, quartiles)[quartiles].tolist()
        deviation = max(deviation, (high - low) / QUARTILES_APART)
    independent = max(away.size / core, FEWEST_LAGS)
    highest_expected = float(np.sqrt(2 * np.log(independent)))
    return middle + deviation * (highest_expected + CHANCE_MARGIN)
