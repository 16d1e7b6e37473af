"""From the terms of a pair to its NCC.

::

    NCC = (C - S_f S_g / N) / sqrt((Q_f - S_f^2 / N) (Q_g - S_g^2 / N))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from steadystack.model import Surface
from steadystack.ncc.lags import Window
from steadystack.ncc.terms import Terms

# What rounding leaves of a sum, in units of the largest sum and the transforms' precision.
ROUNDING = 32


def surface(
    terms: Terms,
    window: Window,
    min_overlap: float | None = None,
    dtype: DTypeLike = np.float32,
) -> Surface:
    """The NCC surface that the terms make up.

    Parameters
    ----------
    terms, window
        Of the whole pair, and the lags that they are for.
    min_overlap
        Lags at which fewer than this fraction (0..1) of the smaller image's valid pixels overlap
        are NaN. None: no limit but what rounding sets.
    dtype
        Of the result, and that the terms were computed in: a contrast that does not stand above
        its rounding is not known.
    """
    count = terms.count
    f, g = terms.reference, terms.moving
    smaller = min(f.count, g.count)
    each = 1 / np.maximum(count, 1)
    variance_f = terms.square_f - terms.sum_f * terms.sum_f * each
    variance_g = terms.square_g - terms.sum_g * terms.sum_g * each
    covariance = terms.cross - terms.sum_f * terms.sum_g * each
    noise = ROUNDING * float(np.finfo(dtype).eps) * smaller
    known = (count >= 2) & (variance_f > noise * f.variance) & (variance_g > noise * g.variance)
    if min_overlap is not None:
        known &= count >= min_overlap * smaller
    scale = np.sqrt(np.where(known, variance_f * variance_g, 1))
    ncc = np.where(known, np.clip(covariance / scale, -1, 1), np.nan)
    return Surface(
        ncc=ncc.astype(dtype),
        overlap_count=count,
        first_lag=window.first,
        valid_count=(f.count, g.count),
        chance_deviation=terms.chance_deviation,
        variances=(variance_f * each, variance_g * each),
    )
