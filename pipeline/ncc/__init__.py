"""Masked normalized cross-correlation: terms that add over tiles and blocks, and their quotient."""

from pipeline.ncc.images import Kind, Masked, MaskedImage, alike, extremes, masked_image
from pipeline.ncc.lags import Window, lag_window
from pipeline.ncc.sums import mask_like, pair_terms
from pipeline.ncc.surface import surface
from pipeline.ncc.terms import Moments, Place, Terms
from pipeline.ncc.tiles import Block, Layout, block_sides, blocks_of

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
