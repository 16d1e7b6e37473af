"""Defects of a camera, found in a series: pixels that stand out from those around them in the frame
whatever part of the scene lies there.

That can be told where the scene moves: its own details stand out at one pixel for a while only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import FEWEST_PLACES, Bools, Floats, Ints

# The neighbourhood that a pixel is compared with, its side in pixels; plane by plane.
SIDE = 5
# A defect stands out by so many deviations of all pixels, and of these by at least this much of the
# deviation of a frame: of Gaussian noise one pixel in 1e15 does.
STANDS_OUT, LEAST_DEVIATION = 8.0, 0.02
# In places this far apart, px, a scene has other details at a pixel; in that share of them a defect
# stands out by at least half of what it does in the median of all frames.
APART, AT_PLACES = 3.0, 0.7
# What a scene has at a pixel in so many frames is looked for elsewhere in the others: if it stands
# out there by this share of what the pixel does, it is of the scene.
FOLLOWED, MOVES_ALONG = 12, 0.2
# Pixels that are sorted at a time: those of all frames stay in the cache.
STRIP = 2**13


def find_outstanding(frames: NDArray[np.float32], valid: Bools) -> NDArray[np.intp]:
    """Find the pixels that stand out in the mean over time of frames of like mean and deviation.

    It is that of the middle half of the values of a pixel: a median of few photons has few values.

    Parameters
    ----------
    frames : (frames, *axes), as of `standardize`
    valid : bool array of the same shape

    Returns
    -------
    int array : their flat indices in a frame
    """
    known = np.ones(frames.shape[1:], bool)
    if not valid.all():
        often = valid.sum(axis=0) * 2 > len(valid)
        frames = np.where(valid, frames, np.nan)
        frames[:, ~often] = 0
        frames = np.where(np.isnan(frames), np.nanmedian(frames, axis=0), frames)
        known = ndimage.minimum_filter(often, size=_get_sizes(often.ndim))
    if not known.any():
        return np.empty(0, np.intp)
    typical = _average_middle(frames)
    apart = typical - _find_medians_around(typical)
    deviation = max(1.4826 * float(np.median(np.abs(apart[known]))), LEAST_DEVIATION)
    return np.flatnonzero(known & (np.abs(apart) > STANDS_OUT * deviation))


def _average_middle(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the middle half of the values of each pixel of frames (frames, *axes)."""
    quarter, flat = len(frames) // 4, frames.reshape(len(frames), -1)
    means = np.empty(flat.shape[1], frames.dtype)
    comparators = _list_comparators(len(frames))
    for first in range(0, len(means), STRIP):
        values = flat[:, first : first + STRIP].copy()
        _exchange(values, comparators)
        means[first : first + STRIP] = values[quarter : len(values) - quarter].mean(axis=0)
    return means.reshape(frames.shape[1:])


