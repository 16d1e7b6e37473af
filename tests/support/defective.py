"""Series that a camera with defects took of a scene that moves, or does not."""

from __future__ import annotations

import numpy as np

from support.scenes import Scene


def defective_series(seed, rate=None, count=None, frames=40, side=96):
    """Frames, their shifts (frames, axes) in px, and the flat indices of the defects.

    Detail, noise, drift and defects, hot or dead, are random; `rate` px a frame, `count` defects.
    """
    rng = np.random.default_rng(seed)
    scene, noise = Scene(seed, detail=rng.uniform(1, 6)), rng.choice([0.1, 0.5, 1.0, 2.0])
    rate = rng.uniform(0.3, 1.0) if rate is None else rate
    angle = rng.uniform(0, 2 * np.pi)
    steps = rate * np.array([np.sin(angle), np.cos(angle)]) + rng.normal(0, rate / 4, (frames, 2))
    shifts = np.cumsum(steps, axis=0) - steps[0]
    images = np.stack([scene.view((side, side), shift) for shift in shifts])
    images = images / images.std() + noise * rng.normal(size=images.shape)
    count = int(rng.integers(5, 40)) if count is None else count
    pixels = rng.choice(side * side, count, replace=False)
    sizes = (3 + 2 * noise) * np.exp(rng.exponential(0.7, count)) * rng.choice([-1, 1], count)
    images.reshape(frames, -1)[:, pixels] += sizes
    return (1000 + 100 * images).astype("f4"), shifts, np.sort(pixels)


def lined_series(seed, rate=None, size=0.3, frames=32, shape=(110, 120), noise=None):
    """Frames, their shifts (frames, axes) in px, and what rows and columns of the camera add.

    Detail, noise, drift, light and lines are random; `rate` px a frame, lines of `size` deviations
    of the scene.
    """
    rng = np.random.default_rng(seed)
    scene, usual = Scene(seed, detail=rng.uniform(1, 5)), rng.choice([0.1, 0.5, 1.0])
    noise = usual if noise is None else noise
    rate = rng.uniform(0.2, 1.0) if rate is None else rate
    shifts = np.cumsum(rng.normal(0, rate, (frames, 2)), axis=0)
    shifts -= shifts[0]
    images = np.stack([scene.view(shape, shift) for shift in shifts])
    images = images / images.std() + noise * rng.normal(size=images.shape)
    rows, columns = (100 * size * rng.normal(size=side) for side in shape)
    images = 1000 + 100 * images + np.add.outer(rows, columns)
    return images.astype("f4"), shifts, rows, columns
