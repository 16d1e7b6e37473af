"""The choice of the best lag of an NCC surface, and how high chance would reach.

**Best lag.** At small overlaps chance reaches a high NCC, so the highest NCC is not the best lag.
The significance ``z = atanh(ncc) * sqrt(N - 3)`` (Fisher 1921) weighs the NCC by the number of
pixels N it rests on, so its maximum needs no limit on the overlap. As the factor sqrt(N) favours
lag zero, the lag chosen is the local maximum of the NCC that is reached by climbing from there.

**Chance.** How high chance reaches is read off the same surface: lags away from the peak compare
regions of the images that do not belong together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from steadystack.model import Bools, Floats, Slices, Surface, find_box
from steadystack.peak.maxima import climb, dilate, find_heights, find_maxima, find_quartiles

# A peak is believed if it stands this many standard deviations above the highest that chance is
# expected to make in the surface. Of 2200 pairs of unrelated images (64 and 128 px, smooth over 0
# to 6 px, full, elliptic and sparse masks) two stood higher than this, by 2.1 and 2.4.
CHANCE_MARGIN = 2.0
# The surface around the peak of a true pair is symmetric but for noise: both images are one scene.
# A peak is believed if it is ODD_FACTOR times as high as the maximum of the antisymmetric part, and
# stands above that by ODD_SCALES scales of that part's tail. Of true pairs at a signal-to-noise
# ratio of 0.5 (128 px, textures, cells, stars) 98 % are 2.0 to 4.5 times as high, median 3.4 to 6;
# of true pairs with little noise 98 % are 12 to 40 times as high.
ODD_FACTOR, ODD_SCALES = 2.4, 7.0
# A tail is heavy if its mean log excess is above the first number: then chance lays a few bright
# details on one another, and the peak must be higher by a factor of e to the power (second number
# times excess), the exponent being at most the third.
HEAVY_TAIL, HEAVY_POWER, HEAVY_MOST = 0.25, 7.0, 1.1
# With a heavy tail the other maxima of the search count, too, unless the peak is CLEAR_FACTOR times
# as high as the antisymmetric part: the peak must stand TAIL_SCALES scales of their tail above
# them, or be ODD_FACTOR times as high. No limit is above CLEAR_FACTOR, as a tail's scale is at most
# its highest value.
CLEAR_FACTOR = 12.0
TAIL_SCALES = 6.0
# None of these limits apply if no rival reaches this fraction of the peak.
RIVAL_FRACTION = 0.2
# With fewer local maxima than this the tail is not known; its mean log excess is taken to be at
# least UNKNOWN_TAIL.
FEWEST_MAXIMA, UNKNOWN_TAIL = 16, 0.4
# The neighbourhood of a peak: the lags connected to it above this fraction of its significance, and
# how many lags on each side of the peak are searched for them first.
NEIGHBOURHOOD_LEVEL, HILL_REACH = 0.5, 8
# The largest NCC that is distinguished from 1, and Fisher's z of it.
LARGEST_NCC = 1 - 1e-6
LARGEST_FISHER = float(np.arctanh(LARGEST_NCC))
# Other maxima that are compared with the peak, at most (the highest ones); the largest part of its
# fall to the next lags by which a parabola misses the top of a maximum; and the fraction of the
# peak's NCC that an equally high maximum has at least on whole lags.
MOST_REPETITIONS, MISSED_FALL, REPETITION_NCC = 16, 0.1, 0.4
# Distance of the quartiles of a normal distribution, in standard deviations.
QUARTILES_APART = 1.349
# If either image has its contrast in more than this share of the overlap (0.33 for normal noise),
# the significance of the NCC is enough.
SPARSE = 0.1
# Fewer independent lags away from the peak than this do not show how high chance reaches.
FEWEST_LAGS = 8


@dataclass(frozen=True)
class Peak:
    """The chosen lag (as an index into the surface), and the evidence for and against it."""

    index: tuple[int, ...]
    significance: float
    second_significance: float  # of the best lag outside the neighbourhood; NaN if there is none
    chance: float  # the significance that unrelated images do not reach
    z: Floats = field(repr=False)  # significance of every lag, -inf where unknown
    away: Bools = field(repr=False)  # the lags outside the neighbourhood


def compute_significance(surface: Surface) -> Floats:
    """Compute Fisher's z of every lag, in standard deviations of white noise; -inf where unknown.

    The array has the shape and precision of the NCC; an NCC of 1 counts as slightly below 1.
    """
    ncc = surface.ncc
    root = np.subtract(surface.overlap_count, 3, out=np.empty_like(ncc), casting="same_kind")
    if not root.min(initial=1) > 0:
        root[~(root > 0)] = np.nan
    np.sqrt(root, out=root)
    with np.errstate(divide="ignore"):
        z = np.arctanh(ncc)
    np.clip(z, -LARGEST_FISHER, LARGEST_FISHER, out=z)
    z *= root
    return np.asarray(np.fmax(z, -np.inf, out=z))  # -inf in place of NaN


def find_peak(surface: Surface, z: Floats | None = None) -> Peak | None:
    """Find the most significant searched lag; None if no lag is known or none correlates.

    `z` is the significance of every lag, if already known.
    """
    z, searched = compute_significance(surface) if z is None else z, surface.searched
    searched_z = z[searched]
    best = np.unravel_index(int(np.argmax(searched_z)), searched_z.shape)
    top = tuple(int(i) + side.start for i, side in zip(best, searched, strict=True))
    if not z[top] > 0:
        return None
    box, hill = _find_hill(z, top)
    away = np.isfinite(z)
    away[box] &= ~dilate(hill)
    searched_box = _intersect(box, searched)
    hill = hill[_locate_within(box, searched_box)]
    away_z = searched_z[away[searched]]
    index = _climb_within(np.where(hill, surface.ncc[searched_box], -np.inf), searched_box, top)
    second = max(float(away_z.max()), 0.0) if away_z.size else float("nan")
    repetition = _find_repetition(surface, index, away) if away_z.size else 0.0
    return Peak(
        index=index,
        significance=float(z[top]),
        second_significance=max(second, repetition * float(z[top])),
        chance=_estimate_normal_chance(
            away_z, int(np.count_nonzero(hill)), surface.chance_deviation
        ),
        z=z,
        away=away,
    )


def _find_repetition(surface: Surface, index: tuple[int, ...], away: Bools) -> float:
    """Find how high the best maximum `away` from the one at `index` is, relative to that one.

    The whole lags of one maximum miss its top by more than those of another, by up to half a lag
    along each axis. Parabolas along the axes make up for that, but for a part of each fall.
    Significances are compared; 1 if only that part decides, 0 if no other maximum may be as high.
    Only maxima with at least half of the peak's overlap are considered.
    """
    count = surface.overlap_count
    enough = count >= count[index] / 2
    box = _find_wider_box(enough)
    searched_box = _intersect(box, surface.searched)
    region = _locate_within(box, searched_box)
    at = tuple(place - side.start for place, side in zip(index, box, strict=True))
    ncc, away, count = surface.ncc[box], away[box] & enough[box], count[box]
    others = np.where(away[region], ncc[region], -np.inf)
    if not float(np.fmax.reduce(others, axis=None)) > REPETITION_NCC * ncc[at]:
        return 0.0
    ncc = np.where(np.isfinite(ncc), ncc, -np.inf)
    is_top = away & (ncc >= dilate(ncc))
    places = np.argwhere(is_top[region]) + [side.start for side in region]
    if not len(places):
        return 0.0
    order = np.argsort(ncc[tuple(places.T)])[::-1][:MOST_REPETITIONS]
    places = np.concatenate([[at], places[order]])
    heights, falls = find_heights(ncc, places)
    if (heights[1:] + MISSED_FALL * falls[1:]).max() >= heights[0]:
        return 1.0
    weight = np.sqrt(np.maximum(count[tuple(places.T)] - 3, 0))
    z = np.arctanh(np.minimum(heights, LARGEST_NCC)) * weight
    return float(z[1:].max() / z[0]) if z[0] > 0 else 0.0


def _find_wider_box(chosen: Bools) -> Slices:
    """Find the box around the chosen lags (at least one), with one more lag on each side."""
    box = zip(find_box(chosen), chosen.shape, strict=True)
    return tuple(slice(max(side.start - 1, 0), min(side.stop + 1, size)) for side, size in box)


def _find_hill(z: Floats, top: tuple[int, ...]) -> tuple[Slices, Bools]:
    """Find the lags connected to the highest one, `top`, above half of its significance.

    Returns a box around them, with one lag more on each side unless the surface ends there, and
    which lags in it they are (bool).
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


