"""Local maxima, the way to them, and quartiles of surfaces of many lags."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Floats

# With more values than the first number, quartiles are searched near those of a sample of
# SAMPLE_VALUES, within SAMPLE_ROOTS times the root of the sample's size: for independent values
# that fails once in 10 000.
MANY_VALUES, SAMPLE_VALUES, SAMPLE_ROOTS = 2**15, 2**13, 2


def dilate(values: NDArray[Any]) -> NDArray[Any]:
    """Replace each value by the highest among it and its neighbours, diagonal ones included."""
    highest = values
    for axis in range(values.ndim):
        before, after = ((*[slice(None)] * axis, cut) for cut in (slice(None, -1), slice(1, None)))
        neighbours = highest.copy()
        np.maximum(neighbours[after], highest[before], out=neighbours[after])
        np.maximum(neighbours[before], highest[after], out=neighbours[before])
        highest = neighbours
    return highest


def find_maxima(values: Floats) -> Floats:
    """Find the heights of the positive local maxima, the highest first."""
    top = values == dilate(values)
    top &= values > 0
    return np.asarray(np.sort(values[top])[::-1])


def find_quartiles(values: Floats) -> list[float]:
    """Find the quartiles of values (n,): the values of those ranks, without interpolation."""
    places = [values.size // 4, values.size // 2, 3 * values.size // 4]
    if values.size > MANY_VALUES:
        found = [_find_near_sampled(values, place) for place in places]
        known = [value for value in found if value is not None]
        if len(known) == len(found):
            return known
    return list(np.partition(values, places)[places].tolist())


def _find_near_sampled(values: Floats, place: int) -> float | None:
    """Find the value of a given rank among many, if it is near that of a sample of them."""
    step = values.size // SAMPLE_VALUES
    sample = np.sort(values[::step])
    at, room = place // step, int(SAMPLE_ROOTS * len(sample) ** 0.5)
    is_near = values >= sample[max(at - room, 0)]
    below = values.size - int(np.count_nonzero(is_near))
    is_near &= values <= sample[min(at + room, len(sample) - 1)]
    near = values[is_near]
    if not 0 <= place - below < len(near):
        return None
    near.partition(place - below)
    return float(near[place - below])


def find_heights(ncc: Floats, index: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Find the heights of maxima between lags, and how far they fall within one lag on average."""
    heights = ncc[tuple(index.T)].astype(np.float64)
    whole, falls = heights.copy(), np.zeros(len(index))
    for axis, size in enumerate(ncc.shape):
        inner = (index[:, axis] > 0) & (index[:, axis] < size - 1)
        sides = []
        for step in (-1, 1):
            place = index[inner].copy()
            place[:, axis] += step
            sides.append(ncc[tuple(place.T)])
        below, above = np.where(np.isfinite(sides), sides, whole[inner])
        bend = 2 * whole[inner] - below - above
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(bend > 0, (above - below) ** 2 / (8 * bend), 0)
        heights[inner] += gain
        falls[inner] += bend / 2
    return heights, falls


def climb(ncc: Floats, start: tuple[int, ...]) -> tuple[int, ...]:
    """Climb over whole lags, by steepest ascent, from `start` to a local maximum of the NCC."""
    index = start
    while True:
        region = tuple(slice(max(i - 1, 0), i + 2) for i in index)
        heights = np.fmax(ncc[region], -np.inf)  # do not climb through unknown lags
        step = np.unravel_index(int(np.argmax(heights)), heights.shape)
        higher = tuple(int(a.start + s) for a, s in zip(region, step, strict=True))
        if not ncc[higher] > ncc[index]:
            return index
        index = higher
