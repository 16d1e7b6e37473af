"""Check that a surface falls off from its peak in all directions, unlike that of a line or an edge.

Along a ridge noise alone decides which lag is highest, and so makes a summit with a curvature. The
test is the fall from lags near the peak to lags further out, along rays in all directions: along a
ridge it is no larger than noise makes it. The surface itself shows how large that is: around a true
peak opposite rays fall alike, so their difference is noise, whatever its colour, and what changed
between the two images.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from steadystack.peak.patch import Array, make_grid

# Distances (px) from the peak whose means are compared: near ones, beyond those at which noise may
# make a peak of its own, and far ones, within the patch; by number of searched axes.
NEAR = {2: (2.0, 3.0, 4.0), 3: (1.5, 2.5)}
FAR = {2: (6.0, 7.0, 8.0, 9.0), 3: (4.0, 4.75, 5.5)}
# Directions over half of a circle.
DIRECTIONS = 24
# The smallest fall along a ray from near to far is clear if it is this many times the difference of
# opposite rays (root mean square over the third of rays that fall least). That holds for 6 % of
# lines, edges and waves in noise, and nearly all blobs, textures and photographs.
LEAST_RATIO, FLATTEST = 4.0, 3
# Sharp details have fallen off before the near lags: for them the fall from the top counts. It is
# clear if it is this fraction of the height, this many deviations of white noise, and this many
# times the difference of opposite rays: true of none of 300 lines and edges, and of 94 % or more of
# stars and points.
TOP = (0.0, 1.0)
TOP_FRACTION, TOP_DEVIATIONS, TOP_RATIO = 0.05, 5.0, 1.5
# Smallest fall that is believed: anything less is rounding.
LEAST_FALL = 1e-5


def falls_off(patches: Array, points: Array, count: Array) -> NDArray[np.bool_]:
    """Whether surfaces (surfaces,) fall off in all directions; with one axis they always do.

    Parameters
    ----------
    patches : (surfaces, lags), in the order of `Grid`
    points : (surfaces, axes), the peaks, px from the centres of the patches
    count : (surfaces,), pixels that overlap
    """
    ndim = points.shape[-1]
    if ndim == 1:
        return np.ones(len(points), bool)
    directions, distances = make_directions(ndim), (*TOP, *NEAR[ndim], *FAR[ndim])
    along, back = (_sample(patches, points, sign * directions, distances) for sign in (1, -1))
    begin = len(TOP), len(TOP) + len(NEAR[ndim])
    far = [rays[..., begin[1] :].mean(axis=-1) for rays in (along, back)]
    tops, nears = (
        [rays[..., slice(*ends)].mean(axis=-1) for rays in (along, back)]
        for ends in ((0, begin[0]), begin)
    )
    top = along[:, 0, 0]
    least_from_top, ratio_from_top = _find_least_fall(tops, far)
    least, ratio = _find_least_fall(nears, far)
    missing = np.maximum(1 - top, 0)
    noise = np.sqrt(
        (2 * missing**2 + 4 * missing * np.maximum(least_from_top, 0)) / np.maximum(count, 1)
    )
    from_top = (
        (least_from_top > TOP_FRACTION * top)
        & (least_from_top > TOP_DEVIATIONS * noise)
        & (ratio_from_top > TOP_RATIO)
    )
    return np.asarray(from_top | ((ratio > LEAST_RATIO) & (least > LEAST_FALL)))


def _find_least_fall(near: list[Array], far: list[Array]) -> tuple[Array, Array]:
    """Find the smallest fall of all directions, absolute and relative to opposite rays' difference.

    `near` and `far` are the means of rays and of their opposites (surfaces, directions).
    """
    falls, others = (one - other for one, other in zip(near, far, strict=True))
    mean, half_difference = (falls + others) / 2, (falls - others) / 2
    flattest = np.argsort(mean, axis=-1)[:, : -(-mean.shape[-1] // FLATTEST)]
    unlike = np.sqrt((np.take_along_axis(half_difference, flattest, -1) ** 2).mean(axis=-1))
    least = mean.min(axis=-1)
    return least, least / np.maximum(unlike, np.finfo(float).tiny)


@lru_cache(maxsize=4)
def make_directions(ndim: int) -> Array:
    """Make unit vectors over half of all directions: (directions, axes)."""
    if ndim == 2:
        angle = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
    surface = [c for c in itertools.product((-2, -1, 0, 1, 2), repeat=3) if max(map(abs, c)) == 2]
    half = np.array([corner for corner in surface if corner > (0, 0, 0)], np.float64)
    return np.asarray(half / np.linalg.norm(half, axis=1, keepdims=True))


def _sample(
    patches: Array, points: Array, directions: Array, distances: tuple[float, ...]
) -> Array:
    """Sample patches along rays, by linear interpolation: (surfaces, directions, distances)."""
    grid = make_grid(points.shape[-1])
    rays = directions[:, None] * np.array(distances)[:, None]
    places = points[:, None, None] + (rays + grid.radius)
    places = np.clip(places, 0, grid.side - 1.001)
    lower = places.astype(np.intp)
    beyond = places - lower
    centred = np.fft.fftshift(patches.reshape(-1, *grid.shape), range(1, grid.ndim + 1)).ravel()
    steps = [grid.side**power for power in reversed(range(grid.ndim))]
    first = np.arange(len(patches))[:, None, None] * grid.size + lower @ np.array(steps)
    values = np.zeros(first.shape)
    for corner in itertools.product((0, 1), repeat=grid.ndim):
        weight = np.ones(first.shape)
        for axis, end in enumerate(corner):
            weight *= beyond[..., axis] if end else 1 - beyond[..., axis]
        weight *= centred[first + int(np.dot(corner, steps))]
        values += weight
    return values
