"""How much of a series changes beside what makes no other scene of it.

Brightness, contrast, focus and a motion too small to be seen follow from the mean image. What they
leave of a frame is noise, or another scene. A pixel of white noise says nothing about those near
it; noise of whatever colour is another one in every frame. A scene has detail, and one that moves
behind something shows much the same in some frames, which are the same ones in all parts of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, Slices

# Pixels next to those that are not valid are not looked at; the others are this share of the frame
# at least.
EDGE, LEAST_USED = 2, 0.15
# Neighbours are so many pixels apart: a codec makes noise alike in the next.
APART = 2
# Each axis is cut into so many parts; those with fewer pixels say nothing.
CUTS, FEWEST_PIXELS = 3, 100
# Products of frames that are less alike than this in two parts are noise. (Noise that is blurred by
# 3 px, of half the scene, 0.014; scenes behind something 0.025 to 0.4.)
FRAMES_ALIKE = 0.02


@dataclass(frozen=True)
class _Part:
    """What is left of a part of the frame, relative to the detail of its mean.

    `neighbours` are products of neighbours (frames,), `frames` of whole frames (frames, frames).
    """

    neighbours: NDArray[np.float64]
    frames: NDArray[np.float64]


def compare_changes(images: NDArray[np.floating], valid: Bools) -> float:
    """Compare what changes in images (frames, ...) of like level with the detail of their mean.

    Both are products of neighbours, of changes without what the mean explains. The ratio is that of
    the middle one of the parts of the frame, and of the frames: an object in some parts, or a bad
    frame, is no matter. 0 where there is too little to tell, or it may be noise. `valid`, of a
    frame's shape, is what all of them show.
    """
    used = leave_edges_out(valid)
    if used.mean() < LEAST_USED:
        return 0.0
    levels = make_levels(valid.shape)
    columns = [
        [*levels, *make_slopes(half.mean(axis=0, dtype=np.float64))]
        for half in (images[::2], images[1::2])
    ]
    parts = []
    for box in cut_frame(valid.shape):
        if np.count_nonzero(used[box]) >= FEWEST_PIXELS:
            inside = [[column[box] for column in some] for some in columns]
            found = _look_at(images[:, *box], inside, used[box], len(levels))
            if found is not None:
                parts.append(found)
    if len(parts) < 2 or _compare_frames(parts) < FRAMES_ALIKE:
        return 0.0
    return max(float(np.median([np.median(part.neighbours) for part in parts])), 0.0)


def _look_at(
    images: NDArray[np.floating], columns: list[list[NDArray[np.float64]]], used: Bools, levels: int
) -> _Part | None:
    """Look at a part of the frames (frames, ...); None if their mean has no detail there.

    `columns` are what explains them, from the mean of the first half of the frames, every other
    one, and from that of the others; so many of them are `levels`, and the next is the mean.
    """
    left, means = np.empty((len(images), np.count_nonzero(used))), []
    for first, some in enumerate(columns):
        pixels = np.stack([column[used] for column in some], axis=1)
        means.append(take_away(pixels[:, levels], pixels[:, :levels]))
        others = slice(1 - first, None, 2)  # no noise is in both
        left[others] = take_away(images[others][:, used], pixels)
    energy, detail = float(means[0] @ means[1]), _multiply_neighbours(np.stack(means), used).mean()
    if energy <= 0 or detail <= 0:
        return None
    return _Part(_multiply_neighbours(left, used) / detail, left @ left.T / energy)


def _compare_frames(parts: list[_Part]) -> float:
    """How much frames have in common in two parts, relative to detail, in the middle pair of parts.

    Frames of one half: their noise has no part in what explained them.
    """
    number = np.arange(len(parts[0].frames))
    pairs = (number[:, None] % 2 == number % 2) & (number[:, None] != number)
    alike = [float((a.frames * b.frames)[pairs].mean()) for a, b in combinations(parts, 2)]
    return float(np.sqrt(max(np.median(alike), 0.0)))


def leave_edges_out(valid: Bools) -> Bools:
    """The valid pixels that have only such around them, within the frame."""
    ones = np.ones([1 if size <= 2 * EDGE + 1 else 2 * EDGE + 1 for size in valid.shape], bool)
    return np.asarray(ndimage.binary_erosion(valid, ones, border_value=0))


def list_neighbours(shape: tuple[int, ...]) -> Iterator[tuple[Slices, Slices]]:
    """Slices of pixels and of their neighbours, along each axis that has both."""
    for axis, size in enumerate(shape):
        if size > APART:
            everything = [slice(None)] * len(shape)
            here, there = everything.copy(), everything.copy()
            here[axis], there[axis] = slice(APART, None), slice(None, -APART)
            yield tuple(here), tuple(there)


def cut_frame(shape: tuple[int, ...]) -> Iterator[Slices]:
    """Cut a frame into parts."""
    edges = [np.linspace(0, size, CUTS + 1).astype(int).tolist() for size in shape]
    yield from product(*([slice(*pair) for pair in pairwise(e)] for e in edges))


def make_levels(shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Brightness that is even, slopes or bends (1 + 2 axes)."""
    places = np.ix_(*(np.linspace(-1, 1, size) for size in shape))
    level = np.ones(shape)
    return [level, *(level * at for at in places), *(level * at**2 for at in places)]


def make_slopes(mean: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The mean image, its slopes, bends and those of its bends: contrast, small motion, focus."""
    axes = [axis for axis, size in enumerate(mean.shape) if size > 2]
    slopes = {axis: np.gradient(mean, axis=axis) for axis in axes}
    pairs = combinations_with_replacement(axes, 2)
    bends = [np.gradient(slopes[one], axis=other) for one, other in pairs]
    return [mean, *slopes.values(), *bends, ndimage.laplace(ndimage.laplace(mean))]


def take_away(values: Floats, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """What columns (pixels, n) leave of values (..., pixels), by least squares."""
    basis = np.linalg.qr(columns)[0]
    left = values.astype(np.float64)
    return np.asarray(left - (left @ basis) @ basis.T)


def _multiply_neighbours(values: Floats, used: Bools) -> NDArray[np.float64]:
    """The mean products (n,) of neighbours among the used pixels of a box, along the axis of less.

    Some noise is of rows or columns. `values` are those of the used pixels (n, pixels).
    """
    images, least = np.zeros((len(values), *used.shape)), np.full(len(values), np.inf)
    images[:, used] = values
    for first, second in list_neighbours(used.shape):
        both = max(int(np.count_nonzero(used[first] & used[second])), 1)
        products = images[:, *first] * images[:, *second]
        least = np.minimum(least, products.reshape(len(values), -1).sum(axis=1) / both)
    return least
