"""What is searched for in a pair, how its images are cut for it, and what comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from steadystack.model import PairStatus, Registration, Surface
from steadystack.ncc import (
    Block,
    FramePart,
    Kind,
    Layout,
    MaskedImage,
    Terms,
    Window,
    compute_surface,
    compute_terms,
    cut_into_blocks,
    make_window,
)
from steadystack.peak import RADII, register_each

# Squares of the coarse image of a frame that is cut, px; at most half a tile.
GRID_SIDE = 64


@dataclass(frozen=True)
class Search:
    """What is searched for in every pair, and how the images are cut for it.

    `window` are the lags that are computed. A pair has its own among them if something is known of
    its shift before: those within ± `max_shift` of that, its centre, and some more around for the
    fit (see `lags_about`). `blocks` are the parts in which frames are read and measured, `tile` the
    size of what shares a transform (pixels per axis; None: the cheapest).
    """

    window: Window
    blocks: tuple[Block, ...]
    tile: tuple[int, ...] | None = None
    margin: tuple[tuple[int, int], ...] = ()
    min_overlap: float | None = None
    subpixel: bool = True
    allow_inverted: bool = False
    max_shift: tuple[int, ...] | None = None
    chunks: tuple[int, ...] | None = None

    @classmethod
    def over(
        cls,
        reference_shape: Sequence[int],
        moving_shape: Sequence[int],
        max_shift: Sequence[int] | None,
        min_overlap: float | None = None,
        subpixel: bool = True,
        *,
        allow_inverted: bool = False,
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
        inner = window = make_window(*(looked_at if max_shift is None else shapes), max_shift)
        if max_shift is not None:
            window = make_window(*shapes, _add_room_for_fit(max_shift))
        return cls(
            window,
            tuple(cut_into_blocks(*looked_at, window, chunks)),
            tuple(tile) if tile is not None else None,
            window.margin_around(inner),
            min_overlap,
            subpixel,
            allow_inverted,
            tuple(max_shift) if max_shift is not None else None,
            tuple(chunks) if chunks is not None else None,
        )

    def about(self, centre: Sequence[int], room: Sequence[int]) -> Search:
        """The same for pairs of frames whose own centres lie within ± `room` pixels of `centre`.

        Tiles reach to where the moving frame lies then, so that a transform does not grow with the
        shift; the blocks of large frames, which hold a frame in both roles, do.
        """
        bounds = [bound + more for bound, more in zip(self._reach, room, strict=True)]
        window = self._touching.about(centre, bounds)
        blocks = cut_into_blocks(self.shape, self.shape, window, self.chunks)
        return replace(self, window=window, blocks=tuple(blocks))

    def lags_about(self, centre: Sequence[int]) -> tuple[Window, tuple[tuple[int, int], ...]]:
        """The lags that are computed for a pair with that centre, and how many are not searched."""
        window = self._touching.about(centre, self._reach)
        return window, window.margin_around(self._touching.about(centre, self._bounds))

    def touches(self, centre: Sequence[int]) -> bool:
        """Whether the frames of a pair with that centre touch at any lag that is searched."""
        sides = zip(centre, self._bounds, self.shape, strict=True)
        return all(abs(at) - bound < size for at, bound, size in sides)

    @property
    def _bounds(self) -> tuple[int, ...]:
        if self.max_shift is None:
            raise ValueError("a search at every lag has no centre")
        return self.max_shift

    @property
    def _reach(self) -> tuple[int, ...]:
        return _add_room_for_fit(self._bounds)

    @property
    def _touching(self) -> Window:
        return make_window(self.shape, self.shape, None)

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
                    make_window(block.reference_shape, block.moving_shape, None)
                ),
                self.tile,
            )
            for block in self.blocks
        )

    def places(self, block: int) -> tuple[FramePart | None, FramePart | None]:
        """Where the reference's and the moving part of a block lie; None for what is not cut."""
        here = self.blocks[block]
        if len(self.blocks) == 1 and len(self.layouts[0].tiles) == 1:
            return None, None
        tile = min(size for layout in self.layouts for size in layout.tile)
        side = max(min(GRID_SIDE, tile // 2), 1)
        begin = tuple(part.start for part in here.reference)
        moving_shape = self.shape if here.core is not None else here.moving_shape
        return FramePart(self.shape, begin, side), FramePart(moving_shape, begin, side, here.core)


def compute_block_terms(
    reference: MaskedImage,
    moving: MaskedImage,
    search: Search,
    block: int,
    keep: Collection[Kind] | None = None,
    centre: Sequence[int] | None = None,
) -> Terms:
    """The terms of one block of a pair; its parts as `Block` says.

    `keep` are the transforms to keep with images that have other pairs; None: they have none.
    `centre` is that of the pair, whole pixels; None: all lags of the search are its own.
    """
    layout, places = search.layouts[block], search.places(block)
    wanted = search.window if centre is None else search.lags_about(centre)[0]
    wanted = wanted.moved(search.blocks[block].ahead)
    lags = wanted.within(layout.window)
    found = compute_terms(
        reference,
        moving,
        layout,
        in_series=keep is not None,
        keep=keep or (),
        places=places,
        lags=lags,
    )
    return found.over(lags, wanted)


def register_terms(terms: Terms, search: Search, averaged: float = 1.0) -> Registration:
    """The shift that the terms of a whole pair show, or the status that says why there is none.

    `averaged` is how many images as noisy as the moving one the reference is the mean of.
    """
    return next(register_surfaces([make_surface(terms, search, averaged)], search))


def register_surfaces(
    surfaces: Iterable[Surface | Registration], search: Search
) -> Iterator[Registration]:
    """The shifts of one pair after another, from its `make_surface`.

    Some are held and worked on together, which takes less time; no result depends on which.
    """
    return register_each(surfaces, subpixel=search.subpixel, allow_inverted=search.allow_inverted)


def make_surface(
    terms: Terms, search: Search, averaged: float = 1.0, centre: Sequence[int] | None = None
) -> Surface | Registration:
    """The surface of a whole pair, or the registration that says why there is none.

    `centre` is that of its blocks.
    """
    both = (terms.reference, terms.moving)
    ndim = len(search.window.first)
    if not all(one.count for one in both):
        return Registration.unknown(ndim, PairStatus.EMPTY)
    if any(one.flat for one in both):
        return Registration.unknown(ndim, PairStatus.FLAT)
    window, margin = search.window, search.margin
    if centre is not None:
        window, margin = search.lags_about(centre)
    found = compute_surface(terms, window, search.min_overlap)
    return replace(found, margin=margin, averaged=averaged)


def _add_room_for_fit(max_shift: Sequence[int]) -> tuple[int, ...]:
    """Bounds of the lags that are computed for those that are searched."""
    beyond = RADII[sum(bound > 0 for bound in max_shift)]
    return tuple(bound + beyond if bound else 0 for bound in max_shift)
