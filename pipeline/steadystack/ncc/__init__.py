"""Masked normalized cross-correlation: terms that add over tiles and blocks, and their quotient.

`masked` images and their masks are cut into `tiles`; `sums` are those of a pair over the window of
`lags`; `terms` adds them and makes the surface of them.
"""

from steadystack.ncc.lags import Window, lag_window
from steadystack.ncc.masked import Kind, Masked, MaskedImage, alike, extremes, masked_image
from steadystack.ncc.sums import mask_like, pair_terms
from steadystack.ncc.terms import FramePart, Moments, Terms, surface
from steadystack.ncc.tiles import Block, Layout, block_sides, blocks_of

__all__ = [
    "Block",
    "FramePart",
    "Kind",
    "Layout",
    "Masked",
    "MaskedImage",
    "Moments",
    "Terms",
    "Window",
    "alike",
    "block_sides",
    "blocks_of",
    "extremes",
    "lag_window",
    "mask_like",
    "masked_image",
    "pair_terms",
    "surface",
]
