"""How much of a series changes, over most of the frame, beside what its shifts explain.

Where something that stands still outweighs the scene, shifts say that nothing moves, and pairs
without it may say nothing at all. But a scene that moves behind it changes most pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import choose_near, compare_changes, compare_pair, find_overlap
from steadystack.measure import Sample
from steadystack.pairs import spread_evenly
from steadystack.survey.slope_search import read_levelled

# Frames lie within so many pixels of one of them, most of them: what moves by less is explained.
REACH, LEAST_NEAR = 0.5, 0.75
# So many frames are looked at, at most, and no fewer.
MOST_FRAMES, FEWEST_FRAMES = 24, 6
# The middle one of parts is off by so much of the error of one; it counts less so many errors.
MEDIAN_ERROR, ERRORS = 1.253, 2.0


def measure_changes(sample: Sample, shifts: NDArray[np.float64]) -> float:
    """Measure how much of a sample changes beside what makes no other scene of it.

    Relative to the detail of the mean frame; 0 where there is too little to tell, or frames move.

    Parameters
    ----------
    shifts : (frames, axes) pixels, NaN where not known: such frames are not looked at
    """
    near, known = choose_near(shifts, REACH), np.isfinite(shifts).all(axis=1)
    if len(near) < LEAST_NEAR * known.sum():
        return 0.0
    read = read_levelled(sample, spread_evenly(near, MOST_FRAMES), filtered=False)
    if read is None or len(read[0]) < FEWEST_FRAMES:
        return 0.0
    return compare_changes(*read)


def measure_unexplained(
    sample: Sample, shifts: NDArray[np.float64], pairs: NDArray[np.int64]
) -> float:
    """Measure how much of frames is left where others, moved by their shifts, are taken away.

    Relative to their detail, in the middle one of the parts of the frame and of the pairs, less two
    errors: noise, an object in some parts, or a bad one of many frames, leave nothing. 0 if nothing
    is told.

    Parameters
    ----------
    shifts : (frames, axes) pixels, of the frames of the sample
    pairs : (pairs, 2) of them, by index
    """
    read = list(sample.images(np.ones(len(sample.frames), bool)))
    shares = []
    for reference, moving in pairs.tolist():
        apart = np.rint(shifts[moving] - shifts[reference]).astype(int)
        here, there = find_overlap(read[0][0].shape, apart)
        (image, valid), (other, other_valid) = read[reference], read[moving]
        used = valid[here] & other_valid[there]
        if used.any():
            first, second = (
                np.where(used, each - each[used].mean(), 0) for each in (other[there], image[here])
            )
            shares.append(compare_pair(first, second, used))
    told = np.array(shares).reshape(len(shares), -1, 2)
    known = np.isfinite(told[..., 0])
    told = told[known.any(axis=1)][:, known.any(axis=0)]
    if not told.size:
        return 0.0
    parts = np.nanmedian(told, axis=0)
    middle, error = np.median(parts, axis=0) * [1, MEDIAN_ERROR / len(parts) ** 0.5]
    return float(max(middle - ERRORS * error, 0.0))
