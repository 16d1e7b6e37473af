"""How much of a series changes, over most of the frame, beside what its shifts explain.

Where something that stands still outweighs the scene, shifts say that nothing moves, and pairs
without it may say nothing at all. But a scene that moves behind it changes most pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import choose_near, compare_changes, compare_pair, find_overlap
from steadystack.measure import Sample
from steadystack.model import Bools, Floats, FrameSource, Slices
from steadystack.pairs import spread_evenly
from steadystack.survey.slope_search import read_levelled
from steadystack.survey.static_evidence import LITTLE

# Frames lie within so many pixels of one of them, most of them: what moves by less is explained.
REACH, LEAST_NEAR = 0.5, 0.75
# So many frames are looked at, at most, and no fewer.
MOST_FRAMES, FEWEST_FRAMES = 24, 6
# The middle one of parts is off by so much of the error of one; it counts less so many errors.
MEDIAN_ERROR, ERRORS = 1.253, 2.0
# Codecs and recorders skip blocks of this many px along an axis, or a multiple. Values repeat by
# being rounded, too, where they change by about one step: by more of them, rms, they do not.
BLOCK, STEPS = 8, 2.0


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


def measure_repeats(source: FrameSource, region: Slices, pairs: NDArray[np.int64]) -> float:
    """Measure how much of what shows shifts frames repeat bit by bit, block by block.

    Noise never repeats; a recording that skips blocks which hardly change does, and holds shifts
    back. Detail counts by the square of its slope. Blocks that repeat in all pairs stand still in
    the camera, and are left to what looks for that; frames that repeat as a whole are right. 0 if
    it is too little to be told, or values are so coarse that they repeat by being rounded.

    Parameters
    ----------
    region : the part of the frame that is looked at
    pairs : (pairs, 2) of frames
    """
    if not any(_repeat_blocks(source, region, *pair) for pair in pairs.tolist()):
        return 0.0
    told, least, squares, count = [], np.inf, 0.0, 0
    for reference, moving in pairs.tolist():
        detail, change = _compare_blocks(source, region, reference, moving)
        repeats = ~change.any(axis=(-3, -1))
        changed = np.moveaxis(change, -3, -2)[~repeats & (detail > 0)]
        changed = changed[changed > 0]
        if changed.size:  # it is not the same frame
            told.append((detail, repeats))
            least, count = min(least, float(changed.min())), count + changed.size
            squares += float((changed**2).sum())
    if not told or squares <= count * (STEPS * least) ** 2:
        return 0.0
    details, repeated = (np.array(each) for each in zip(*told, strict=True))
    details = details * (~repeated & (details > 0)).any(axis=0)
    share = float(details[repeated].sum() / details.sum())
    return share if share > LITTLE else 0.0


def _repeat_blocks(source: FrameSource, region: Slices, reference: int, moving: int) -> bool:
    """Whether a frame repeats a block of another bit by bit: it takes little to see."""
    before, after = source.read(reference, region), source.read(moving, region)
    return bool(_cut_into_blocks(before.image == after.image).all(axis=(-3, -1)).any())


def _compare_blocks(
    source: FrameSource, region: Slices, reference: int, moving: int
) -> tuple[Floats, Floats]:
    """The squares of slopes in blocks of a frame, and the changes of their pixels.

    As (..., rows, columns) of blocks, and (..., rows, y, columns, x) of pixels. Slopes are 0 where
    not all pixels are valid in both frames.
    """
    before, after = source.read(reference, region), source.read(moving, region)
    valid = _cut_into_blocks(before.valid & after.valid).all(axis=(-3, -1))
    first, image = (_cut_into_blocks(one.image.astype(np.float64)) for one in (before, after))
    detail = sum(np.square(np.diff(image, axis=k)).sum(axis=(-3, -1)) for k in (-3, -1))
    return np.where(valid, detail, 0), np.abs(image - first)


def _cut_into_blocks(image: Floats | Bools) -> NDArray[Any]:
    """The last two axes of an image as rows of blocks, y in one, columns of blocks, x in one."""
    *first, rows, columns = (*image.shape[:-2], *(size // BLOCK for size in image.shape[-2:]))
    whole = image[..., : rows * BLOCK, : columns * BLOCK]
    return whole.reshape(*first, rows, BLOCK, columns, BLOCK)
