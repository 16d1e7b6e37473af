"""Between the pixels: where the peak of a surface lies, and how sure that is.

Two noisy images of one scene show its autocorrelation, moved by their shift, and noise. The summit
is the maximum of the surface after the filter that `surroundings` reads off it. As the filter is
read around the summit, and the summit found by the filter, they are looked for in turns.

Many surfaces are looked at together, along the leading axis of all arrays; NaN stands for a maximum
or a covariance that there is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.peak.patch import Array, Index, SurfaceAtLag
from steadystack.peak.surroundings import PeakSurroundings

# Variance, px², of a whole lag that is all there is: a pixel to either side.
NO_MAXIMUM = 1 / 3
# How often the patch may follow the filtered peak, and signal and noise be read anew.
MOVES, ROUNDS = 3, 3
SETTLED = 0.05  # px: a smaller change of the point that they are read around changes nothing


@dataclass(frozen=True)
class Summit:
    """The maximum of a surface: index of the nearest lag, distance from it, covariance, px².

    Axes that were not searched have neither. Without a maximum between the lags it is a whole lag,
    good to a pixel. `located` tells whether the surface falls off in all directions: of
    a line or an edge it does not.
    """

    index: Index
    offset: Array
    covariance: Array
    located: bool = True


def find_summits(asked: Sequence[SurfaceAtLag]) -> list[Summit]:
    """The maximum of every filtered surface near the lag at an index.

    What is found of one does not depend on the others; together they take less time.
    """
    found: list[Summit | None] = [None] * len(asked)
    kinds: dict[tuple[int, ...], list[int]] = {}
    for row, (surface, _) in enumerate(asked):
        free = tuple(axis for axis, size in enumerate(surface.ncc.shape) if size > 1)
        kinds.setdefault(free, []).append(row)
    for free, rows in kinds.items():
        for row, one in zip(rows, _find_summits([asked[row] for row in rows], free), strict=True):
            found[row] = one
    return [one for one in found if one is not None]


def _find_summits(asked: list[SurfaceAtLag], free: tuple[int, ...]) -> list[Summit]:
    """The same for surfaces that were searched along the same axes."""
    if not free:
        ndim = len(asked[0][1])
        return [Summit(index, np.zeros(ndim), np.zeros((ndim, ndim))) for _, index in asked]
    asked, views, filters = _follow_peaks(asked, free)
    at = views.climb(filters, np.zeros((len(asked), len(free))))
    covariance = np.full((*at.shape, len(free)), np.nan)
    located = np.ones(len(asked), bool)
    rows = np.arange(len(asked))
    for _ in range(ROUNDS):
        rows = rows[np.isfinite(at[rows, 0])]
        if not rows.size:
            break
        here, before = views.of(rows), at[rows]
        look = here.look(before)
        filters, covariance[rows], located[rows] = here.best_filter(look)
        at[rows] = here.climb(filters, before)
        rows = rows[~(np.abs(at[rows] - before).max(axis=1) < SETTLED)]
    lost = ~np.isfinite(at[:, 0] + covariance[:, 0, 0])
    at[lost], covariance[lost], located[lost] = 0.0, NO_MAXIMUM * np.eye(len(free)), True
    return _expand_axes(asked, free, at, covariance, located)


def _follow_peaks(
    asked: list[SurfaceAtLag], free: tuple[int, ...]
) -> tuple[list[SurfaceAtLag], PeakSurroundings, Array]:
    """Surfaces around the whole lag at which each is highest after its filter, and the filters."""

    def seen(part: list[SurfaceAtLag]) -> tuple[PeakSurroundings, Array]:
        views = PeakSurroundings.around(part, free)
        return views, views.look(np.zeros((len(part), len(free)))).best

    asked = list(asked)
    views, filters = seen(asked)
    rows = np.arange(len(asked))
    for _ in range(MOVES):
        steps = views.of(rows).highest(filters[rows])
        moved = [_move_index(asked[row], free, step) for row, step in zip(rows, steps, strict=True)]
        new = [row for row, index in zip(rows, moved, strict=True) if index != asked[row][1]]
        if not new:
            break
        for row, index in zip(rows, moved, strict=True):
            asked[row] = asked[row][0], index
        rows = np.array(new)
        here, filters[rows] = seen([asked[row] for row in rows])
        views.put(rows, here)
    return asked, views, filters


def _move_index(one: SurfaceAtLag, free: tuple[int, ...], step: NDArray[np.intp]) -> Index:
    """The index so many lags further, not beyond the surface, if anything is known there."""
    surface, index = one
    moved = list(index)
    for axis, by in zip(free, step.tolist(), strict=True):
        moved[axis] = min(max(moved[axis] + by, 0), surface.ncc.shape[axis] - 1)
    return tuple(moved) if np.isfinite(surface.ncc[tuple(moved)]) else index


def _expand_axes(
    asked: list[SurfaceAtLag],
    free: tuple[int, ...],
    at: Array,
    covariance: Array,
    located: NDArray[np.bool_],
) -> list[Summit]:
    """The same with the axes that were not searched."""
    whole = np.array([index for _, index in asked])
    offset, spread = np.zeros(whole.shape), np.zeros((*whole.shape, whole.shape[1]))
    nearest = np.rint(at)
    whole[:, free] += nearest.astype(int)
    offset[:, free] = at - nearest
    spread[np.ix_(range(len(asked)), free, free)] = covariance
    inside = np.clip(whole, 0, np.array([surface.ncc.shape for surface, _ in asked]) - 1)
    offset += whole - inside
    return [
        Summit(tuple(index), *parts)
        for index, *parts in zip(inside.tolist(), offset, spread, located.tolist(), strict=True)
    ]
