"""Series with a pattern that stands still."""

from __future__ import annotations

import numpy as np

from support.scenes import Scene, rough

SIZE = (72, 80)


def way(frames, step=(0.3, -0.25), wander=0.1, seed=3):
    """Shifts that go one way and wander."""
    steps = np.array(step) + np.random.default_rng(seed).normal(0, wander, (frames, 2))
    return np.cumsum(steps, axis=0) - steps[0]


def views(truth, seed=0, shape=SIZE):
    world = Scene(seed, ndim=len(shape), detail=1.5)
    return np.stack([world.view(shape, origin) for origin in truth])


def noise(frames, strength, seed=8):
    return np.random.default_rng(seed).normal(0, strength, frames.shape)


def make_pattern(shape=SIZE, seed=5):
    image = rough(seed, shape)
    return (image - image.mean()) / image.std()
