"""Make example data from a known scene: a drifting time-lapse, and two pairs of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools

# Displacement, px, of the scene in the moving image: the shift of the pair is its negative.
GALLERY_OFFSET = (-22, 13)


@dataclass(frozen=True, eq=False)
class DriftingSeries:
    """A simulated time-lapse with its true shifts."""

    frames: NDArray[np.uint16]  # (frames, y, x)
    mask: Bools  # (y, x), True inside of the field stop
    shift: NDArray[np.float64]  # (frames, 2) px, aligns a frame with frame 0; NaN for dark frames
    dark: tuple[int, ...]  # numbers of the dark frames


def make_drifting_series(
    scene: NDArray[Any], *, frame_count: int = 40, size: int = 224, seed: int = 1
) -> DriftingSeries:
    """Simulate a camera that looks at a drifting scene through a round field stop.

    A quarter of the pixels, different ones in every frame, is corrupted (0); the field stop stands
    still, bright and textured, while the scene moves by a random walk in fractions of a pixel; two
    frames are dark because the shutter stayed closed.

    Parameters
    ----------
    scene : 2-D image, larger than `size` by more than the drift
    """
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal([0.5, -0.35], [0.9, 0.9], (frame_count, 2)), axis=0)
    walk -= walk[0]
    spline = ndimage.spline_filter(scene.astype(np.float64), order=3)
    centre = (np.array(scene.shape) - size) / 2 - (walk.max(0) + walk.min(0)) / 2
    y, x = np.mgrid[:size, :size].astype(np.float64)
    half = size / 2
    inside = ((y - 0.52 * size) / (0.92 * half)) ** 2 + ((x - 0.49 * size) / (0.85 * half)) ** 2 < 1
    stop = 60 + 40 * ndimage.gaussian_filter(rng.normal(size=(size, size)), 2) / 0.14
    frames = np.empty((frame_count, size, size), np.uint16)
    dark = (frame_count // 3, 2 * frame_count // 3)
    for index, (down, right) in enumerate(walk):
        view = ndimage.map_coordinates(
            spline, [y + centre[0] + down, x + centre[1] + right], order=3, prefilter=False
        )
        image = np.where(inside, 0 if index in dark else view, stop)
        image += 30 + rng.normal(0, 6, view.shape)
        image[rng.random(view.shape) < 0.25] = 0
        frames[index] = np.clip(np.rint(10 * image), 0, 65535)
    shift = walk.copy()
    shift[list(dark)] = np.nan
    return DriftingSeries(frames, inside, shift, dark)


def make_corrupted_pair(
    scene: NDArray[Any], seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], Bools]:
    """Make the scene, the scene moved by (-22, 13) with a quarter of its pixels lost, and a mask.

    After the first case of scikit-image's gallery example on masked registration.
    """
    mask = np.random.default_rng(seed).random(scene.shape) > 0.25
    moved = ndimage.shift(scene, GALLERY_OFFSET)
    return scene, np.where(mask, moved, 0), mask


def make_windowed_pair(scene: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Bools, Bools]:
    """Make the scene and the scene moved by (-22, 13), each inside a different ellipse.

    Returns both images and both masks.

    After the second case of scikit-image's gallery example on masked registration.
    """
    first = _make_ellipse(scene.shape, (259, 248), (125, 100))
    second = _make_ellipse(scene.shape, (300, 200), (110, 180))
    moved = ndimage.shift(scene, GALLERY_OFFSET)
    return np.where(first, scene, 0), np.where(second, moved, 0), first, second


def _make_ellipse(
    shape: tuple[int, ...], centre: tuple[float, float], radius: tuple[float, float]
) -> Bools:
    """Make a mask of the inside of an ellipse; `centre` and `radius` in pixels per axis."""
    distance = sum(
        ((along - middle) / extent) ** 2
        for along, middle, extent in zip(np.indices(shape), centre, radius, strict=True)
    )
    return np.asarray(distance < 1)