def _intersect(first: Slices, second: Slices) -> Slices:
    """Find the box that two boxes have in common."""
    sides = zip(first, second, strict=True)
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in sides)


def _locate_within(box: Slices, region: Slices) -> Slices:
    """Slices that take a region from an array over the box that it lies in."""
    sides = zip(box, region, strict=True)
    return tuple(
        slice(inner.start - outer.start, inner.stop - outer.start) for outer, inner in sides
    )


def _climb_within(ncc: Floats, box: Slices, start: tuple[int, ...]) -> tuple[int, ...]:
    """Climb within a box; `ncc` covers the box, `start` and the result index the surface."""
    begin = tuple(side.start for side in box)
    top = climb(ncc, tuple(i - first for i, first in zip(start, begin, strict=True)))
    return tuple(i + first for i, first in zip(top, begin, strict=True))


def estimate_tail_chance(peak: Peak, position: Floats, searched: Slices) -> float:
    """Estimate the significance that unrelated images do not reach, from the antisymmetric part.

    `position` is the peak's summit as a fractional index. Without a rival: -inf.

    In images of a few bright details (stars, cells) chance lays one detail on another, and the
    maxima of the surface fall off slowly. So do those that a true pair's own structure makes, but
    these are symmetric around the peak: the difference of opposite lags shows only noise and
    chance. The mean log excess of the highest values tells how heavy their tail is (Hill 1975).
    """
    if not peak.second_significance > RIVAL_FRACTION * peak.significance:
        return -np.inf
    odd = _compute_odd_differences(peak.z, peak.away, position)
    highest = float(odd.max())
    if not highest > 0:
        return -np.inf
    if peak.significance >= CLEAR_FACTOR * highest:  # above every limit, whatever the tail
        return CLEAR_FACTOR * highest
    excess, heaviness = _measure_tail(find_maxima(odd))
    light = max(ODD_FACTOR * highest, highest + ODD_SCALES * excess)
    if heaviness < HEAVY_TAIL:
        return light
    heavy = highest * float(np.exp(min(HEAVY_POWER * heaviness, HEAVY_MOST)))
    maxima = find_maxima(np.where(peak.away, peak.z, -np.inf)[searched])
    if len(maxima) < FEWEST_MAXIMA:
        return max(light, heavy)
    limit = float(maxima[0])
    limit = min(limit + TAIL_SCALES * _measure_tail(maxima)[0], ODD_FACTOR * limit)
    return max(light, heavy, min(limit, CLEAR_FACTOR * highest))


