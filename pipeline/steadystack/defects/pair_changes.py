"""Measure how much of a frame another frame does not explain, from these two alone.

Noise does not contribute to products of pixels a few pixels apart, within one frame or between two.
They show how much detail frames have, how much of it they share, and so what is left of one after
subtracting the other: nothing, if both show the same scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steadystack.defects.changes import (
    FEWEST_PIXELS,
    cut_frame,
    leave_edges_out,
    list_neighbours,
    make_levels,
    make_slopes,
    take_away,
)
from steadystack.model import Bools, Floats, Slices

# Smallest detail of a usable part, as a share of the largest; and fewest usable parts.
LEAST_DETAIL, FEWEST_PARTS = 0.1, 4
# Columns that differ by less than this share are redundant.
SMALLEST = 1e-3


def find_overlap(shape: Sequence[int], shift: NDArray[np.int64]) -> tuple[Slices, Slices]:
    """Where two frames overlap, as slices of each, if the second is shifted (axes,)."""
    here, there = [], []
    for size, by in zip(shape, shift.tolist(), strict=True):
        last = max(size + min(by, 0), 0)
        first = min(max(by, 0), last)
        here.append(slice(first, last))
        there.append(slice(first - by, last - by))
    return tuple(here), tuple(there)


def compare_pair(first: Floats, second: Floats, used: Bools) -> NDArray[np.float64]:
    """Compare two aligned frames part by part: what is left of the second.

    That excludes changes of contrast, brightness and focus, shifts of less than a pixel, and noise,
    also that of rows or columns. Returns shares of the detail of the second, around 0 if only noise
    is left, and their standard errors in that case (parts, 2); NaN if there is too little to tell.
    """
    inner = leave_edges_out(used)
    one, other = (each[inner].astype(np.float64) for each in (first, second))
    power = float(other @ other)
    gain = float(np.sign(one @ other) * np.sqrt(one @ one / power)) if power else 0.0
    # half-way between both, where slopes show a shift best
    levels, (mean, *slopes) = make_levels(used.shape), make_slopes((first + gain * second) / 2)
    found = []
    for box in cut_frame(used.shape):
        inside = inner[box]
        if np.count_nonzero(inside) < FEWEST_PIXELS:
            found.append((np.nan, np.nan, np.nan))
            continue
        level = np.stack([each[box][inside] for each in levels], axis=1)
        columns = [first, second, *slopes, *(mean * at for at in levels[1 : 1 + used.ndim])]
        pixels = take_away(np.stack([each[box][inside] for each in columns]), level)
        found.append(_compare_part(pixels, inside))
    parts = np.array(found)
    known = parts[:, 2] > LEAST_DETAIL * np.nanmax(parts[:, 2], initial=0)
    known &= np.count_nonzero(known) >= FEWEST_PARTS
    return np.where(known[:, None], parts[:, :2], np.nan)


def _compare_part(pixels: NDArray[np.float64], inside: Bools) -> tuple[float, float, float]:
    """The rest of the second of columns (n, pixels), its error if it is noise, and the detail.

    Of the axis with less.
    """
    images = np.zeros((len(pixels), *inside.shape))
    images[:, inside] = pixels
    told = []
    for here, there in list_neighbours(inside.shape):
        one, other = (images[:, *side].reshape(len(images), -1) for side in (here, there))
        products = (one @ other.T + other @ one.T) / 2
        detail = float(products[1, 1])
        if detail <= 0:
            return np.nan, np.nan, 0.0
        rest = np.array([0, *range(2, len(images))])
        scale = np.sqrt(np.maximum(np.abs(np.diagonal(products)[rest]), 1e-300))
        system = products[np.ix_(rest, rest)] / np.outer(scale, scale)
        aim = products[rest, 1] / scale
        weights = np.linalg.lstsq(system, aim, rcond=SMALLEST)[0]
        left = detail - 2 * weights @ aim + weights @ system @ weights
        image = pixels[1] - (weights / scale) @ pixels[rest]
        noise = max(float(image @ image) - left, 0.0) / np.sqrt(one.shape[1])
        told.append((left / detail, noise / detail, detail))
    return min(told) if told else (np.nan, np.nan, 0.0)
