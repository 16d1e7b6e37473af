"""Small scenes with a border."""

from __future__ import annotations

import numpy as np

from support.scenes import rough

SHAPE = (48, 56)


def scenes(count, shape=SHAPE, seed=0):
    one = rough(seed, shape, 2)
    return np.stack([np.roll(100 + 30 * one / one.std(), frame, axis=1) for frame in range(count)])
