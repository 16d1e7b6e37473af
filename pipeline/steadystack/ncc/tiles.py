"""Cut two images for their correlation: into tiles to be transformed, and blocks to be read.

The terms are sums over pixels of the reference, so they add up over its tiles and blocks. A
**tile** of the reference is correlated with the region of the moving image that the window's lags
can move onto it; products of the tiles' spectra are added, and one inverse transform serves them
all. A **block** is a region of a large frame that is read at once; its terms are added lag by lag.

All of this is integer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import NamedTuple

from scipy import fft

from steadystack.model import Slices
from steadystack.ncc.lags import Window

# Most pixels of a block: larger ones do not make transforms cheaper, and a pair of blocks of this
# size is measured in a few hundred MiB.
BLOCK_PIXELS = 2**24
# Side of the smallest tile that is tried along an axis, px, unless a user asks for less.
SMALLEST_TILE = 64
# Cost of a pair in a series, in transforms. Forward: a tile's values and squares, the values in
# both roles if there are several tiles, and sometimes masks. Backward: three, which are cheaper as
# only a few lags are kept.
FORWARD_ONE, FORWARD_SEVERAL, BACKWARD = 2.5, 3.0, 2.0
# Transforms of more pixels than the first number exceed the caches: the cost per pixel grows with
# their size to the power of the second. The third is the fixed cost of a transform, in pixels.
CACHED_PIXELS = 2**18
BEYOND_CACHE_POWER = 0.17
CALL_PIXELS = 2**14


class Tile(NamedTuple):
    """A region of the reference, and the region of the moving image that the lags reach from it."""

    reference: Slices
    moving: Slices
    moving_at: tuple[int, ...]  # index in the transform's array of the moving region's first pixel


@dataclass(frozen=True)
class Layout:
    """The tiles of a pair of images and the shape of their transforms.

    Along an axis with one tile both images begin at index 0 of the transform's array, and lag *u*
    comes out at index *u*. With several, the moving region begins `window.last` pixels before the
    tile, and lag *u* comes out at ``u - window.last``.
    """

    reference_shape: tuple[int, ...]
    moving_shape: tuple[int, ...]
    window: Window
    tile: tuple[int, ...]
    fft_shape: tuple[int, ...]

    @classmethod
    def make(
        cls,
        reference_shape: Sequence[int],
        moving_shape: Sequence[int],
        window: Window,
        tile: Sequence[int] | None = None,
    ) -> Layout:
        """Make the layout with tiles of size `tile` (pixels per axis); None: the cheapest."""
        sizes = tuple(reference_shape), tuple(moving_shape)
        if tile is None:
            tile = _choose_cheapest_tile(*sizes, window)
        tile = tuple(min(t, n) for t, n in zip(tile, sizes[0], strict=True))
        return cls(*sizes, window, tile, _choose_fft_shape(*sizes, window, tile))

    @cached_property
    def tiles(self) -> list[Tile]:
        """The tiles, in the order in which their products are added."""
        per_axis = [
            _cut_axis(n, m, lo, hi, t)
            for n, m, lo, hi, t in zip(
                self.reference_shape,
                self.moving_shape,
                self.window.first,
                self.window.last,
                self.tile,
                strict=True,
            )
        ]
        return [
            Tile(*(tuple(column) for column in zip(*axes, strict=True)))
            for axes in product(*per_axis)
        ]

    @property
    def one_spectrum(self) -> bool:
        """Whether an image has the same transform in both roles, reference and moving."""
        return self.tile == self.reference_shape and self.reference_shape == self.moving_shape

    @property
    def one_shape(self) -> bool:
        """Whether the two images have the same shape, so that either may be the reference."""
        return self.reference_shape == self.moving_shape

    @property
    def symmetric(self) -> bool:
        """Whether exchanging the two images only changes the signs of the lags."""
        return self.window.symmetric and self.one_shape

    @property
    def spectrum_size(self) -> int:
        """Complex numbers in the transform of a real tile."""
        return math.prod(self.fft_shape[:-1]) * (self.fft_shape[-1] // 2 + 1)

    @cached_property
    def first_index(self) -> tuple[int, ...]:
        """Index in the inverse transform of the window's first lag; others follow, cyclically."""
        return tuple(
            (lo - (hi if t < n else 0)) % p
            for lo, hi, t, n, p in zip(
                self.window.first,
                self.window.last,
                self.tile,
                self.reference_shape,
                self.fft_shape,
                strict=True,
            )
        )


def _cut_axis(n: int, m: int, first: int, last: int, tile: int) -> list[tuple[slice, slice, int]]:
    """Cut one axis into tiles: slices of the reference, of the moving image, and `moving_at`."""
    if tile >= n:
        return [(slice(0, n), slice(0, m), 0)]
    tiles = []
    for start in range(0, n, tile):
        stop = min(start + tile, n)
        begin = start - last
        low, high = max(begin, 0), min(stop - first, m)
        if low < high:
            tiles.append((slice(start, stop), slice(low, high), low - begin))
    return tiles


