"""Which lag of an NCC surface the images have, and what chance would show in its place.

**Which lag.** At small overlaps chance reaches a high NCC, so the highest NCC is not the best lag.
The significance ``z = atanh(ncc) * sqrt(N - 3)`` (Fisher 1921) weighs the NCC with the number of
pixels N it rests on; its maximum needs no limit on the overlap. The factor sqrt(N) leans towards
lag zero, so the lag itself is the local maximum of the NCC reached from there.

**Chance.** What chance does is read off the same surface: the lags away from the peak compare
parts of the images that do not belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.model import Bools, Floats, Surface

# A peak is believed if it stands this many standard deviations above the highest that chance is
# expected to make in the surface. Of 2200 pairs of unrelated images (64 and 128 px, smooth over 0
# to 6 px, full, elliptic and sparse masks) two stood higher, by 2.1 and 2.4.
CHANCE_MARGIN = 2.0
# The same for surfaces whose maxima fall off slowly: so many scales of their tail above the
# highest of them. True pairs at a signal-to-noise ratio of 0.2 stand 7 above it, others 8 to 90.
TAIL_SCALES = 6.0
# It is asked for only where a runner-up reaches this fraction of the peak: a scene's own structure
# makes slowly falling maxima too, but far below the peak of a true pair (0.2 to 0.33 of it).
RIVAL_FRACTION = 0.35
# Fewer local maxima than this do not show a tail.
FEWEST_MAXIMA = 16
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
    tail: float  # the same, read off the highest maxima away from the peak; -inf without a rival


def significance(surface: Surface) -> NDArray[np.float64]:
    """Fisher's z of every searched lag, in standard deviations for white noise; -inf if unknown."""
    ncc = np.clip(surface.ncc[surface.searched].astype(np.float64), -1 + 1e-6, 1 - 1e-6)
    freedom = surface.overlap_count[surface.searched] - 3
    z = np.arctanh(ncc) * np.sqrt(np.maximum(freedom, 0))
    return np.where(np.isfinite(ncc) & (freedom > 0), z, -np.inf)


def find_peak(surface: Surface) -> Peak | None:
    """The most significant lag that is searched; None if no lag is known or none correlates."""
    z = significance(surface)
    top = tuple(int(i) for i in np.unravel_index(int(np.argmax(z)), z.shape))
    if not z[top] > 0:
        return None
    hill = _hill(z, top)
    inside = _climb(np.where(hill, surface.ncc[surface.searched], -np.inf), top)
    index = tuple(i + side.start for i, side in zip(inside, surface.searched, strict=True))
    away = np.isfinite(z) & ~_grown(hill)
    values = z[away]
    runner_up = max(float(values.max()), 0.0) if values.size else float("nan")
    rivalled = runner_up > RIVAL_FRACTION * float(z[top])
    return Peak(
        index=index,
        significance=float(z[top]),
        runner_up=runner_up,
        chance=_normal_chance(values, hill, surface.chance_deviation),
        tail=_tail_chance(np.where(away, z, -np.inf)) if rivalled else -np.inf,
    )


def _hill(z: NDArray[np.float64], top: tuple[int, ...]) -> Bools:
    """The lags connected to the highest one above half of its significance."""
    labels, _ = ndimage.label(z > NEIGHBOURHOOD_LEVEL * z[top], np.ones((3,) * z.ndim))
    return np.asarray(labels == labels[top])


def _grown(marked: Bools) -> Bools:
    """With all neighbours, diagonal ones too."""
    grown = marked
    for axis in range(marked.ndim):
        lines = grown.swapaxes(axis, 0)
        more = lines.copy()
        more[1:] |= lines[:-1]
        more[:-1] |= lines[1:]
        grown = more.swapaxes(axis, 0)
    return grown


def _climb(ncc: Floats, index: tuple[int, ...]) -> tuple[int, ...]:
    """The local maximum that steepest ascent over whole lags reaches from `index`."""
    while True:
        around = tuple(slice(max(i - 1, 0), i + 2) for i in index)
        step = np.unravel_index(int(np.argmax(ncc[around])), ncc[around].shape)
        higher = tuple(int(a.start + s) for a, s in zip(around, step, strict=True))
        if not ncc[higher] > ncc[index]:
            return index
        index = higher


def _tail_chance(away: Floats) -> float:
    """The significance that unrelated images do not reach, from the maxima away from the peak.

    Where few bright details make up the images (stars, spots), chance lays one on another, and the
    maxima of the surface fall off slowly. Beyond its highest values a tail is close to an
    exponential, whose scale is their mean excess (Hill 1975); the next maximum lies several scales
    above the highest of them in one of exp(several) surfaces.
    """
    maxima = (ndimage.maximum_filter(away, 3, mode="nearest") == away) & (away > 0)
    heights = np.sort(away[maxima])[::-1]
    if len(heights) < FEWEST_MAXIMA:
        return -np.inf
    top = max(len(heights) // 10, 5)
    scale = float(heights[:top].mean() - heights[top])
    return float(heights[0]) + TAIL_SCALES * scale


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
