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
# The quartiles of normal values are so many standard deviations apart.
QUARTILES_APART = 1.349
# Fewer independent lags away from the peak than this do not show what chance does by themselves.
FEWEST_LAGS = 8
# The summit between the pixels: Newton steps, until they are shorter than this, px.
NEWTON_STEPS = 12
NEWTON_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Peak:
    """The chosen lag (as an index into the surface) and what speaks for and against it."""

    index: tuple[int, ...]
    significance: float
    runner_up: float  # significance of the best lag outside the neighbourhood; NaN if there is none
    chance: float  # the significance that unrelated images do not reach
    tail: float  # the same, read off the highest maxima away from the peak; -inf without a rival
    edge: PairStatus | None  # why the surface around the peak is not whole, if it is not


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
    if peak.significance < peak.tail:
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
    known = np.isfinite(patch)
    patch = (patch if known.all() else np.where(known, patch, np.nanmin(patch))).squeeze()
    centre = np.array([index[axis] - window[axis].start for axis in free], np.float64)
    spline = ndimage.spline_filter(patch, order=5, mode="mirror")

    offset = np.zeros(len(free))
    for _ in range(NEWTON_STEPS):
        gradient, hessian = _derivatives(spline, centre + offset)
        eigenvalues, vectors = np.linalg.eigh(hessian)
        if eigenvalues[-1] >= 0:
            return np.zeros(ncc.ndim), _coarse_curvature(ncc, index)
        step = -vectors @ ((gradient @ vectors) / eigenvalues)
        offset = np.clip(offset + step, -1, 1)
        if np.abs(step).max() < NEWTON_TOLERANCE:  # what is left is of the order of its square
            break
    shift, curvature = np.zeros(ncc.ndim), np.diag(np.full(ncc.ndim, -np.inf))
    shift[free] = offset
    curvature[np.ix_(free, free)] = hessian
    return shift, curvature


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
    spline: NDArray[np.float64], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient (1/px) and Hessian (1/px²) of a quintic spline at a point.

    `spline` holds its coefficients, mirrored at the borders.
    """
    first = np.floor(at).astype(int)
    block = spline
    for axis, (start, size) in enumerate(zip(first, spline.shape, strict=True)):
        period = 2 * (size - 1)
        taps = np.arange(start - 2, start + 4) % period
        block = block.take(np.minimum(taps, period - taps), axis=axis)
    mixed = block  # every axis of taps becomes a last one with value, slope and curvature
    for place in (at - first).tolist():
        weights = QUINTIC @ place**POWERS
        mixed = (weights @ mixed.reshape(6, -1)).T.reshape(*mixed.shape[1:], 3)
    axes = range(len(at))
    gradient = np.array([mixed[tuple(int(a == one) for a in axes)] for one in axes])
    hessian = [
        [mixed[tuple((a == one) + (a == two) for a in axes)] for two in axes] for one in axes
    ]
    return gradient, np.array(hessian)


def _spline_weights(degree: int) -> NDArray[np.float64]:
    """Weights of a uniform B-spline's coefficients as polynomials of the place between two knots.

    Value, slope and curvature: (3, degree + 1 coefficients, degree + 1 powers); by the recursion
    of Cox and de Boor.
    """
    weights = [np.polynomial.Polynomial([1.0])]
    for p in range(1, degree + 1):
        padded = [np.polynomial.Polynomial([0.0]), *weights, np.polynomial.Polynomial([0.0])]
        weights = [
            np.polynomial.Polynomial([(p - j) / p, 1 / p]) * padded[j]
            + np.polynomial.Polynomial([(j + 1) / p, -1 / p]) * padded[j + 1]
            for j in range(p + 1)
        ]
    table = np.zeros((3, degree + 1, degree + 1))
    for order, j in np.ndindex(3, degree + 1):
        coefficients = weights[j].deriv(order).coef if order else weights[j].coef
        table[order, j, : len(coefficients)] = coefficients
    return table


QUINTIC, POWERS = _spline_weights(5), np.arange(6)
