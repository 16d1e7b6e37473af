"""Frames, smoothed for scores: with masks, without what is not valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from steadystack.model import Bools, Floats

# The images are smoothed by this many means of neighbours, a binomial of deviation 0.7 pixels.
MEANS = 2
# A pixel that is not valid is filled in where at least so many around it are, as around a dead one,
# but not at the edge of a mask; where fewer of the smoothed ones are, a place has no weight.
LEAST_VALID, LEAST_FILLED = 0.55, 0.9


@dataclass(frozen=True, eq=False)
class ScoreImage:
    """A frame, or a region of it, made ready for scores.

    Attributes
    ----------
    values : smoothed, near mean 0 and deviation 1; 0 where not valid
    weights : of each place, 0..1; None: they are all 1
    begin : the first pixel of the region in the frame
    """

    values: Floats
    weights: Floats | None
    begin: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SmoothedMask:
    """What is valid around every place of a region.

    Attributes
    ----------
    fraction : of the pixels that a place is smoothed over, how many are valid, 0..1
    filled : which places have a value, pixels that are not valid from their neighbours
    filled_fraction : of those, smoothed
    weights : of each place, 0..1; None: they are all 1
    """

    fraction: Floats
    filled: Bools
    filled_fraction: Floats
    weights: Floats | None

    @classmethod
    def make(cls, mask: Bools) -> SmoothedMask:
        """Smooth a mask, True = valid."""
        if mask.all():  # weights differ from 1 at the edges only; products of halves are exact
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
    """Make a region of a frame ready for scores.

    Parameters
    ----------
    values : near mean 0 and deviation 1, 0 where not valid
    mask : of its valid pixels
    begin : the first pixel of the region in the frame
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
    """Take away what has a neighbour along an axis that is not in the mask; edges stay."""
    eroded = mask.copy()
    for axis in range(mask.ndim):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(eroded, axis, 0)
        target[1:] &= source[:-1]
        target[:-1] &= source[1:]
    return eroded


def smooth(values: Floats) -> Floats:
    """Smooth along every axis by a binomial of deviation 0.7 pixels; outside there are zeros."""
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
