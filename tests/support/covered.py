"""Series of a scene that drifts, with something before it that goes another way."""

from __future__ import annotations

import numpy as np

from support.scenes import Scene


def covered_series(seed, cover="object", share=None, frames=32, side=120, noise=0.3, contrast=6):
    """Frames and the shifts of their scene (frames, axes), px.

    A share of the frame is covered by a round "object" that moves by itself, or by a "label" in a
    corner that stands still, so many times as bright as the scene; with "nothing" by neither.
    """
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.06, 0.2) if share is None else share
    detail = rng.uniform(1.5, 4, 2)
    steps = rng.normal(0, 0.3, (frames, 2)) + rng.uniform(-0.5, 0.5, 2)
    shifts = np.cumsum(steps, axis=0) - steps[0]
    images = take_views(Scene(seed, detail=detail[0]), shifts, side)
    y, x = np.mgrid[:side, :side]
    if cover == "object":
        way = shifts + np.arange(frames)[:, None] * rng.uniform(0.2, 0.6, 2) * rng.choice(
            [-1, 1], 2
        )
        other = take_views(Scene(seed + 10**6, detail=detail[1]), way, side)
        middle, radius = side * rng.uniform(0.25, 0.75, 2), side * np.sqrt(share / np.pi)
        for image, shown, (dy, dx) in zip(images, other, way - way.mean(axis=0), strict=True):
            inside = np.hypot(y - middle[0] + dy, x - middle[1] + dx) < radius
            image[inside] = 1.3 * shown[inside]
    elif cover == "label":
        size = int(side * np.sqrt(share))
        letters = take_views(Scene(seed + 10**6, detail=2), np.zeros((1, 2)), size)[0] > 0
        images[:, -size:, :size] = contrast * letters
    images = images + noise * rng.normal(size=images.shape)
    return (1000 + 100 * images).astype("f4"), shifts


def take_views(scene, shifts, side):
    images = np.stack([scene.view((side, side), shift) for shift in shifts])
    return (images - images.mean()) / images.std()
