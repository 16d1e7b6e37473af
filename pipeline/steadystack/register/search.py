"""Search for the shift of a pair: which lags, how images are cut, and the result."""

from __future__ import annotations

import math
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

# Frames are held until their surfaces are fitted together: few, if frames have many pixels.
HELD_PIXELS = 2**22
# Squares of the coarse image of a frame that is cut into blocks, px; at most half a tile.
GRID_SIDE = 64


@dataclass(frozen=True)
class Search:
    """The lags searched in every pair, and how the images are cut for that.

    Attributes
    ----------
    window : the lags that are computed. If the shift of a pair is roughly known (its centre), only
        lags within ± `max_shift` of it are searched, and a few more around them are computed
    blocks : the regions in which frames are read and measured
    tile : size of the tiles that are transformed, pixels per axis; None: the cheapest
    margin : lags before and after, per axis, that are computed but not searched
    min_overlap, subpixel, allow_inverted : as in `steadystack.register_translation`
    max_shift : largest shift searched for, pixels per axis; None: every lag
    chunks : of the store that frames are read from, pixels per axis; None: not known
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
    def make(
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
        """Make the search in images of these shapes, within ± `max_shift` pixels per axis.

        A sub-pixel fit needs the surface on all sides of a peak, also of one at the edge of the
        search: more lags are computed than are searched. If `region` is given, a shape, only
        regions of that shape of the images are correlated; `chunks` are those of the store that the
        images come from.
        """
        shapes = reference_shape, moving_shape
        searched_shapes = shapes if region is None else (region, region)
        searched = window = make_window(
            *(searched_shapes if max_shift is None else shapes), max_shift
        )
        if max_shift is not None:
            window = make_window(*shapes, _add_room_for_fit(max_shift))
        return cls(
            window,
            tuple(cut_into_blocks(*searched_shapes, window, chunks)),
            tuple(tile) if tile is not None else None,
            window.compute_margin(searched),
            min_overlap,
            subpixel,
            allow_inverted,
            tuple(max_shift) if max_shift is not None else None,
            tuple(chunks) if chunks is not None else None,
        )

    def widen(self) -> Search:
        """The same search at every lag at which the images touch."""
        return Search.make(
            self.shape, self.shape, None, self.min_overlap, self.subpixel,
            allow_inverted=self.allow_inverted, tile=self.tile, chunks=self.chunks,
        )  # fmt: skip

    def centre_on(self, centre: Sequence[int], room: Sequence[int]) -> Search:
        """Adapt the window and blocks to pairs with centres near `centre`.

        The centres of the pairs lie within ± `room` pixels of it. Tiles of the moving frame follow
        the centre, so that transforms do not grow with the shift; blocks of large frames do grow,
        as they hold a frame in both roles.
        """
        bounds = [bound + margin for bound, margin in zip(self._reach, room, strict=True)]
        window = self._touching.limit_around(centre, bounds)
        blocks = cut_into_blocks(self.shape, self.shape, window, self.chunks)
        return replace(self, window=window, blocks=tuple(blocks))

    def choose_window(self, centre: Sequence[int]) -> tuple[Window, tuple[tuple[int, int], ...]]:
        """Choose the lags to compute for a pair with that centre, and the margin not searched."""
        window = self._touching.limit_around(centre, self._reach)
        return window, window.compute_margin(self._touching.limit_around(centre, self._bounds))

    @property
    def most_held(self) -> int:
        """How many pairs are fitted together at most."""
        return max(HELD_PIXELS // math.prod(self.shape), 1)

    def touches(self, centre: Sequence[int]) -> bool:
        """Whether the frames of a pair with that centre touch at any searched lag."""
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
        """Shape of the region of the reference that is correlated, pixels."""
        return tuple(side.stop for side in self.blocks[-1].reference)

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """The tiles of every block, over the lags of the window at which its regions touch."""
        return tuple(
            Layout.make(
                block.reference_shape,
                block.moving_shape,
                self.window.shift_by(block.ahead).clip_to(
                    make_window(block.reference_shape, block.moving_shape, None)
                ),
                self.tile,
            )
            for block in self.blocks
        )

    def find_frame_parts(self, number: int) -> tuple[FramePart | None, FramePart | None]:
        """Find where the regions of a block lie in their frames; None if frames are not cut.

        Returns that of the reference and that of the moving frame.
        """
        block = self.blocks[number]
        if len(self.blocks) == 1 and len(self.layouts[0].tiles) == 1:
            return None, None
        tile = min(size for layout in self.layouts for size in layout.tile)
        side = max(min(GRID_SIDE, tile // 2), 1)
        begin = tuple(side.start for side in block.reference)
        moving_shape = self.shape if block.core is not None else block.moving_shape
        return FramePart(self.shape, begin, side), FramePart(moving_shape, begin, side, block.core)


def compute_block_terms(
    reference: MaskedImage,
    moving: MaskedImage,
    search: Search,
    block: int,
    keep: Collection[Kind] | None = None,
    centre: Sequence[int] | None = None,
) -> Terms:
    """Compute the terms of one block of a pair.

    Parameters
    ----------
    reference, moving : the two regions of the block
    block : its number in `search.blocks`
    keep : kinds of transforms to cache with images that have other pairs; None: they have none
    centre : roughly the shift of the pair, whole pixels; None: all lags of the search are computed
    """
    layout, frame_parts = search.layouts[block], search.find_frame_parts(block)
    window = search.window if centre is None else search.choose_window(centre)[0]
    window = window.shift_by(search.blocks[block].ahead)
    lags = window.clip_to(layout.window)
    terms = compute_terms(
        reference,
        moving,
        layout,
        in_series=keep is not None,
        keep=keep or (),
        frame_parts=frame_parts,
        lags=lags,
    )
    return terms.change_window(lags, window)


def register_terms(terms: Terms, search: Search, averaged: float = 1.0) -> Registration:
    """Find the shift of a pair from its terms, or the status that says why there is none.

    `averaged` tells of how many images, as noisy as the moving one, the reference is the mean.
    """
    return next(register_surfaces([make_surface(terms, search, averaged)], search))


def register_surfaces(
    surfaces: Iterable[Surface | Registration], search: Search
) -> Iterator[Registration]:
    """Find the shifts of one pair after another, from the results of `make_surface`.

    Several are held and fitted together, which is faster; no result depends on the others.
    """
    return register_each(
        surfaces,
        subpixel=search.subpixel,
        allow_inverted=search.allow_inverted,
        most_held=search.most_held,
    )


def make_surface(
    terms: Terms, search: Search, averaged: float = 1.0, centre: Sequence[int] | None = None
) -> Surface | Registration:
    """Make the surface of a whole pair from its terms, or a registration that says why not.

    `centre` must be the one that the terms were computed with.
    """
    images = (terms.reference, terms.moving)
    ndim = len(search.window.first)
    if not all(image.count for image in images):
        return Registration.unknown(ndim, PairStatus.EMPTY)
    if any(image.flat for image in images):
        return Registration.unknown(ndim, PairStatus.FLAT)
    window, margin = search.window, search.margin
    if centre is not None:
        window, margin = search.choose_window(centre)
    surface = compute_surface(terms, window, search.min_overlap)
    return replace(surface, margin=margin, averaged=averaged)


def _add_room_for_fit(max_shift: Sequence[int]) -> tuple[int, ...]:
    """Widen the bounds of the searched lags, pixels per axis, to those that are computed."""
    beyond = RADII[sum(bound > 0 for bound in max_shift)]
    return tuple(bound + beyond if bound else 0 for bound in max_shift)
