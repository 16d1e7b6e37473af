"""Masked normalized cross-correlation: terms that add over tiles and blocks, and their quotient."""

from steadystack.ncc.images import Kind, Masked, MaskedImage, alike, extremes, masked_image
from steadystack.ncc.lags import Window, lag_window
from steadystack.ncc.sums import mask_like, pair_terms
from steadystack.ncc.surface import surface
from steadystack.ncc.terms import Moments, Place, Terms
from steadystack.ncc.tiles import Block, Layout, block_sides, blocks_of

__all__ = [
    "Block",
    "Kind",
    "Layout",
    "Masked",
    "MaskedImage",
    "Moments",
    "Place",
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
