"""Fit a plane to the valid pixels around every pixel, weighted by a Gaussian, for the filters.

Where the valid pixels fill a box, such as a whole frame, the weights separate along the axes, and
away from its edges the plane's value is the local mean: the tilt is only computed along the edges.
Under other masks everything is computed at every pixel. Both ways agree but for rounding.

Sums run along the last axis, where pixels are contiguous in memory; for another axis the image is
transposed first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Slices, find_box, transpose_planes

# Below this sigma, pixels, boxes of odd width are too coarse to approximate a Gaussian.
SMALLEST_BOX_SIGMA = 4.0
# Radius at which a Gaussian is cut off, in units of its sigma.
GAUSSIAN_RADII = 4.0
# The covariance of places that a plane is fitted to is at least this fraction of sigma² along each
# axis, so that a few pixels in a line do not tilt the plane.
LEAST_SPREAD = 1e-6
# Surroundings are even if their centroid is at most this fraction of sigma from the pixel.
MOST_ONE_SIDED = 0.3
# For masks of up to this many pixels, the neighbourhoods are cached.
KEPT_PIXELS = 2**22


def fit_planes(values: NDArray[np.float64], valid: Bools, sigma: float) -> NDArray[np.float64]:
    """Fit local planes to values that are 0 where not valid, and evaluate them at every pixel.

    The planes are along the last two axes. `sigma` is in pixels; 0 where not valid.
    """
    box = _find_filled_box(valid)
    if box is None:
        return _fit_everywhere(values, valid, sigma)
    return _fit_in_box(values, box, sigma)


def find_even_surroundings(valid: Bools, sigma: float) -> Bools:
    """Find the pixels whose surroundings, of `sigma` px, reach about equally far in all directions.

    Near edges a filter differs from that elsewhere: a band there shows more of the scene.
    """
    box = _find_filled_box(valid)
    if box is None:
        centre = _find_neighbourhood(valid, sigma).centre
        off = np.sqrt(sum(along**2 for along in centre))
        return np.asarray(valid & (off < MOST_ONE_SIDED * sigma))
    sides = tuple((side.start, side.stop) for side in box)
    find = _keep_even_in_box if valid.size <= KEPT_PIXELS else _find_even_in_box
    return find(valid.shape, sides, sigma)


def _find_even_in_box(
    shape: tuple[int, ...], box: tuple[tuple[int, int], ...], sigma: float
) -> Bools:
    """The same in a box of valid pixels; the array is shared and must not be written to."""
    squares, inside = np.zeros(()), tuple(slice(*side) for side in box)
    for size, side in list(zip(shape, box, strict=True))[-2:]:
        along = _find_line(size, *side, sigma).centre[slice(*side)]
        squares = np.add.outer(squares, along**2)
    even = np.zeros(shape, bool)
    even[inside] = np.sqrt(squares) < MOST_ONE_SIDED * sigma
    even.setflags(write=False)
    return even


_keep_even_in_box = lru_cache(maxsize=4)(_find_even_in_box)


def compute_filter_radius(sigma: float) -> int:
    """Compute the radius of the filter, pixels: beyond it, no pixel counts."""
    if sigma < SMALLEST_BOX_SIGMA:
        return int(GAUSSIAN_RADII * sigma + 0.5)
    return 3 * (_choose_box_width(sigma) // 2)


def _find_filled_box(valid: Bools) -> Slices | None:
    """Find the box that the valid pixels fill; None: there are none, or they fill no box."""
    if valid.all() and valid.size:
        return tuple(slice(0, size) for size in valid.shape)
    if not valid.any():
        return None
    box = find_box(valid)
    return box if valid[box].all() else None


def _fit_everywhere(values: NDArray[np.float64], valid: Bools, sigma: float) -> NDArray[np.float64]:
    """Fit local planes under any mask.

    With the weighted mean m of the places around a pixel, relative to it, their covariance C, the
    weighted mean v of the values, and the covariance c of places and values, the plane is v - m
    C^-1 c.
    """
    around = _find_neighbourhood(valid, sigma)
    along = _sum_along(values, sigma)
    if values.ndim > 1:  # in which the other axis is the last
        along = transpose_planes(along)
    plane = _sum_turned(along, sigma)
    plane *= around.inverse_weight
    mean = plane.copy()
    for axis, places in enumerate(_list_places(valid.shape)):
        if axis == values.ndim - 1:
            moment = _sum_locally(values * places, sigma)
        else:  # places along other axes are constant along a line
            moment = _sum_turned(along * places.swapaxes(-1, -2), sigma)
        moment *= around.inverse_weight
        tilt = around.centre[axis] + places
        tilt *= mean
        np.subtract(moment, tilt, out=tilt)
        tilt *= around.pull[axis]
        plane -= tilt
    return plane


def _fit_in_box(values: NDArray[np.float64], box: Slices, sigma: float) -> NDArray[np.float64]:
    """Fit local planes where the valid pixels fill a box.

    There the covariance C is diagonal, so the tilts along the axes are independent; each is
    computed from means along the other axis.
    """
    lines = [
        _find_line(size, side.start, side.stop, sigma)
        for size, side in zip(values.shape, box, strict=True)
    ][-2:]
    across, line = lines[0], lines[-1]
    along = _sum_along(values, sigma)
    along *= line.inverse_weight
    untilted = [transpose_planes(along[..., rim.read, :]) for rim in across.rims if values.ndim > 1]
    for rim in line.rims:
        along[..., rim.inside] -= rim.find_tilt(values[..., rim.read], line, sigma)
    if values.ndim == 1:
        return along
    planes = _sum_along(transpose_planes(along), sigma)
    planes *= across.inverse_weight
    for rim, rows in zip(across.rims, untilted, strict=True):
        planes[..., rim.inside] -= rim.find_tilt(rows, across, sigma)
    return transpose_planes(planes)


@dataclass(frozen=True)
class _Rim:
    """The pixels of a line near one end (`inside`), and the pixels read for them (`read`)."""

    inside: slice
    read: slice

    def find_tilt(
        self, values: NDArray[np.float64], line: _Line, sigma: float
    ) -> NDArray[np.float64]:
        """Find what the tilt along the last axis subtracts from the mean, from the values read."""
        places = _list_places((len(line.centre),))[0]
        inner = slice(self.inside.start - self.read.start, self.inside.stop - self.read.start)
        weight = line.inverse_weight[self.inside]
        mean = _sum_along(values, sigma)[..., inner] * weight
        moment = _sum_along(values * places[self.read], sigma)[..., inner] * weight
        centre = line.centre[self.inside] + places[self.inside]
        return np.asarray(line.pull[self.inside] * (moment - centre * mean))


@dataclass(frozen=True, eq=False)
class _Line:
    """The `_Neighbourhood` of every pixel of a line, and the rims where it is uneven."""

    inverse_weight: NDArray[np.float64]
    centre: NDArray[np.float64]
    pull: NDArray[np.float64]
    rims: list[_Rim]


@lru_cache(maxsize=64)
def _find_line(size: int, start: int, stop: int, sigma: float) -> _Line:
    """Compute the neighbourhoods along a line that is valid from `start` to `stop`."""
    valid, reach = np.zeros(size, bool), compute_filter_radius(sigma)
    valid[start:stop] = True
    around = _Neighbourhood.make(valid, sigma)
    inside = [(start, start + reach), (stop - reach, stop)]
    if stop - start <= 4 * reach:
        inside = [(start, stop)]
    rims = [
        _Rim(slice(low, high), slice(max(low - reach, 0), min(high + reach, size)))
        for low, high in inside
    ]
    return _Line(around.inverse_weight, around.centre[0], around.pull[0], rims)


@dataclass(frozen=True, eq=False)
class _Neighbourhood:
    """Around every pixel: the inverse of the sum of weights, and m and C^-1 m by axis."""

    inverse_weight: NDArray[np.float64]
    centre: list[NDArray[np.float64]]
    pull: list[NDArray[np.float64]]

    @classmethod
    def make(cls, valid: Bools, sigma: float) -> _Neighbourhood:
        places, sum_moment = _list_places(valid.shape), _Moments(valid, sigma).sum
        weight = sum_moment()
        inverse = np.divide(1, weight, out=np.zeros_like(weight), where=valid & (weight > 1e-9))
        means = [sum_moment(axis) * inverse for axis in range(valid.ndim)]
        spread = np.zeros((valid.ndim, valid.ndim, *valid.shape))
        for a, b in combinations_with_replacement(range(valid.ndim), 2):
            product = sum_moment(a, b) * inverse
            spread[a, b] = spread[b, a] = product - means[a] * means[b]
        for axis in range(valid.ndim):
            spread[axis, axis] += LEAST_SPREAD * sigma**2
        centre = [mean - along for mean, along in zip(means, places, strict=True)]
        return cls(inverse, centre, _solve_each(spread, centre))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums around every pixel of the valid ones, weighted by their places along some axes.

    Places along axes other than the last are constant along a line.
    """

    valid: Bools
    sigma: float
    _lines: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def sum(self, *axes: int) -> NDArray[np.float64]:
        places, last = _list_places(self.valid.shape), self.valid.ndim - 1
        power = axes.count(last)
        if power not in self._lines:
            along = _sum_along(self.valid * places[last] ** power, self.sigma)
            self._lines[power] = transpose_planes(along) if last else along
        weighted = self._lines[power]
        for axis in axes:
            if axis != last:
                weighted = weighted * places[axis].swapaxes(-1, -2)
        return _sum_turned(weighted, self.sigma)


