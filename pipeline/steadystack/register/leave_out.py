"""The error of a pair's shift by the jackknife: measured again without each part of the frame.

Terms add, so those of all parts but one are a sum over the others, and the fit to them is the one
that found the shift. What it does then shows what the shift rests on, whatever the cause: noise of
any colour, a scene that changes, an object that goes its own way, a filter that does not fit
(Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, ch. 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise, product

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

# Each axis is cut into so many parts, unless they would have fewer pixels than this.
CUTS, THINNEST = 3, 8
# With fewer parts their spread says nothing.
FEWEST_PARTS = 4
# Lags beyond those of the fit, in which the peak may move.
ROOM = 2


@dataclass
class PairImages:
    """The images of a pair made ready, block by block; those of a single block are made once."""

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
        """Make the images of any regions."""
        if self._kept is None:
            return self.pair.make_images(region, moving, self.dtype)
        return self._kept[0].crop(region), self._kept[1].crop(moving)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pair.reference.shape, self.pair.moving.shape


def widen_by_parts(registration: Registration, images: PairImages) -> Registration:
    """Widen the covariance of a shift to what the parts of the images disagree about."""
    return widen(registration, compute_parts_std(registration, images))


def widen(registration: Registration, spread: NDArray[np.float64]) -> Registration:
    """Widen the covariance of a shift to the standard deviations `spread` (axes,), px.

    Along each axis that is the larger of the stated one and of this, if it is known; correlations
    stay.
    """
    stated = np.sqrt(np.diag(registration.covariance))
    widening = np.fmax(np.divide(spread, stated, out=np.ones_like(stated), where=stated > 0), 1)
    return replace(registration, covariance=registration.covariance * np.outer(widening, widening))


def compute_parts_std(registration: Registration, images: PairImages) -> NDArray[np.float64]:
    """Compute the standard deviation of a shift (axes,), px, by the delete-one jackknife.

    NaN where there are too few parts to tell.
    """
    centre = np.rint(registration.shift).astype(int)
    window = _choose_window(images, centre)
    parts = [terms for terms in _compute_parts(images, window) if terms.reference.count]
    if len(parts) < FEWEST_PARTS:
        return np.full(len(centre), np.nan)
    index = tuple((centre - np.array(window.first)).tolist())
    surfaces = []
    for left_out in range(len(parts)):
        rest = reduce(Terms.add, parts[:left_out] + parts[left_out + 1 :])
        surface = compute_surface(rest, window, None)
        if np.isfinite(surface.ncc[index]):  # not if the part is all that overlaps
            surfaces.append(replace(surface, ncc=-surface.ncc) if registration.ncc < 0 else surface)
    if len(surfaces) < FEWEST_PARTS:
        return np.full(len(centre), np.nan)
    shifts = np.array(
        [
            np.array(summit.index) + summit.offset
            for summit in find_summits_near([(surface, index) for surface in surfaces])
        ]
    )
    count = len(shifts)
    off = shifts - shifts.mean(axis=0)
    return np.asarray(np.sqrt((count - 1) / count * (off**2).sum(axis=0)))


def _choose_window(images: PairImages, centre: NDArray[np.int64]) -> Window:
    """Choose the lags around a shift that its fit needs; along some axes there is only one."""
    searched = [size > 1 for size in images.search.window.shape]
    reach = RADII[max(sum(searched), 1)] + ROOM
    bounds = [reach if moves else 0 for moves in searched]
    return make_window(*images.shapes, None).limit_around(centre.tolist(), bounds)


def _compute_parts(images: PairImages, window: Window) -> Iterator[Terms]:
    """Compute the terms of every part of the reference that touches the moving image."""
    moving_shape = images.shapes[1]
    for region in _cut(images):
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
        yield terms.change_window(lags, wanted)


def _cut(images: PairImages) -> Iterator[Slices]:
    """Cut the valid part of the reference, unless that is read in blocks: then all of it."""
    shape = images.shapes[0]
    bounds = tuple(slice(0, size) for size in shape)
    if images._kept is not None:
        bounds = images._kept[0].mask.bounds
    edges = []
    for side in bounds:
        cuts = count_cuts(side.stop - side.start)
        edges.append(np.linspace(side.start, side.stop, cuts + 1).round().astype(int).tolist())
    yield from product(*([slice(low, high) for low, high in pairwise(e)] for e in edges))


def count_cuts(size: int) -> int:
    """Count the parts that an axis of so many pixels is cut into."""
    return max(min(CUTS, size // THINNEST), 1)