def _choose_fft_shape(
    reference_shape: Sequence[int], moving_shape: Sequence[int], window: Window, tile: Sequence[int]
) -> tuple[int, ...]:
    """Choose the transform's shape: the smallest fast one at which no lag of the window wraps.

    A circular correlation of period P mixes the lag u with u - P and u + P. Along an axis with one
    tile these are empty if u + P lies beyond the last lag at which the images touch and u - P
    before the first; with several, a period of tile and lags holds the whole moving region.
    """
    least = (
        max(n - lo, m + hi, n, m) if t >= n else t + hi - lo
        for n, m, lo, hi, t in zip(
            reference_shape, moving_shape, window.first, window.last, tile, strict=True
        )
    )
    return tuple(int(fft.next_fast_len(size, real=True)) for size in least)  # factors 2, 3, 5


@lru_cache(maxsize=64)
def _choose_cheapest_tile(
    reference_shape: tuple[int, ...], moving_shape: tuple[int, ...], window: Window
) -> tuple[int, ...]:
    """Choose the tile, pixels per axis, whose transforms cost least in all."""
    sizes = [
        sorted({math.ceil(n / count) for count in range(1, n // SMALLEST_TILE + 1)} | {n})
        for n in reference_shape
    ]

    def estimate_cost(tile: tuple[int, ...]) -> float:
        padded = math.prod(_choose_fft_shape(reference_shape, moving_shape, window, tile))
        count = math.prod(math.ceil(n / t) for n, t in zip(reference_shape, tile, strict=True))
        beyond: float = max(padded / CACHED_PIXELS, 1) ** BEYOND_CACHE_POWER
        forward = count * (FORWARD_SEVERAL if count > 1 else FORWARD_ONE)
        return (padded * beyond + CALL_PIXELS) * (forward + BACKWARD)

    return min(product(*sizes), key=estimate_cost)


class Block(NamedTuple):
    """A region of the reference frame, and the moving frame's region that the lags reach from it.

    `core` is the reference's region as slices of the moving region: the pixels that no other block
    has. None if the block is the whole frame.
    """

    reference: Slices
    moving: Slices
    core: Slices | None = None

    @property
    def reference_shape(self) -> tuple[int, ...]:
        return _get_lengths(self.reference)

    @property
    def moving_shape(self) -> tuple[int, ...]:
        return _get_lengths(self.moving)

    @property
    def ahead(self) -> tuple[int, ...]:
        """Offset in pixels of the moving region's first pixel from the reference's; lags differ by
        it.
        """
        return tuple(g.start - f.start for f, g in zip(self.reference, self.moving, strict=True))


def cut_into_blocks(
    reference_shape: Sequence[int],
    moving_shape: Sequence[int],
    window: Window,
    chunks: Sequence[int] | None = None,
) -> list[Block]:
    """Cut images of these shapes into blocks that are read at once; most images are one block.

    The longest side is halved until a block has at most `BLOCK_PIXELS`; sides are whole `chunks`
    where those are smaller than the block, so that few chunks are decoded twice.
    """
    whole = Block(*(tuple(slice(0, n) for n in sizes) for sizes in (reference_shape, moving_shape)))
    sides = choose_block_sides(reference_shape, chunks)
    if tuple(reference_shape) != tuple(moving_shape) or sides == tuple(reference_shape):
        return [whole]
    per_axis = []
    for n, side, lo, hi in zip(reference_shape, sides, window.first, window.last, strict=True):
        cores = [slice(start, min(start + side, n)) for start in range(0, n, side)]
        halos = [
            slice(max(core.start - max(hi, 0), 0), min(core.stop - min(lo, 0), n)) for core in cores
        ]
        inner = [
            slice(core.start - halo.start, core.stop - halo.start)
            for core, halo in zip(cores, halos, strict=True)
        ]
        per_axis.append(list(zip(cores, halos, inner, strict=True)))
    return [
        Block(*(tuple(slices) for slices in zip(*axes, strict=True))) for axes in product(*per_axis)
    ]


def choose_block_sides(
    shape: Sequence[int], chunks: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Choose the pixels along each axis of the blocks of a frame."""
    sides = list(shape)
    while math.prod(sides) > BLOCK_PIXELS:
        longest = max(range(len(sides)), key=lambda axis: sides[axis])
        chunk, half = chunks[longest] if chunks else 1, math.ceil(sides[longest] / 2)
        sides[longest] = math.ceil(half / chunk) * chunk if chunk < half else half
    return tuple(sides)


def _get_lengths(region: Slices) -> tuple[int, ...]:
    """Get the shape of a region."""
    return tuple(side.stop - side.start for side in region)