def _solve_each(
    matrices: NDArray[np.float64], vectors: list[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Solve symmetric systems (n, n, *pixels) of n equations at every pixel."""
    if len(vectors) == 2:  # much faster
        (first, mixed), (_, second) = matrices
        determinant = first * second - mixed * mixed
        one, other = vectors
        return [
            (second * one - mixed * other) / determinant,
            (first * other - mixed * one) / determinant,
        ]
    systems, right = np.moveaxis(matrices, (0, 1), (-2, -1)), np.stack(vectors, axis=-1)
    return list(np.moveaxis(np.linalg.solve(systems, right[..., None])[..., 0], -1, 0))


def _find_neighbourhood(valid: Bools, sigma: float) -> _Neighbourhood:
    if valid.size <= KEPT_PIXELS:
        return _keep_neighbourhood(valid.tobytes(), valid.shape, sigma)
    return _Neighbourhood.make(valid, sigma)


@lru_cache(maxsize=2)
def _keep_neighbourhood(mask: bytes, shape: tuple[int, ...], sigma: float) -> _Neighbourhood:
    """Make the neighbourhood of a mask, and keep it for other images under that mask."""
    return _Neighbourhood.make(np.frombuffer(mask, bool).reshape(shape), sigma)


def _list_places(shape: tuple[int, ...]) -> list[NDArray[Any]]:
    """Coordinates along each axis, px from the middle, shaped to broadcast."""
    return [
        (np.arange(size) - (size - 1) / 2).reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
        for axis, size in enumerate(shape)
    ]


def _sum_locally(array: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Sum around every pixel, weighted by a Gaussian, plane by plane; outside counts as 0."""
    return _sum_across(_sum_along(array, sigma), sigma)


def _sum_across(sums: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Sum along the last axis but one, if there is one."""
    return sums if sums.ndim == 1 else _sum_turned(transpose_planes(sums), sigma)


def _sum_turned(sums: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Sum along the original last axis but one, if any, which has been transposed to the end."""
    return sums.copy() if sums.ndim == 1 else transpose_planes(_sum_along(sums, sigma))


def _sum_along(array: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Sum along the last axis, weighted by a Gaussian; outside counts as 0."""
    if sigma < SMALLEST_BOX_SIGMA:
        return np.asarray(
            ndimage.gaussian_filter1d(array, sigma, mode="constant", truncate=GAUSSIAN_RADII)
        )
    width = _choose_box_width(sigma)
    sums: NDArray[np.float64] = ndimage.uniform_filter1d(array, width, mode="constant")
    for _ in range(2):
        ndimage.uniform_filter1d(sums, width, mode="constant", output=sums)
    return sums


def _choose_box_width(sigma: float) -> int:
    """Choose the odd width of three boxes that, one after another, approximate a Gaussian."""
    return 2 * round((math.sqrt(4 * sigma**2 + 1) - 1) / 2) + 1
