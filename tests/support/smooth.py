"""A scene of large detail in noise as strong as it: most pairs are refused as they are."""

from __future__ import annotations

import numpy as np

from bench_verdict import noisy, views, wander

SMOOTH = (12.0, 20.0)  # px: details of the scene


def smooth_series(seed):
    """Frames, and the shift of each."""
    rng = np.random.default_rng(seed)
    truth = wander(rng, 0.4)
    return noisy(rng, views(rng, truth, SMOOTH), 1.2), truth
