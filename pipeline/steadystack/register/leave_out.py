"""Jackknife error of a pair's shift: it is measured again without each part of the frame.

Terms add, so those of all parts but one are a sum over the others, fitted in the way that found the
shift. How the shift changes shows how well it is known, whatever disturbs it: noise of any colour,
a scene that changes, an object that goes its own way, a filter that does not fit (Efron 1982, The
Jackknife, the Bootstrap and Other Resampling Plans, ch. 3).

The jackknife takes parts as independent. Where they disagree by more than noise explains, the
disturbance may be larger than a part (turbulent air, a scene that deforms), so that neighbours err
alike. Then whole bands of parts are left out, too. Bands are few, so one axis tells little; but
such disturbances have no preferred direction, so all axes are evaluated together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from steadystack.model import Registration, Slices
from steadystack.ncc import (
    Layout,
    MaskedImage,
    Terms,
    Window,
    compute_surface,
    compute_terms,
    make_window,
)
from steadystack.peak import RADII, find_summits_near
from steadystack.register.plain_pair import PlainPair
from steadystack.register.search import Search, compute_block_terms

# Parts per axis, unless they would have fewer pixels than the second number.
CUTS, THINNEST = 3, 8
# Fewest parts, and fewest bands, whose spread is used.
FEWEST_PARTS, FEWEST_BANDS = 4, 3
# If parts disagree by more than this times what noise explains, something else is behind it.
DISAGREES = 1.5
# Lags beyond those of the fit, as room for the peak to move.
ROOM = 2


Groups = Sequence[set[int]]  # of parts, by their numbers


@dataclass
class PairImages:
    """The conditioned images of a pair, block by block; those of a single block are kept."""

    pair: PlainPair
    search: Search
    dtype: DTypeLike = np.float32
    _kept: tuple[MaskedImage, MaskedImage] | None = None

    def compute_terms(self) -> Terms:
        """Compute the terms of the pair, block by block."""
        blocks = range(len(self.search.blocks))
        return reduce(
            Terms.add,
            (compute_block_terms(*self._make_block(n), self.search, n) for n in blocks),
        )

    def _make_block(self, number: int) -> tuple[MaskedImage, MaskedImage]:
        """Make the reference's and the moving image's region of a block."""
        if self._kept is not None:
            return self._kept
        block = self.search.blocks[number]
        made = self.pair.make_images(block.reference, block.moving, self.dtype)
        if len(self.search.blocks) == 1:
            self._kept = made
        return made

    def make_region(self, region: Slices, moving: Slices) -> tuple[MaskedImage, MaskedImage]:
        """Make the images of a region."""
        if self._kept is None:
            return self.pair.make_images(region, moving, self.dtype)
        return self._kept[0].crop(region), self._kept[1].crop(moving)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pair.reference.shape, self.pair.moving.shape


class Spread(NamedTuple):
    """The error of a shift by the jackknife (axes,), px; NaN: there are too few parts to tell.

    `of_parts` is the disagreement of the parts, `of_bands` that of whole bands of them, if larger.
    The first is the steadier estimate, the second the safer.
    """

    of_parts: NDArray[np.float64]
    of_bands: NDArray[np.float64]


def widen(registration: Registration, spread: NDArray[np.float64]) -> Registration:
    """Widen the covariance of a shift to the standard deviations `spread` (axes,), px.

    Along each axis the larger of the stated deviation and `spread`, if known, is taken;
    correlations stay.
    """
    stated = np.sqrt(np.diag(registration.covariance))
    widening = np.fmax(np.divide(spread, stated, out=np.ones_like(stated), where=stated > 0), 1)
    return replace(registration, covariance=registration.covariance * np.outer(widening, widening))


def measure_spread(registration: Registration, images: PairImages) -> Spread:
    """Measure the error of a shift by the delete-one jackknife."""
    centre = np.rint(registration.shift).astype(int)
    window = _choose_window(images, centre)
    index = tuple((centre - np.array(window.first)).tolist())
    parts = [each for each in _compute_parts(images, window) if each[1].reference.count]

    def measure_without(groups: Groups) -> NDArray[np.float64]:
        surfaces = []
        for group in groups:
            rest = [terms for number, (_, terms) in enumerate(parts) if number not in group]
            surface = compute_surface(reduce(Terms.add, rest), window, None)
            if np.isfinite(surface.ncc[index]):  # unknown if the group is all that overlaps
                sign = -1 if registration.ncc < 0 else 1
                surfaces.append((replace(surface, ncc=sign * surface.ncc), index))
        found = find_summits_near(surfaces)
        shifts = [np.array(summit.index) + summit.offset for summit in found]
        return np.reshape(shifts, (len(shifts), len(centre)))

    stated = np.sqrt(np.diag(registration.covariance))
    return compute_spread([place for place, _ in parts], measure_without, stated)


def compute_spread(
    places: Sequence[tuple[int, ...]],
    measure_without: Callable[[Groups], NDArray[np.float64]],
    stated: NDArray[np.float64],
) -> Spread:
    """Compute the error of a shift by the jackknife over parts, and over bands of them if need be.

    Parameters
    ----------
    places : indices of the parts in their grid
    measure_without : the shifts (groups, axes) without each group of parts, given by their numbers;
        some may be missing
    stated : the error from the noise (axes,), px; 0 along an axis that is not measured
    """
    nothing = np.full(len(stated), np.nan)
    if len(places) < FEWEST_PARTS:
        return Spread(nothing, nothing)
    shifts = measure_without([{number} for number in range(len(places))])
    if len(shifts) < FEWEST_PARTS:
        return Spread(nothing, nothing)
    spread = of_parts = _jackknife(shifts)
    measured = stated > 0
    if not (spread > DISAGREES * stated)[measured].any():
        return Spread(of_parts, of_parts)
    of_bands = []
    for along in zip(*places, strict=True):
        bands = [{n for n, at in enumerate(along) if at == band} for band in sorted(set(along))]
        if len(bands) >= FEWEST_BANDS:
            shifts = measure_without(bands)
            if len(shifts) == len(bands):
                of_bands.append(_jackknife(shifts))
    if of_bands:
        spread = np.maximum(of_parts, np.sqrt(np.mean(np.square(of_bands), axis=0)))
    # what noise does not explain is alike along all axes, and taken from the one known best
    unexplained = np.clip(spread**2 - stated**2, 0, None)[measured]
    excess = float(np.average(unexplained, weights=stated[measured] ** -4.0))
    alike = np.where(measured, np.sqrt(stated**2 + excess), 0)
    return Spread(of_parts, np.maximum(spread, alike))


def _jackknife(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The error of a shift, px, from the shifts (groups, axes) without one group each."""
    off = shifts - shifts.mean(axis=0)
    return np.asarray(np.sqrt((1 - 1 / len(shifts)) * (off**2).sum(axis=0)))


