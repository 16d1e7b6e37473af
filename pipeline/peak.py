"""From an NCC surface to a shift: which lag, how far between the pixels, how sure, or why not.

**Which lag.** At small overlaps chance reaches a high NCC, so the highest NCC is not the best lag.
The significance ``z = atanh(ncc) * sqrt(N - 3)`` (Fisher 1921) weighs the NCC with the number of
pixels N it rests on; its maximum needs no limit on the overlap. The factor sqrt(N) leans towards
lag zero, so the lag itself is the local maximum of the NCC reached from there.

**How sure.** What chance does is read off the same surface: the lags away from the peak compare
parts of the images that do not belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.model import Bools, Floats, PairStatus, Registration, Surface

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
# A runner-up of this fraction of the peak's significance makes the choice arbitrary.
AMBIGUOUS_FRACTION = 0.9
# The neighbourhood of a peak: the lags connected to it above this fraction of its significance.
NEIGHBOURHOOD_LEVEL = 0.5
# Fewer independent lags away from the peak than this do not show what chance does by themselves.
FEWEST_LAGS = 8
# The summit between the pixels: Newton steps with derivatives over this distance, px.
NEWTON_STEPS = 12
DIFFERENCE_STEP = 0.05


@dataclass(frozen=True)
class Peak:
    """The chosen lag (as an index into the surface) and what speaks for and against it."""

    index: tuple[int, ...]
    significance: float
    runner_up: float  # significance of the best lag outside the neighbourhood; NaN if there is none
    chance: float  # the significance that unrelated images do not reach
    tail: float  # the same, read off the highest maxima away from the peak
    edge: PairStatus | None  # why the surface around the peak is not whole, if it is not


def significance(surface: Surface) -> NDArray[np.float64]:
    """Fisher's z of every lag, in standard deviations for white noise; -inf if unknown."""
    ncc = np.clip(surface.ncc.astype(np.float64), -1 + 1e-6, 1 - 1e-6)
    freedom = surface.overlap_count - 3
    known = np.isfinite(ncc) & (freedom > 0)
    return np.where(known, np.arctanh(ncc) * np.sqrt(np.maximum(freedom, 0)), -np.inf)


def find_peak(surface: Surface) -> Peak | None:
    """The most significant lag that is searched; None if no lag is known or none correlates."""
    z = np.full(surface.ncc.shape, -np.inf)
    z[surface.searched] = significance(surface)[surface.searched]
    top = np.unravel_index(int(np.argmax(z)), z.shape)
    if not z[top] > 0:
        return None
    hill = _hill(z, top)
    index = _climb(np.where(hill, surface.ncc, -np.inf), tuple(int(i) for i in top))
    around = ndimage.generate_binary_structure(z.ndim, z.ndim)
    away = np.isfinite(z) & ~ndimage.binary_dilation(hill, around)
    return Peak(
        index=index,
        significance=float(z[top]),
        runner_up=max(float(z[away].max()), 0.0) if away.any() else float("nan"),
        chance=_normal_chance(z[away], hill, surface.chance_deviation),
        tail=_tail_chance(np.where(away, z, -np.inf)),
        edge=_edge(surface.ncc, index),
    )


def register(surface: Surface, *, subpixel: bool = True) -> Registration:
    """The shift that a surface shows, with its covariance and status.

    Parameters
    ----------
    surface : Surface
    subpixel : bool
        Whether to go between the pixels: the maximum of the quintic spline through the surface.

    Returns
    -------
    Registration
        Its shift is known only if the status is ok.
    """
    ndim = surface.ncc.ndim
    peak = find_peak(surface)
    if peak is None:
        nothing = not np.isfinite(surface.ncc).any()
        return Registration.unknown(ndim, PairStatus.LOW_OVERLAP if nothing else PairStatus.LOW_NCC)
    ncc = float(surface.ncc[peak.index])
    count = float(surface.overlap_count[peak.index])
    known = {
        "ncc": ncc,
        "runner_up": peak.runner_up / peak.significance,
        "overlap": count / min(surface.valid_count),
    }
    status = judge(peak)
    if status is not PairStatus.OK:
        return Registration.unknown(ndim, status, **known)
    offset, curvature = _summit(surface.ncc, peak.index)
    lag = np.array(surface.first_lag) + np.array(peak.index)
    return Registration(
        shift=lag + offset if subpixel else lag.astype(np.float64),
        covariance=shift_covariance(ncc, count, curvature),
        status=status,
        **known,
    )


def judge(peak: Peak) -> PairStatus:
    """Whether a peak can be believed, and if not, why."""
    if peak.significance < peak.chance:
        return PairStatus.LOW_NCC
    if peak.edge is not None:
        return peak.edge
    if peak.runner_up > AMBIGUOUS_FRACTION * peak.significance:
        return PairStatus.AMBIGUOUS
    rivalled = peak.runner_up > RIVAL_FRACTION * peak.significance
    if rivalled and peak.significance < peak.tail:
        return PairStatus.LOW_NCC
    return PairStatus.OK


def shift_covariance(ncc: float, count: float, curvature: Floats) -> NDArray[np.float64]:
    """Covariance of the shift, px²: ``2 (1 - ncc) / N`` times the inverse negative Hessian.

    `count` is the number N of overlapping pixels, `curvature` the Hessian of the NCC at its peak,
    1/px². White noise of equal strength in both images is assumed.
    """
    free = np.flatnonzero(np.isfinite(np.diag(curvature)))  # the others were not searched
    covariance = np.zeros(curvature.shape)
    eigenvalues, vectors = np.linalg.eigh(-curvature[np.ix_(free, free)])
    if eigenvalues.min(initial=np.inf) <= 0:
        return np.full(curvature.shape, np.nan)
    noise = 2 * max(1 - ncc, float(np.finfo(np.float32).eps)) / count
    covariance[np.ix_(free, free)] = noise * (vectors / eigenvalues) @ vectors.T
    return covariance