def _compute_odd_differences(z: Floats, away: Bools, position: Floats) -> Floats:
    """Compute differences of opposite lags around `position`, scaled to the noise of one lag.

    Lags near the peak and lags without an opposite are 0.
    """
    centre = np.rint(position).astype(int).tolist()
    reach = [max(min(at, size - 1 - at), 0) for at, size in zip(centre, z.shape, strict=True)]
    region = tuple(slice(at - r, at + r + 1) for at, r in zip(centre, reach, strict=True))
    both_away = away[region] & np.flip(away[region])
    values = z[region].copy()
    values[~np.isfinite(values)] = 0
    for axis, step in enumerate((position - centre).tolist()):
        values = _move(values, axis, step)
    odd = values - np.flip(values)
    odd *= both_away
    odd *= math.sqrt(0.5)
    return np.asarray(odd)


def _move(values: Floats, axis: int, step: float) -> Floats:
    """Take values a fraction of a lag further along an axis, by cubic convolution (Keys 1981)."""
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
    size, along = values.shape[axis], (slice(None),) * axis
    ends = values[(*along, slice(1))], values[(*along, slice(-1, None))]
    padded = np.concatenate([ends[0], ends[0], values, ends[1], ends[1]], axis=axis)
    moved, part = None, np.empty_like(values)
    for begin, tap in enumerate(taps, 1 + first):
        lines = padded[(*along, slice(begin, begin + size))]
        if moved is None:
            moved = tap * lines
        else:
            moved += np.multiply(tap, lines, out=part)
    return np.asarray(moved)


