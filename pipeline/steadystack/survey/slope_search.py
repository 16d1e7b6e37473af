"""Measure how far a fixed pattern pulls shifts that are small compared with the scene's details."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.defects import choose_near, measure_moving_slopes
from steadystack.measure import Sample
from steadystack.model import Bools, FixedPatternEffect, Ints
from steadystack.pairs import spread_evenly

# Frames used lie within this many pixels of one of them along each axis; at most this many.
REACH, MOST_FRAMES = 1.0, 32
# They must be at least this share of all: if a series moves by more, pairs show it better.
LEAST_NEAR = 0.5
# In a scene that turns into another, the unexplained variance is at least this many times the
# change from frame to frame. (Of 60 random series with faults, those that did had 1.4 to 1.6; slow
# ones with a fixed pattern 1.0 to 1.2.)
MOST_LEFT = 1.3


def read_levelled(
    sample: Sample, frames: Ints, *, filtered: bool
) -> tuple[NDArray[np.float32], Bools] | None:
    """Read some frames of a sample, by index, with mean 0 where all are valid, and 0 elsewhere.

    Returns them (frames, ...), in order, and the pixels valid in all of them; None: there are none.
    """
    chosen = np.zeros(len(sample.frames), bool)
    chosen[frames] = True
    read, masks = list[NDArray[np.float32]](), list[Bools]()
    for image, is_valid in sample.images(chosen, filtered=filtered):
        level = image[is_valid].mean() if is_valid.any() else 0.0
        read.append((image - level).astype(np.float32))
        masks.append(is_valid)
    if not read:
        return None
    images, valid = np.stack(read), np.logical_and.reduce(masks)
    if not valid.any():
        return None
    for image in images:
        image -= image[valid].mean()
        image[~valid] = 0
    return images, valid


def measure_slopes(
    sample: Sample, shifts: NDArray[np.float64], std: NDArray[np.float64]
) -> FixedPatternEffect | None:
    """Measure how far a fixed pattern pulls the shifts of a sample's frames towards zero.

    It follows from the share of the slopes that moves; if a fixed pattern is subtracted already,
    from the factor by which the slopes of the remaining frames are too large for the shifts. No
    pairs are measured: those counted join the first half of the frames with the second. None if too
    little moves or is valid.

    Parameters
    ----------
    shifts, std : (frames, axes) pixels, as they were measured; NaN where not known
    """
    near = choose_near(shifts, REACH)
    if len(near) < LEAST_NEAR * len(shifts):
        return None
    near = spread_evenly(near, MOST_FRAMES)
    read = read_levelled(sample, near, filtered=True)
    if read is None:
        return None
    moves = shifts[near]
    found = measure_moving_slopes(*read, moves, std[near])
    if found is None:
        return None
    share, error = found.share, found.error
    if sample.method.fixed_pattern is not None:  # it may contain some of the scene
        share, error = found.scale, found.scale_error
    half = (len(moves) + 1) // 2
    length = float(np.linalg.norm(moves[half:] - moves[: len(moves) - half], axis=1).mean())
    if share <= 0:
        return None
    share = min(share, 1.0)
    return FixedPatternEffect(
        pairs=len(moves) - half,
        with_it=length,
        without_it=length / share,
        error=length * error / share**2,
        certain=found.left < MOST_LEFT,
        moving_share=found.moving,
    )