def _hill(z: NDArray[np.float64], top: tuple[np.intp, ...]) -> Bools:
    """The lags connected to the highest one above half of its significance."""
    connected = ndimage.generate_binary_structure(z.ndim, z.ndim)
    labels, _ = ndimage.label(z > NEIGHBOURHOOD_LEVEL * z[top], connected)
    return np.asarray(labels == labels[top])


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
        middle = float(np.median(away))
        deviation = max(deviation, 1.4826 * float(np.median(np.abs(away - middle))))
    independent = max(away.size / core, FEWEST_LAGS)
    highest_expected = float(np.sqrt(2 * np.log(independent)))
    return middle + deviation * (highest_expected + CHANCE_MARGIN)


def _edge(ncc: Floats, index: tuple[int, ...]) -> PairStatus | None:
    """AT_BOUND or LOW_OVERLAP if the surface ends next to this lag; None if it does not.

    A neighbour that is higher was not allowed to be the peak: it lies beyond the search. One that
    is not known overlaps too little. Axes along which only one lag is searched have no edge.
    """
    for axis, size in enumerate(ncc.shape):
        if size > 1 and not 0 < index[axis] < size - 1:
            return PairStatus.AT_BOUND
    around = ncc[tuple(slice(max(i - 1, 0), i + 2) for i in index)]
    if np.nanmax(around) > ncc[index]:
        return PairStatus.AT_BOUND
    return None if np.isfinite(around).all() else PairStatus.LOW_OVERLAP


def _summit(
    ncc: Floats, index: tuple[int, ...], radius: int = 12
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the quintic spline through the surface has its maximum near `index`, and its Hessian.

    Returns the offset from `index` in pixels, within ±1, and the matrix of second derivatives in
    1/px². Axes along which only one lag was searched get the offset 0 and no uncertainty.
    """
    free = [axis for axis, size in enumerate(ncc.shape) if size > 1]
    window = tuple(slice(max(i - radius, 0), i + radius + 1) for i in index)
    patch = ncc[window].astype(np.float64)
    # Unknown lags at the border of the patch must not spoil the spline: they get the lowest value.
    patch = np.where(np.isfinite(patch), patch, np.nanmin(patch))
    centre = np.array([i - w.start for i, w in zip(index, window, strict=True)], np.float64)
    spline = ndimage.spline_filter(patch, order=5, mode="mirror") if free else patch

    offset, step = np.zeros(ncc.ndim), np.full(1, np.inf)
    for left in reversed(range(NEWTON_STEPS + 1)):
        gradient, hessian = _derivatives(spline, centre + offset, free)
        if np.linalg.eigvalsh(hessian).max(initial=-np.inf) >= 0:
            return np.zeros(ncc.ndim), _coarse_curvature(ncc, index)
        if left == 0 or np.abs(step).max(initial=0) < 1e-6:
            break
        step = -np.linalg.solve(hessian, gradient)
        offset[free] = np.clip(offset[free] + step, -1, 1)
    curvature = np.diag(np.full(ncc.ndim, -np.inf))
    curvature[np.ix_(free, free)] = hessian
    return offset, curvature


def _coarse_curvature(ncc: Floats, index: tuple[int, ...]) -> NDArray[np.float64]:
    """The second differences between whole lags: what is known where the spline has no summit."""
    curvature = np.full(ncc.ndim, -np.inf)
    for axis, size in enumerate(ncc.shape):
        if size > 1:
            line = np.moveaxis(ncc, axis, 0)[(slice(None), *np.delete(index, axis))]
            low, middle, high = line[index[axis] - 1 : index[axis] + 2].astype(np.float64)
            curvature[axis] = min(low + high - 2 * middle, -float(np.finfo(np.float32).eps))
    return np.diag(curvature)


def _derivatives(
    spline: NDArray[np.float64], at: NDArray[np.float64], axes: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient (1/px) and Hessian (1/px²) of a quintic spline, by central differences."""
    unit = DIFFERENCE_STEP * np.eye(len(at))[axes]
    ups, downs = at + unit, at - unit
    pairs = [(a, b) for a in range(len(axes)) for b in range(a)]
    corners = [
        at + sa * unit[a] + sb * unit[b] for a, b in pairs for sa in (1, -1) for sb in (1, -1)
    ]
    points = np.array([at, *ups, *downs, *corners]).T
    height = ndimage.map_coordinates(spline, points, order=5, mode="mirror", prefilter=False)

    count = len(axes)
    up, down = height[1 : 1 + count], height[1 + count : 1 + 2 * count]
    gradient = (up - down) / (2 * DIFFERENCE_STEP)
    hessian = np.diag((up + down - 2 * height[0]) / DIFFERENCE_STEP**2)
    for (a, b), corner in zip(pairs, height[1 + 2 * count :].reshape(-1, 4), strict=True):
        mixed = (corner[0] - corner[1] - corner[2] + corner[3]) / (4 * DIFFERENCE_STEP**2)
        hessian[a, b] = hessian[b, a] = mixed
    return gradient, hessian