def _measure_tail(heights: Floats) -> tuple[float, float]:
    """Measure how far the highest tenth of maxima exceeds the next one, and the mean log excess."""
    top = min(max(len(heights) // 10, 6), len(heights) - 1)
    if not top:
        return 0.0, UNKNOWN_TAIL
    over = heights[:top] / heights[top]
    heaviness = float(np.log(over).sum()) / top
    if len(heights) < FEWEST_MAXIMA:
        heaviness = max(heaviness, UNKNOWN_TAIL)
    return (float(over.sum()) / top - 1) * float(heights[top]), heaviness


def _estimate_normal_chance(values: Floats, hill_lags: int, expected_deviation: float) -> float:
    """Estimate the significance that unrelated images do not reach at any of the searched lags.

    The largest of M independent normal values is about sqrt(2 ln M) deviations above their mean.
    Neighbouring lags are not independent: half of the peak's `hill_lags` count as one. The
    deviation is `expected_deviation`, from the spectra, or that of `values`, the significances away
    from the peak, if that is larger, as where structure repeats or stands still.
    """
    core = max(hill_lags / 2, 1)
    middle, deviation = 0.0, expected_deviation
    if values.size >= FEWEST_LAGS * core:
        low, middle, high = find_quartiles(values)
        deviation = max(deviation, (high - low) / QUARTILES_APART)
    independent = max(values.size / core, FEWEST_LAGS)
    highest_expected = float(np.sqrt(2 * np.log(independent)))
    return middle + deviation * (highest_expected + CHANCE_MARGIN)


def rests_on_few_pixels(surface: Surface, index: tuple[int, ...]) -> bool:
    """Whether so few bright pixels overlap at a lag that unrelated images match there by chance.

    Where most pixels are alike (single counts of a detector), two or three bright pixels on one
    another make an NCC of 1. Of all ways to place them in the overlap, one matches: the number of
    ways, as a significance, must stand above the highest expected of so many lags.
    """
    if surface.variances is None:
        return False
    overlap = float(surface.overlap_count[index])
    shares = [
        share * float(variance[index])
        for share, variance in zip(surface.bright_shares, surface.variances, strict=True)
    ]
    if not max(shares) < SPARSE:
        return False
    bright = max(min(shares) * overlap, 1.0)
    rest = max(overlap - bright, 0.0)
    ways = math.lgamma(overlap + 1) - math.lgamma(bright + 1) - math.lgamma(rest + 1)
    lags = int(np.count_nonzero(np.isfinite(surface.ncc[surface.searched])))
    highest_expected = math.sqrt(2 * math.log(max(lags, 2)))
    return math.sqrt(2 * max(ways, 0.0)) < highest_expected + CHANCE_MARGIN
