"""Masks for tests of the NCC."""

from __future__ import annotations

import numpy as np

from support.scenes import ellipse


def masks(rng, shape, kind):
    if kind == "all":
        return np.ones(shape, bool)
    if kind == "random":
        return rng.random(shape) < 0.7
    if kind == "ellipse":
        return ellipse(shape)
    return rng.random(shape) < 0.1
