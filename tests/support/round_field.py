"""Series that are seen through a round field of view, which stands still in the camera."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from support.scenes import Scene


def round_series(seed: int, outside: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (t, y, x), what lays each on the first, and where the scene is seen, (y, x).

    The scene's detail, path and noise, the field's size, the softness of its edge, and the level
    and the noise beyond are random; with `outside=False` the scene fills the frames.
    """
    rng = np.random.default_rng([20261129, seed])
    shape = tuple(int(side) for side in rng.integers(110, 180, 2))
    count = int(rng.choice([12, 24, 40]))
    steps = rng.normal(rng.uniform(-0.4, 0.4, 2), rng.uniform(0.3, 1.0), (count, 2))
    path = np.cumsum(steps, axis=0) - steps[0]
    scene = Scene(int(rng.integers(1e9)), 2, rng.uniform(1.5, 5), waves=120)
    middle, reach = np.array(shape) / 2, rng.uniform(0.75, 1.1)
    y, x = np.indices(shape)
    seen = np.hypot((y - middle[0]) / middle[0], (x - middle[1]) / middle[1]) < reach
    level, noise = rng.choice([-1, 1]) * rng.uniform(1, 3), 10 ** rng.uniform(-1.2, 0)
    beyond = noise * rng.choice([1, 0.3, 0])
    share = ndimage.gaussian_filter(seen.astype(float), rng.uniform(0.3, 2))
    share = share if outside else np.ones(shape)
    frames = [
        share * (scene.view(shape, place) + rng.normal(0, noise, shape))
        + (1 - share) * (level + rng.normal(0, 1, shape) * beyond)
        for place in path
    ]
    return np.array(frames, np.float32), path, seen
