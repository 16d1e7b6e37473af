"""What is searched for in a pair, how its images are cut for it, and what comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.model import Contrast, PairStatus, Registration, Surface
from pipeline.ncc import (
    Block,
    Kind,
    Layout,
    MaskedImage,
    Place,
    Terms,
    Window,
    blocks_of,
    lag_window,
    pair_terms,
    surface,
)
from pipeline.peak import RADII, register_each

# Squares of the coarse image of a frame that is cut, px; at most half a tile.
GRID_SIDE = 64


@dataclass(frozen=True)
class Search:
    """What is searched for in every pair, and how the images are cut for it.

    `blocks` are the parts in which frames are read and measured, `tile` the size of what shares a
    transform (pixels per axis; None: the cheapest).
    """

    window: Window
    blocks: tuple[Block, ...]
    tile: tuple[int, ...] | None = None
    margin: tuple[tuple[int, int], ...] = ()
    min_overlap: float | None = None
    subpixel: bool = True
    contrast: Contrast = "same"

    @classmethod
    def over(
        cls,
        reference_shape: Sequence[int],
        moving_shape: Sequence[int],
        max_shift: Sequence[int] | None,
        min_overlap: float | None = None,
        subpixel: bool = True,
        *,
        contrast: Contrast = "same",
        region: Sequence[int] | None = None,
        tile: Sequence[int] | None = None,
        chunks: Sequence[int] | None = None,
    ) -> Search:
        """The search in images of these shapes, within ± `max_shift` pixels per axis.

        A fit between the pixels needs the surface on all sides of a peak, also of one that lies at
        the edge of the search: more lags are computed than are searched. Of images of the
        same shape only a region of that shape is looked at, if one is given; `chunks` are those of
        the store that they come from.
        """
        shapes = reference_shape, moving_shape
        looked_at = shapes if region is None else (region, region)
        inner = window = lag_window(*(looked_at if max_shift is None else shapes), max_shift)
        if max_shift is not None:
            beyond = RADII[sum(bound > 0 for bound in max_shift)]
            window = lag_window(*shapes, [bound + beyond if bound else 0 for bound in max_shift])
        return cls(
            window,
            tuple(blocks_of(*looked_at, window, chunks)),
            tuple(tile) if tile is not None else None,
            window.margin_around(inner),
            min_overlap,
            subpixel,
            contrast,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is looked at of the reference."""
        return tuple(side.stop for side in self.blocks[-1].reference)

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """The tiles of every block, over those of the wanted lags at which its parts touch."""
        return tuple(
            Layout.over(
                block.reference_shape,
                block.moving_shape,
                self.window.moved(block.ahead).within(
                    lag_window(block.reference_shape, block.moving_shape, None)
                ),
                self.tile,
            )
            for block in self.blocks
        )

    def places(self, block: int) -> tuple[Place | None, Place | None]:
        """Where the reference's and the moving part of a block lie; None for what is not cut."""
        here = self.blocks[block]
        if len(self.blocks) == 1 and len(self.layouts[0].tiles) == 1:
            return None, None
        tile = min(size for layout in self.layouts for size in layout.tile)
        side = max(min(GRID_SIDE, tile // 2), 1)
        begin = tuple(part.start for part in here.reference)
        moving_shape = self.shape if here.core is not None else here.moving_shape
        return Place(self.shape, begin, side), Place(moving_shape, begin, side, here.core)


def block_terms(
    reference: MaskedImage,
    moving: MaskedImage,
    search: Search,
    block: int,
    keep: Collection[Kind] | None = None,
) -> Terms:
    """The terms of one block of a pair; its parts as `Block` says.

    `keep` are the transforms to keep with images that have other pairs; None: they have none.
    """
    layout, places = search.layouts[block], search.places(block)
    found = pair_terms(
        reference, moving, layout, in_series=keep is not None, keep=keep or (), places=places
    )
    return found.over(layout.window, search.window.moved(search.blocks[block].ahead))


def register_terms(terms: Terms, search: Search, averaged: float = 1.0) -> Registration:
    """The shift that the terms of a whole pair show, or the status that says why there is none.

    `averaged` is how many images as noisy as the moving one the reference is the mean of.
    """
    return next(register_surfaces([terms_surface(terms, search, averaged)], search))


def register_surfaces(
    surfaces: Iterable[Surface | Registration], search: Search
) -> Iterator[Registration]:
    """The shifts of one pair after another, from its `terms_surface`.

    Some are held and worked on together, which takes less time; no result depends on which.
    """
    return register_each(surfaces, subpixel=search.subpixel, contrast=search.contrast)


def terms_surface(terms: Terms, search: Search, averaged: float = 1.0) -> Surface | Registration:
    """The surface of a whole pair, or the registration that says why there is none."""
    both = (terms.reference, terms.moving)
    ndim = len(search.window.first)
    if not all(one.count for one in both):
        return Registration.unknown(ndim, PairStatus.EMPTY)
    if any(one.flat for one in both):
        return Registration.unknown(ndim, PairStatus.FLAT)
    found = surface(terms, search.window, search.min_overlap)
    return replace(found, margin=search.margin, averaged=averaged)
