"""Find the summit of a surface to a fraction of a pixel, and how precisely it is known.

The surface of two noisy images of one scene is the scene's autocorrelation, moved by their shift,
plus noise. The summit is the maximum of the surface after the filter that `surroundings` derives
from it. As filter and summit depend on each other, they are found in turns.

Many surfaces are fitted together, along the leading axis of all arrays; NaN stands for a maximum or
a covariance that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Surface
from steadystack.peak.cutting import FEWEST_LAGS, Index, SurfaceAtLag
from steadystack.peak.patch import Array
from steadystack.peak.ridges import falls_off
from steadystack.peak.surroundings import PeakSurroundings

# Variance, px², where the summit is a whole lag without a maximum: up to a pixel to either side.
NO_MAXIMUM = 1 / 3
# Variance, px², along an axis of fewer than `FEWEST_LAGS` lags: images of 2 or 3 pixels.
FEW_LAGS = 1.0
# Most rounds of moving the patch to the filtered peak, and of measuring signal and noise.
MOVES, ROUNDS = 3, 3
SETTLED = 0.05  # px: if the summit moves less, measuring around it again changes nothing


@dataclass(frozen=True)
class Summit:
    """The maximum of a surface: index of the nearest lag, offset from it (px), covariance (px²).

    Along axes that were not searched, offset and covariance are 0. Without a maximum between the
    lags the summit is a whole lag, good to a pixel. `located` tells whether the surface falls off
    in all directions: that of a line or an edge does not.
    """

    index: Index
    offset: Array
    covariance: Array
    located: bool = True


def find_summits(requests: Sequence[SurfaceAtLag]) -> list[Summit]:
    """Find the maximum of every filtered surface near the lag at the index of its request.

    No summit depends on the other requests; a joint call is faster.
    """
    summits: list[Summit | None] = [None] * len(requests)
    rows_by_axes: dict[tuple[int, ...], list[int]] = {}
    for row, (surface, _) in enumerate(requests):
        free = tuple(axis for axis, size in enumerate(surface.ncc.shape) if size > 1)
        rows_by_axes.setdefault(free, []).append(row)
    for free, rows in rows_by_axes.items():
        for row, summit in zip(
            rows, _find_summits_along([requests[row] for row in rows], free), strict=True
        ):
            summits[row] = summit
    return [summit for summit in summits if summit is not None]


def find_local_summit(surface: Surface, index: Index) -> Summit:
    """Find the maximum next to a lag by the most local filter, ignoring what lies further away.

    Without one within a lag along every axis the summit is the lag itself, good to a pixel, and not
    located. The NCC itself is used; the variances of the overlaps only serve to judge whether the
    surface falls off, as the NCC does so where contrast is lost, too.
    """
    free = tuple(axis for axis, size in enumerate(surface.ncc.shape) if size > 1)
    request = replace(surface, variances=None), index
    surroundings = PeakSurroundings.compute([request], free)
    centre = np.zeros((1, len(free)))
    positions = surroundings.climb(surroundings.grid.local[None], centre)
    covariance = np.full((1, len(free), len(free)), np.nan)
    if np.abs(positions).max() <= 1:  # false for NaN
        covariance = surroundings.compute_local_covariance(surroundings.measure(positions))
    if not np.isfinite(covariance).all():
        covariance = NO_MAXIMUM * np.eye(len(free))[None]
        return _expand_axes([request], free, centre, covariance, np.zeros(1, bool))[0]
    summit = _expand_axes([request], free, positions, covariance, np.ones(1, bool))[0]
    return replace(summit, located=is_located(surface, summit))


def is_located(surface: Surface, summit: Summit) -> bool:
    """Whether a surface falls off from a summit in all directions."""
    free = tuple(axis for axis, size in enumerate(surface.ncc.shape) if size > 1)
    surroundings = PeakSurroundings.compute([(surface, summit.index)], free)
    offset = summit.offset[None, list(free)]
    return bool(falls_off(surroundings.patches, offset, surroundings.count)[0])


def _find_summits_along(requests: list[SurfaceAtLag], free: tuple[int, ...]) -> list[Summit]:
    """Find the summits of surfaces that were all searched along the axes `free`."""
    if not free:
        ndim = len(requests[0][1])
        return [Summit(index, np.zeros(ndim), np.zeros((ndim, ndim))) for _, index in requests]
    asked = requests
    requests, surroundings, filters = _follow_peaks(asked, free)
    positions = surroundings.climb(filters, np.zeros((len(requests), len(free))))
    covariance = np.full((*positions.shape, len(free)), np.nan)
    stretched = surroundings.find_stretched_axes(filters, positions)
    for axis in dict.fromkeys(stretched):
        rows = np.array([row for row, other in enumerate(stretched) if other == axis])
        selected = surroundings.select_rows(rows).stretch_rings(axis)
        positions[rows], covariance[rows] = _settle(selected, positions[rows])
    lost = ~np.isfinite(positions[:, 0] + covariance[:, 0, 0])
    positions[lost] = 0
    located = falls_off(surroundings.patches, positions, surroundings.count)
    summits = _expand_axes(requests, free, positions, covariance, located)
    for row in np.flatnonzero(lost):
        summits[row] = find_local_summit(*asked[row])
    return summits


def _settle(surroundings: PeakSurroundings, start: Array) -> tuple[Array, Array]:
    """Measure signal and noise, filter and climb in turns; returns positions and covariances."""
    positions, covariance = start.copy(), np.full((*start.shape, start.shape[1]), np.nan)
    rows = np.arange(len(start))
    for _ in range(ROUNDS):
        rows = rows[np.isfinite(positions[rows, 0])]
        if not rows.size:
            break
        selected, before = surroundings.select_rows(rows), positions[rows]
        measured = selected.measure(before)
        filters, covariance[rows] = selected.choose_filters(measured)
        positions[rows] = selected.climb(filters, before)
        rows = rows[~(np.abs(positions[rows] - before).max(axis=1) < SETTLED)]
    return positions, covariance


def _follow_peaks(
    requests: list[SurfaceAtLag], free: tuple[int, ...]
) -> tuple[list[SurfaceAtLag], PeakSurroundings, Array]:
    """Move each request to the whole lag at which its filtered surface is highest.

    Returns the requests, the surroundings of their lags, and the filters (surfaces, spectrum).
    """

    def measure(chosen: list[SurfaceAtLag]) -> tuple[PeakSurroundings, Array]:
        surroundings = PeakSurroundings.compute(chosen, free)
        return surroundings, surroundings.measure(np.zeros((len(chosen), len(free)))).best

    requests = list(requests)
    surroundings, filters = measure(requests)
    rows = np.arange(len(requests))
    for _ in range(MOVES):
        steps = surroundings.select_rows(rows).find_highest(filters[rows])
        moved = [
            _move_index(requests[row], free, step) for row, step in zip(rows, steps, strict=True)
        ]
        new = [row for row, index in zip(rows, moved, strict=True) if index != requests[row][1]]
        if not new:
            break
        for row, index in zip(rows, moved, strict=True):
            requests[row] = requests[row][0], index
        rows = np.array(new)
        moved_surroundings, filters[rows] = measure([requests[row] for row in rows])
        surroundings.replace_rows(rows, moved_surroundings)
    return requests, surroundings, filters


def _move_index(request: SurfaceAtLag, free: tuple[int, ...], step: NDArray[np.intp]) -> Index:
    """Move the index of a request by `step` lags, within the surface, if the NCC is known there."""
    surface, index = request
    moved = list(index)
    for axis, lags in zip(free, step.tolist(), strict=True):
        moved[axis] = min(max(moved[axis] + lags, 0), surface.ncc.shape[axis] - 1)
    return tuple(moved) if np.isfinite(surface.ncc[tuple(moved)]) else index


def _expand_axes(
    requests: list[SurfaceAtLag],
    free: tuple[int, ...],
    positions: Array,
    covariance: Array,
    located: NDArray[np.bool_],
) -> list[Summit]:
    """Make summits over all axes from positions and covariances along the searched axes, `free`.

    Positions (surfaces, axes) are in lags from the indices of the requests.
    """
    whole = np.array([index for _, index in requests])
    offset, spread = np.zeros(whole.shape), np.zeros((*whole.shape, whole.shape[1]))
    nearest = np.rint(positions)
    whole[:, free] += nearest.astype(int)
    offset[:, free] = positions - nearest
    spread[np.ix_(range(len(requests)), free, free)] = covariance
    for row, (surface, _) in enumerate(requests):
        few = [axis for axis in free if surface.ncc.shape[axis] < FEWEST_LAGS]
        spread[row, few, few] += FEW_LAGS
    inside = np.clip(whole, 0, np.array([surface.ncc.shape for surface, _ in requests]) - 1)
    offset += whole - inside
    return [
        Summit(tuple(index), *values)
        for index, *values in zip(inside.tolist(), offset, spread, located.tolist(), strict=True)
    ]
