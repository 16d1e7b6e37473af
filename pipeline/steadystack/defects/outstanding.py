"""Find camera defects in a series: pixels that stand out wherever the scene is.

They can be found where the scene moves: its own details stand out at one pixel for a while only.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.defects.pixel_order import average_middle, find_medians
from steadystack.model import FEWEST_PLACES, MEDIAN_DEVIATION, Bools, Floats, Ints

# Side, px, of the neighbourhood that a pixel is compared with; plane by plane.
SIDE = 5
# A defect stands out by this many deviations of all pixels, and by at least this share of a frame's
# deviation: in Gaussian noise one pixel in 1e15 does.
STANDS_OUT, LEAST_DEVIATION = 8.0, 0.02
# At positions this far apart, px, a scene has different details at a pixel; in this share of them a
# defect stands out by at least half of its median over all frames.
APART, AT_PLACES = 3.0, 0.7
# The scene detail at a pixel in up to this many frames is followed in other frames: if it stands
# out there by this share of what the pixel does, it belongs to the scene.
FOLLOWED, MOVES_ALONG = 12, 0.2


def find_outstanding(frames: NDArray[np.float32], valid: Bools) -> NDArray[np.intp]:
    """Find the pixels that stand out in the mean of frames with equal mean and deviation.

    The mean is over the middle half of a pixel's values: a median of a few photons is too coarse.

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
        counts = valid.sum(axis=0)
        often = counts * 2 > len(valid)
        frames = np.where(valid & often, frames, 0)
        partly = often & (counts < len(valid))
        if partly.any():  # a mask of all frames leaves none
            values = np.where(valid[:, partly], frames[:, partly], np.nan)
            frames[:, partly] = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
        known = ndimage.minimum_filter(often, size=_get_sizes(often.ndim))
    if not known.any():
        return np.empty(0, np.intp)
    typical = average_middle(frames)
    apart = typical - find_medians(typical, _get_sizes(typical.ndim))
    deviation = max(MEDIAN_DEVIATION * float(np.median(np.abs(apart[known]))), LEAST_DEVIATION)
    return np.flatnonzero(known & (np.abs(apart) > STANDS_OUT * deviation))


def standardize(image: Floats, valid: Bools) -> NDArray[np.float32]:
    """Give the valid pixels of a frame the mean 0 and the deviation 1; the others are 0."""
    with np.errstate(over="ignore"):  # of invalid pixels
        values = np.asarray(image, np.float32)
    if not valid.any():
        return np.zeros(values.shape, np.float32)
    are_all = bool(valid.all())
    inside = (values.ravel() if are_all else values[valid]).astype(np.float64)
    mean, deviation = float(inside.mean()), float(inside.std()) or 1.0
    values = (values - mean) / deviation
    return values if are_all else np.where(valid, values, 0).astype(np.float32)


def count_places(positions: Floats) -> int:
    """Count the distinct places of a scene with positions (frames, axes), px."""
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
    level = np.full(len(pixels), np.inf)  # for pixels never seen
    level[seen] = np.nanmedian(outstanding[:, seen], axis=0)
    stays = np.where(np.isfinite(means), means * np.sign(level) > np.abs(level) / 2, np.nan)
    moves = _follow(frames, valid, at, positions) * np.sign(level) > MOVES_ALONG * np.abs(level)
    return np.asarray(pixels[(_mean(stays) >= AT_PLACES) & ~moves])


def _follow(frames: NDArray[np.float32], valid: Bools, at: Ints, positions: Floats) -> Floats:
    """How much the part of the scene that lies at pixels in some frames stands out elsewhere.

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
    """How much pixels stand out from their neighbours; NaN where not valid, or outside.

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
    """The mean of finite values along the first axis; NaN where there are none."""
    is_finite = np.isfinite(values)
    total = np.where(is_finite, values, 0).sum(axis=0)
    count = is_finite.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _get_cells(positions: Floats) -> Ints:
    return np.asarray(np.floor((positions - positions.min(axis=0)) / APART), np.int64)


def _get_sizes(ndim: int) -> tuple[int, ...]:
    return (1,) * (ndim - 2) + (SIDE, SIDE)
