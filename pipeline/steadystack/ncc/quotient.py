"""Compute the NCC surface as the quotient of the terms of a whole pair."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from steadystack.model import Surface
from steadystack.ncc.lags import Window
from steadystack.ncc.terms import Lags, Moments, Terms

# Rounding error of a sum, in units of the largest sum times the transforms' precision.
ROUNDING = 32
# Lags processed at a time, so that intermediate results fit the cache.
CHUNK_LAGS = 2**16


def compute_surface(
    terms: Terms,
    window: Window,
    min_overlap: float | None = None,
    dtype: DTypeLike = np.float32,
) -> Surface:
    """Compute the NCC surface from the terms of a whole pair.

    Parameters
    ----------
    terms, window
        The terms of the whole pair, and their lags.
    min_overlap
        Lags at which fewer than this fraction (0..1) of the smaller image's valid pixels overlap
        are NaN. None: no limit but that of rounding.
    dtype
        Data type of the surface and of the transforms that the terms come from. Where a variance is
        not above rounding at that precision, the NCC is NaN.
    """
    count = terms.count
    f, g = terms.reference, terms.moving
    smaller = min(f.count, g.count)
    noise = ROUNDING * float(np.finfo(dtype).eps) * smaller
    ncc = np.empty(count.shape, dtype)
    variances = np.empty(count.shape), np.empty(count.shape)
    lines = max(CHUNK_LAGS // max(math.prod(count.shape[1:]), 1), 1)
    for begin in range(0, len(count), lines):
        chunk = slice(begin, begin + lines)
        common, sum_f, sum_g = count[chunk], terms.sum_f[chunk], terms.sum_g[chunk]
        per_pixel = 1 / np.maximum(common, 1)
        variance_f = _subtract_means(terms.square_f[chunk], sum_f, sum_f, per_pixel)
        variance_g = _subtract_means(terms.square_g[chunk], sum_g, sum_g, per_pixel)
        values = _subtract_means(terms.cross[chunk], sum_f, sum_g, per_pixel)
        is_known = (variance_f > noise * f.variance) & (variance_g > noise * g.variance)
        is_known &= common >= 2
        if min_overlap is not None:
            is_known &= common >= min_overlap * smaller
        scale = variance_f * variance_g
        if not is_known.all():
            scale[~is_known], values[~is_known] = 1, np.nan
        values /= np.sqrt(scale, out=scale)
        ncc[chunk] = np.clip(values, -1, 1, out=values)
        np.multiply(variance_f, per_pixel, out=variances[0][chunk])
        np.multiply(variance_g, per_pixel, out=variances[1][chunk])
    return Surface(
        ncc=ncc,
        overlap_count=count,
        first_lag=window.first,
        valid_count=(f.count, g.count),
        chance_deviation=terms.chance_deviation,
        variances=variances,
        bright_shares=(_relate(f), _relate(g)),
    )


def _relate(image: Moments) -> float:
    """Relate the share of the bright pixels of an image to its variance."""
    return image.bright_share / image.variance if image.variance > 0 else np.inf


def _subtract_means(products: Lags, first: Lags, second: Lags, per_pixel: Lags) -> Lags:
    """Subtract the products of the means from sums of products."""
    of_means = first * second
    of_means *= per_pixel
    return np.subtract(products, of_means, out=of_means)
