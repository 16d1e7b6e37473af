"""How much of a series changes beside what makes no other scene of it.

Brightness, contrast, focus and a motion too small to be seen follow from the mean image. What they
leave of a frame is noise, or it has detail. Noise of a pixel says nothing about its neighbour;
detail does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, Slices

# Pixels next to those that are not valid are not looked at; the others are this share of the frame
# at least.
EDGE, LEAST_USED = 2, 0.15
# Neighbours are so many pixels apart: a codec or an optical fibre makes noise alike in the next.
APART = 2
# Each axis is cut into so many parts; those with fewer pixels say nothing.
CUTS, FEWEST_PIXELS = 3, 100


def compare_changes(images: NDArray[np.floating], valid: Bools) -> float:
    """Compare what changes in images (frames, ...) of like level with the detail of their mean.

    Both are products of neighbours, of changes without what the mean explains. The ratio is that of
    the middle one of the parts of the frame, and of the frames: an object in some parts, or a bad
    frame, is no matter. 0 where there is too little to tell. `valid`, of a frame's shape, is what
    all of them show.
    """
    ones = np.ones([1 if size <= 2 * EDGE + 1 else 2 * EDGE + 1 for size in valid.shape], bool)
    used = np.asarray(ndimage.binary_erosion(valid, ones, border_value=0))
    if used.mean() < LEAST_USED:
        return 0.0
    halves = images[::2], images[1::2]
    columns, levels = list[list[NDArray[np.float64]]](), _make_levels(valid.shape)
    for half in halves:
        columns.append([*levels, *_make_derivatives(half.mean(axis=0, dtype=np.float64))])
    ratios = []
    for part in _cut(valid.shape):
        if np.count_nonzero(used[part]) < FEWEST_PIXELS:
            continue
        change, detail = list[float](), list[float]()
        for half, other in zip(halves, columns[::-1], strict=True):  # no noise is in both
            inside = used[part]
            values = np.stack([column[part][inside] for column in other], axis=1)
            of_mean = values[:, len(levels)]
            detail.append(
                _multiply_neighbours(_take_away(of_mean, values[:, : len(levels)]), inside)
            )
            change += [
                _multiply_neighbours(_take_away(image[part][inside], values), inside)
                for image in half
            ]
        if min(detail) > 0:
            ratios.append(float(np.median(change) / np.mean(detail)))
    return max(float(np.median(ratios)), 0.0) if ratios else 0.0


def _cut(shape: tuple[int, ...]) -> Iterator[Slices]:
    """Cut a frame into parts."""
    edges = [np.linspace(0, size, CUTS + 1).astype(int).tolist() for size in shape]
    yield from product(*([slice(*pair) for pair in pairwise(e)] for e in edges))


def _make_levels(shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Brightness that is even, slopes or bends (1 + 2 axes)."""
    places = np.ix_(*(np.linspace(-1, 1, size) for size in shape))
    level = np.ones(shape)
    return [level, *(level * at for at in places), *(level * at**2 for at in places)]


def _make_derivatives(mean: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The mean image, its slopes, bends and those of its bends: contrast, small motion, focus."""
    axes = [axis for axis, size in enumerate(mean.shape) if size > 2]
    slopes = {axis: np.gradient(mean, axis=axis) for axis in axes}
    pairs = combinations_with_replacement(axes, 2)
    bends = [np.gradient(slopes[one], axis=other) for one, other in pairs]
    return [mean, *slopes.values(), *bends, ndimage.laplace(ndimage.laplace(mean))]


def _take_away(values: Floats, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """What columns (pixels, n) leave of values (pixels,), by least squares."""
    basis = np.linalg.qr(columns)[0]
    left = values.astype(np.float64)
    return np.asarray(left - basis @ (basis.T @ left))


def _multiply_neighbours(values: Floats, used: Bools) -> float:
    """The mean product of neighbours among the used pixels of a box, along the axis of less.

    Some noise is of rows or columns.
    """
    image, least = np.zeros(used.shape), np.inf
    image[used] = values
    for axis, size in enumerate(used.shape):
        if size > APART:
            first, second = (
                tuple(side if each == axis else slice(None) for each in range(used.ndim))
                for side in (slice(APART, None), slice(None, -APART))
            )
            both = max(int(np.count_nonzero(used[first] & used[second])), 1)
            least = min(least, float((image[first] * image[second]).sum()) / both)
    return least
