"""Measure how much of a series changes in ways that turn it into another scene.

Changes of brightness, contrast, focus, and a motion too small to be seen, follow from the mean
image. What they do not explain of a frame is noise, or another scene. White noise is independent
from pixel to pixel; noise of any colour is independent from frame to frame. A scene has detail, and
a scene that moves behind something looks similar in some frames, the same ones in all of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement, pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats, Slices

# Pixels next to invalid ones are not used; the others must be at least this share of the frame.
EDGE, LEAST_USED = 2, 0.15
# Neighbours are this many pixels apart: a codec makes the noise of adjacent pixels similar.
APART = 2
# Parts per axis; parts with fewer pixels than the second number are not used.
CUTS, FEWEST_PIXELS = 3, 100
# If the products of frames agree by less than this between two parts, they are noise. (Noise
# blurred by 3 px, half as strong as the scene: 0.014; scenes behind something: 0.025 to 0.4.)
FRAMES_ALIKE = 0.02


@dataclass(frozen=True)
class _Part:
    """The unexplained changes in a part of the frame, relative to the detail of its mean.

    `neighbours` are products of neighbours (frames,), `frames` of whole frames (frames, frames).
    """

    neighbours: NDArray[np.float64]
    frames: NDArray[np.float64]


def compare_changes(images: NDArray[np.floating], valid: Bools) -> float:
    """Compare the changes in images (frames, ...) of equal level with the detail of their mean.

    Both are measured by products of neighbours; changes are those that the mean does not explain.
    The ratio is the median over the parts of the frame and the frames, so that an object in some
    parts, or a bad frame, has no effect. 0 if there is too little to tell, or if it may be noise.
    `valid`, of a frame's shape, marks the pixels valid in all of them.
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
    """Evaluate a part of the frames (frames, ...); None if their mean has no detail there.

    `columns` are the images that explain them, once from the mean of every other frame and once
    from that of the rest. The first `levels` of them are brightness, the next is the mean.
    """
    left, means = np.empty((len(images), np.count_nonzero(used))), []
    for first, some in enumerate(columns):
        pixels = np.stack([column[used] for column in some], axis=1)
        means.append(take_away(pixels[:, levels], pixels[:, :levels]))
        others = slice(1 - first, None, 2)  # the two have no noise in common
        left[others] = take_away(images[others][:, used], pixels)
    energy, detail = float(means[0] @ means[1]), _multiply_neighbours(np.stack(means), used).mean()
    if energy <= 0 or detail <= 0:
        return None
    return _Part(_multiply_neighbours(left, used) / detail, left @ left.T / energy)


def _compare_frames(parts: list[_Part]) -> float:
    """How alike frames are in two parts, relative to detail; median over the pairs of parts.

    The frames are of one half, so the images that explain them do not contain their noise.
    """
    number = np.arange(len(parts[0].frames))
    pairs = (number[:, None] % 2 == number % 2) & (number[:, None] != number)
    alike = [float((a.frames * b.frames)[pairs].mean()) for a, b in combinations(parts, 2)]
    return float(np.sqrt(max(np.median(alike), 0.0)))


def leave_edges_out(valid: Bools) -> Bools:
    """The valid pixels inside the frame that have only valid pixels around them."""
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
    """Make images of constant, linear and quadratic brightness (1 + 2 axes)."""
    places = np.ix_(*(np.linspace(-1, 1, size) for size in shape))
    level = np.ones(shape)
    return [level, *(level * at for at in places), *(level * at**2 for at in places)]


def make_slopes(mean: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The mean image, its first, second and further derivatives: contrast, small motion, focus."""
    axes = [axis for axis, size in enumerate(mean.shape) if size > 2]
    slopes = {axis: np.gradient(mean, axis=axis) for axis in axes}
    pairs = combinations_with_replacement(axes, 2)
    bends = [np.gradient(slopes[one], axis=other) for one, other in pairs]
    return [mean, *slopes.values(), *bends, ndimage.laplace(ndimage.laplace(mean))]


def take_away(values: Floats, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The residual of values (..., pixels) after a least-squares fit of columns (pixels, n)."""
    basis = np.linalg.qr(columns)[0]
    left = values.astype(np.float64)
    return np.asarray(left - (left @ basis) @ basis.T)


def _multiply_neighbours(values: Floats, used: Bools) -> NDArray[np.float64]:
    """Mean products (n,) of neighbours among the used pixels of a box; smallest of the axes.

    The smallest, as some noise is correlated along rows or columns. `values` are those of the used
    pixels (n, pixels).
    """
    images, least = np.zeros((len(values), *used.shape)), np.full(len(values), np.inf)
    images[:, used] = values
    for first, second in list_neighbours(used.shape):
        both = max(int(np.count_nonzero(used[first] & used[second])), 1)
        products = images[:, *first] * images[:, *second]
        least = np.minimum(least, products.reshape(len(values), -1).sum(axis=1) / both)
    return least
