"""Pick some of many pairs or values, spread evenly over all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Ints


def spread_by_separation(apart: Ints, count: int) -> NDArray[np.intp]:
    """Pick the numbers of about `count` pairs with separations `apart` (pairs,), spread evenly.

    Half are from the closer pairs, half from those further apart than the median.
    """
    is_far = apart > np.median(apart)
    near, far = np.flatnonzero(~is_far), np.flatnonzero(is_far)
    share = count // (2 if len(far) else 1)
    return np.concatenate([spread_evenly(half, share) for half in (near, far)])


def spread_evenly(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Pick at most `count` of the values, spread evenly."""
    chosen = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return values[np.unique(chosen)] if len(values) else values
