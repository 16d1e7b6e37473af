"""Smooth frames for scores, from valid pixels only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from steadystack.model import Bools, Floats

# Images are smoothed by averaging neighbours this many times: a binomial filter with a standard
# deviation of 0.7 pixels.
MEANS = 2
# An invalid pixel is filled in if at least the first share of its weighted neighbourhood is valid,
# as around a dead pixel but not at the edge of a mask. The weight of a pixel is 0 up to the second
# share of valid or filled-in neighbours.
LEAST_VALID, LEAST_FILLED = 0.55, 0.9


@dataclass(frozen=True, eq=False)
class ScoreImage:
    """A frame, or a region of it, prepared for scores.

    Attributes
    ----------
    values : smoothed, of mean 0 and standard deviation 1, about; 0 where not valid
    weights : of each pixel, 0..1; None: all are 1
    begin : the position of the region's first pixel in the frame
    """

    values: Floats
    weights: Floats | None
    begin: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SmoothedMask:
    """How much around every pixel of a region is valid.

    Attributes
    ----------
    fraction : the smoothed mask: the share of a pixel's neighbourhood that is valid, 0..1
    filled : the pixels that have a value: valid ones, and those filled in from their neighbours
    filled_fraction : `filled`, smoothed likewise
    weights : of each pixel, 0..1; None: all are 1
    """

    fraction: Floats
    filled: Bools
    filled_fraction: Floats
    weights: Floats | None

    @classmethod
    def make(cls, mask: Bools) -> SmoothedMask:
        """Smooth a mask, True = valid."""
        if mask.all():  # only the edges differ from 1; products of these fractions are exact
            along = [smooth(np.ones(size, np.float32)) for size in mask.shape]
            fraction = np.asarray(reduce(np.multiply.outer, along))
            return cls(fraction, mask, fraction, None)
        fraction = smooth(mask.astype(np.float32))
        filled = mask | (fraction >= LEAST_VALID)
        filled_fraction = smooth(filled.astype(np.float32))
        weights = np.clip((filled_fraction - LEAST_FILLED) / (1 - LEAST_FILLED), 0, 1)
        weights *= _erode(filled)
        return cls(fraction, filled, filled_fraction, weights.astype(np.float32))


def make_score_image(values: Floats, mask: SmoothedMask, begin: Sequence[int]) -> ScoreImage:
    """Prepare a region of a frame for scores.

    Parameters
    ----------
    values : of mean 0 and standard deviation 1, about; 0 where not valid
    mask : of the region, smoothed
    begin : the position of the region's first pixel in the frame
    """
    smoothed = smooth(np.asarray(values, np.float32))
    if mask.weights is None:
        smoothed /= mask.fraction
    else:
        np.divide(smoothed, mask.fraction, out=smoothed, where=mask.fraction > 0)
        smoothed = np.where(mask.filled, np.where(values != 0, values, smoothed), np.float32(0))
        smoothed = smooth(smoothed)
        np.divide(smoothed, mask.filled_fraction, out=smoothed, where=mask.filled_fraction > 0)
    return ScoreImage(smoothed, mask.weights, tuple(begin))


def _erode(mask: Bools) -> Bools:
    """Remove pixels with a neighbour, along any axis, outside the mask; the frame's edges stay."""
    eroded = mask.copy()
    for axis in range(mask.ndim):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(eroded, axis, 0)
        target[1:] &= source[:-1]
        target[:-1] &= source[1:]
    return eroded


def smooth(values: Floats) -> Floats:
    """Smooth along every axis with a binomial of deviation 0.7 pixels; outside counts as 0."""
    half = MEANS // 2
    inside = tuple(slice(half, half + size) for size in values.shape)
    padded = np.zeros([size + 2 * half for size in values.shape], values.dtype)
    padded[inside] = values
    values = padded
    for axis in range(values.ndim):
        for _ in range(MEANS):
            low, high = ([slice(None)] * values.ndim for _ in range(2))
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            values = values[tuple(low)] + values[tuple(high)]
    values *= values.dtype.type(0.5 ** (MEANS * values.ndim))
    return values