def _choose_window(images: PairImages, centre: NDArray[np.int64]) -> Window:
    """Choose the lags around a shift that its fit needs; along some axes there is only one."""
    searched = [size > 1 for size in images.search.window.shape]
    reach = RADII[max(sum(searched), 1)] + ROOM
    bounds = [reach if moves else 0 for moves in searched]
    return make_window(*images.shapes, None).limit_around(centre.tolist(), bounds)


def _compute_parts(images: PairImages, window: Window) -> Iterator[tuple[tuple[int, ...], Terms]]:
    """Compute the terms of every part of the reference that touches the moving image.

    Yields the part's place in the grid and its terms.
    """
    moving_shape = images.shapes[1]
    for place, region in _cut(images):
        sides = [
            slice(max(side.start - high, 0), min(side.stop - low, size))
            for side, low, high, size in zip(
                region, window.first, window.last, moving_shape, strict=True
            )
        ]
        if any(side.start >= side.stop for side in sides):
            continue
        reference, moving = images.make_region(region, tuple(sides))
        ahead = [g.start - f.start for f, g in zip(region, sides, strict=True)]
        shapes, wanted = (reference.values.shape, moving.values.shape), window.shift_by(ahead)
        lags = wanted.clip_to(make_window(*shapes, None))
        layout = Layout.make(*shapes, lags)
        terms = compute_terms(reference, moving, layout, in_series=False, keep=(), lags=lags)
        yield place, terms.change_window(lags, wanted)


def _cut(images: PairImages) -> Iterator[tuple[tuple[int, ...], Slices]]:
    """Cut the valid part of the reference into parts; all of it if it is read in blocks.

    Yields every part's place in the grid and its region.
    """
    shape = images.shapes[0]
    bounds = tuple(slice(0, size) for size in shape)
    if images._kept is not None:
        bounds = images._kept[0].mask.bounds
    edges = []
    for side in bounds:
        cuts = count_cuts(side.stop - side.start)
        edges.append(np.linspace(side.start, side.stop, cuts + 1).round().astype(int).tolist())
    sides = [[slice(low, high) for low, high in pairwise(e)] for e in edges]
    yield from zip(np.ndindex(*map(len, sides)), product(*sides), strict=True)


def count_cuts(size: int) -> int:
    """Count the parts that an axis of so many pixels is cut into."""
    return max(min(CUTS, size // THINNEST), 1)
