"""The embedded example: a known scene as a drifting time-lapse, and as the two classic pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools

GALLERY_OFFSET = (
    -22,
    13,
)  # how far the scene of the moving image is moved: the shift is its negative


@dataclass(frozen=True, eq=False)
class DriftingSeries:
    """A made-up time-lapse; `shift` (frames, 2) lays a frame on frame 0, NaN for dark ones."""

    frames: NDArray[np.uint16]
    mask: Bools
    shift: NDArray[np.float64]
    dark: tuple[int, ...]


def make_drifting_series(
    scene: NDArray[Any], *, frame_count: int = 40, size: int = 224, seed: int = 1
) -> DriftingSeries:
    """A camera looks at a drifting scene through a round field stop.

    A quarter of all pixels of every frame is corrupted (0), others in each; the field stop stands
    still, bright and textured, while the scene moves by a random walk between the pixels; two
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
    """The scene, the scene moved by (-22, 13) with a quarter of its pixels lost, and the mask.

    After the first case of scikit-image's gallery example on masked registration.
    """
    mask = np.random.default_rng(seed).random(scene.shape) > 0.25
    moved = ndimage.shift(scene, GALLERY_OFFSET)
    return scene, np.where(mask, moved, 0), mask


def make_windowed_pair(scene: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Bools, Bools]:
    """The scene and the scene moved by (-22, 13), each seen through an ellipse of its own.

    After the second case of scikit-image's gallery example on masked registration.
    """
    first = _make_ellipse(scene.shape, (259, 248), (125, 100))
    second = _make_ellipse(scene.shape, (300, 200), (110, 180))
    moved = ndimage.shift(scene, GALLERY_OFFSET)
    return np.where(first, scene, 0), np.where(second, moved, 0), first, second


def _make_ellipse(
    shape: tuple[int, ...], centre: tuple[float, float], radius: tuple[float, float]
) -> Bools:
    distance = sum(
        ((along - middle) / extent) ** 2
        for along, middle, extent in zip(np.indices(shape), centre, radius, strict=True)
    )
    return np.asarray(distance < 1)
