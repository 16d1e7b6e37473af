"""Measure how much of a series changes, over most of the frame, that its shifts do not explain.

Where a fixed pattern outweighs the scene, shifts indicate that nothing moves, and pairs without the
pattern may give no shift. But a scene that moves behind it changes most pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import choose_near, compare_changes, compare_pair, find_overlap
from steadystack.measure import Sample
from steadystack.model import Bools, Floats, FrameSource, Slices
from steadystack.pairs import spread_evenly
from steadystack.survey.slope_search import read_levelled
from steadystack.survey.static_evidence import LITTLE

# Most frames (this share) lie within this many pixels of one of them: a smaller motion is
# explained.
REACH, LEAST_NEAR = 0.5, 0.75
# Most frames, and fewest frames, that are used.
MOST_FRAMES, FEWEST_FRAMES = 24, 6
# Error of the median of parts, times the root of their number, relative to one part's error; and
# how many errors are subtracted from it.
MEDIAN_ERROR, ERRORS = 1.253, 2.0
# Codecs and recorders skip blocks of this many px along an axis, or a multiple. Where at most this
# share of the other pixels stays the same (by rounding, say), chance makes no such block.
BLOCK, MOST_UNCHANGED = 8, 0.5
DOUBLINGS = 1, 2, 4  # steps in which a pixel grows to a block
# With fewer pairs, what stands still cannot be told.
FEWEST_PAIRS = 4


def measure_changes(sample: Sample, shifts: NDArray[np.float64]) -> float:
    """Measure how much of a sample changes in a way that makes it another scene.

    Relative to the detail of the mean frame; 0 if there is too little to tell, or if frames move.

    Parameters
    ----------
    shifts : (frames, axes) pixels, NaN where not known: such frames are not used
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
    """Measure how much is left of frames after subtracting others, moved by their shifts.

    Relative to their detail; the median over the parts of the frame and the pairs, less two errors,
    so that noise, an object in some parts, or a bad frame among many, leave nothing. 0 if unknown.

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
    """Measure how much of frames' detail is repeated exactly, in squares of 8 px or more.

    Noise never repeats; but a recording that skips blocks with little change repeats them, which
    pulls shifts towards 0. Detail counts by the square of its slope, as that is what shows shifts.
    What repeats in all of several pairs is fixed pattern, which other checks find; frames that
    repeat as a whole are right. 0 if too little repeats, or if values are so coarse that most stay
    the same.

    Parameters
    ----------
    region : the part of the frame that is used
    pairs : (pairs, 2) of frames
    """
    told = [_compare_pixels(source, region, *pair) for pair in pairs.tolist()]
    told = [one for one in told if not one.is_whole]
    if not any(one.repeats.any() for one in told):
        return 0.0
    repeats = np.array([one.repeats for one in told])
    still = repeats.all(axis=0) if len(told) >= FEWEST_PAIRS else np.zeros_like(repeats[0])
    squares, skipped, unchanged, count = 0.0, 0.0, 0, 0
    for one in told:
        detail = np.where(still, 0, _measure_detail(source, region, one))
        squares += float(detail.sum())
        skipped += float(detail.sum(where=one.repeats))
        rest = (detail > 0) & ~one.repeats
        unchanged += int(np.count_nonzero(one.same & rest))
        count += int(np.count_nonzero(rest))
    if not squares or unchanged > MOST_UNCHANGED * count:
        return 0.0
    share = skipped / squares
    return share if share > LITTLE else 0.0


@dataclass(frozen=True, eq=False)
class _Compared:
    """The pixels of a frame compared with those of another one.

    Attributes
    ----------
    frame : its number
    same, valid : which pixels are the same, and which are valid in both
    repeats : which pixels lie in a square of valid pixels that are all the same
    """

    frame: int
    same: Bools
    valid: Bools
    repeats: Bools

    @property
    def is_whole(self) -> bool:
        """Whether all of them are the same."""
        return bool(self.same[self.valid].all())


def _compare_pixels(source: FrameSource, region: Slices, reference: int, moving: int) -> _Compared:
    before, after = source.read(reference, region), source.read(moving, region)
    same, valid = before.image == after.image, before.valid & after.valid
    return _Compared(moving, same, valid, _find_in_squares(same & valid))


def _measure_detail(source: FrameSource, region: Slices, compared: _Compared) -> Floats:
    """The squares of the slopes at each pixel, along the last two axes, between valid ones."""
    image, valid = source.read(compared.frame, region).image.astype(np.float32), compared.valid
    detail = np.zeros_like(image)
    for axis in (-2, -1):
        lines, known = np.moveaxis(image, axis, 0), np.moveaxis(valid, axis, 0)
        slopes = np.where(known[1:] & known[:-1], lines[1:] - lines[:-1], 0)
        np.moveaxis(detail, axis, 0)[1:] += slopes**2
    return detail


def _find_in_squares(chosen: Bools) -> Bools:
    """Find the pixels that lie in any square of `BLOCK` pixels, all of them chosen, in a plane."""
    found = chosen
    if min(chosen.shape[-2:]) < BLOCK:
        return np.zeros_like(chosen)
    for axis in (-2, -1):
        for step in DOUBLINGS:  # twice as many in a row each time
            lines = np.moveaxis(found, axis, 0)
            found = np.moveaxis(lines[:-step] & lines[step:], 0, axis)
    if not found.any():
        return np.zeros_like(chosen)
    for axis in (-2, -1):
        for step in DOUBLINGS:
            lines = np.moveaxis(found, axis, 0)
            wider = np.zeros((len(lines) + step, *lines.shape[1:]), bool)
            wider[:-step] |= lines
            wider[step:] |= lines
            found = np.moveaxis(wider, 0, axis)
    return found