def _find_medians_around(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The medians of squares of `SIDE` pixels around each, as of `ndimage.median_filter`.

    Columns of a square are sorted once for all squares that they are in, then its rows: of what is
    sorted both ways, only what may be in the middle is left to look at.
    """
    half, height, width = SIDE // 2, *image.shape[-2:]
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(half, half)] * 2, mode="symmetric")
    places = list(product(range(SIDE), repeat=2))
    middle = [
        (row, column)
        for row, column in places
        if max((row + 1) * (column + 1), (SIDE - row) * (SIDE - column)) <= SIDE**2 // 2 + 1
    ]
    medians = np.empty_like(image)
    rows = max(STRIP // width, 1)
    for plane in np.ndindex(image.shape[:-2]):
        for first in range(0, height, rows):
            stop = min(first + rows, height)
            lines = [padded[plane][first + step : stop + step].copy() for step in range(SIDE)]
            _exchange(lines, _list_comparators(SIDE))
            square = [[line[:, at : at + width].copy() for at in range(SIDE)] for line in lines]
            for row in square:
                _exchange(row, _list_comparators(SIDE))
            left = [square[row][column] for row, column in middle]
            _exchange(left, _list_comparators(len(left), len(left) // 2))
            medians[plane][first:stop] = left[len(left) // 2]
    return medians


def _exchange(
    lines: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    comparators: Sequence[tuple[int, int]],
) -> None:
    """Exchange the values of two lines, in place, so that those of the first are not larger."""
    smaller = np.empty_like(lines[0])
    for one, other in comparators:
        np.minimum(lines[one], lines[other], out=smaller)
        np.maximum(lines[one], lines[other], out=lines[other])
        lines[one][...] = smaller


@lru_cache(maxsize=16)
def _list_comparators(count: int, wanted: int | None = None) -> tuple[tuple[int, int], ...]:
    """List the exchanges that sort so many lines, or those that one of them needs.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M).
    """
    found, half = list[tuple[int, int]](), 1
    while half < count:
        step = half
        while step:
            for one in range(step % half, count - step):
                is_first = (one - step % half) // step % 2 == 0
                if is_first and one // (2 * half) == (one + step) // (2 * half):
                    found.append((one, one + step))
            step //= 2
        half *= 2
    if wanted is None:
        return tuple(found)
    needed, left = {wanted}, list[tuple[int, int]]()
    for pair in reversed(found):
        if needed & set(pair):
            needed |= set(pair)
            left.append(pair)
    return tuple(reversed(left))


def standardize(image: Floats, valid: Bools) -> NDArray[np.float32]:
    """Give the valid pixels of a frame the mean 0 and the deviation 1; the others are 0."""
    with np.errstate(over="ignore"):  # of what is not valid
        values = np.asarray(image, np.float32)
    if not valid.any():
        return np.zeros(values.shape, np.float32)
    are_all = bool(valid.all())
    inside = (values.ravel() if are_all else values[valid]).astype(np.float64)
    mean, deviation = float(inside.mean()), float(inside.std()) or 1.0
    values = (values - mean) / deviation
    return values if are_all else np.where(valid, values, 0).astype(np.float32)


def count_places(positions: Floats) -> int:
    """Count the places, apart from each other, of a scene at positions (frames, axes), px."""
    return len(np.unique(_get_cells(positions), axis=0)) if len(positions) else 0


def select_staying(
    frames: NDArray[np.float32], valid: Bools, pixels: NDArray[np.intp], positions: Floats
) -> NDArray[np.intp]:
    """Select the pixels that stand out wherever the scene is.

    Parameters
    ----------
    frames, valid : (frames, *axes)
    pixels : flat indices in a frame
    positions : (frames, axes) px, of the scene in these frames

    Returns
    -------
    int array : those of `pixels` that are defects; none where the scene takes too few places
    """
    if count_places(positions) < FEWEST_PLACES or not pixels.size:
        return pixels[:0]
    cells, number = np.unique(_get_cells(positions), axis=0, return_inverse=True)
    at = np.stack(np.unravel_index(pixels, frames[0].shape))
    outstanding = np.stack([_stand_out(*one, at) for one in zip(frames, valid, strict=True)])
    means = np.stack([_mean(outstanding[number.ravel() == cell]) for cell in range(len(cells))])
    seen = np.isfinite(outstanding).any(axis=0)
    level = np.full(len(pixels), np.inf)  # of those that are never seen
    level[seen] = np.nanmedian(outstanding[:, seen], axis=0)
    stays = np.where(np.isfinite(means), means * np.sign(level) > np.abs(level) / 2, np.nan)
    moves = _follow(frames, valid, at, positions) * np.sign(level) > MOVES_ALONG * np.abs(level)
    return np.asarray(pixels[(_mean(stays) >= AT_PLACES) & ~moves])


def _follow(frames: NDArray[np.float32], valid: Bools, at: Ints, positions: Floats) -> Floats:
    """By how much that part of the scene stands out elsewhere which lies at pixels in some frames.

    `at` (axes, pixels) are indices in a frame. Returns the mean (pixels,); NaN: not known.
    """
    found = []
    for frame in np.unique(np.linspace(0, len(frames) - 1, FOLLOWED).round().astype(int)):
        for image, is_valid, way in zip(frames, valid, positions[frame] - positions, strict=True):
            if np.abs(way).max() >= APART:
                elsewhere = at + np.rint(way).astype(np.int64)[:, None]
                found.append(_stand_out(image, is_valid, elsewhere))
    return _mean(np.array(found).reshape(-1, at.shape[1]))


def _stand_out(frame: NDArray[np.float32], valid: Bools, at: Ints) -> Floats:
    """By how much pixels stand out of those around them; NaN where not valid, or outside.

    `at` (axes, pixels) are their indices in a frame.
    """
    last = np.array(frame.shape)[:, None] - 1
    inside = ((at >= 0) & (at <= last)).all(axis=0)
    reach, around = range(-(SIDE // 2), SIDE // 2 + 1), []
    for step in product(*[(0,)] * (frame.ndim - 2), reach, reach):
        if any(step):
            around.append(frame[tuple(np.clip(at + np.array(step)[:, None], 0, last))])
    own = tuple(np.clip(at, 0, last))
    apart = frame[own] - np.median(around, axis=0)
    return np.asarray(np.where(valid[own] & inside, apart, np.nan))


def _mean(values: Floats) -> Floats:
    """The mean along the first axis of what is finite; NaN where nothing is."""
    is_finite = np.isfinite(values)
    total = np.where(is_finite, values, 0).sum(axis=0)
    count = is_finite.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _get_cells(positions: Floats) -> Ints:
    return np.asarray(np.floor((positions - positions.min(axis=0)) / APART), np.int64)


def _get_sizes(ndim: int) -> tuple[int, ...]:
    return (1,) * (ndim - 2) + (SIDE, SIDE)
