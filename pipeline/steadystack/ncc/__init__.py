"""Masked normalized cross-correlation: terms that add over tiles and blocks, and their quotient.

- `masked`: images with their masks, which are cut into `tiles`
- `sums`: computes the terms of a pair over a window of `lags`; some of them are `box_sums`
- `terms`: adds them up
- `quotient`: computes the surface from them
"""

from steadystack.ncc.lags import Window, make_window
from steadystack.ncc.masked import (
    CachedMask,
    Kind,
    MaskedImage,
    find_extremes,
    is_constant_range,
    make_masked_image,
)
from steadystack.ncc.quotient import compute_surface
from steadystack.ncc.sums import compute_terms, derive_mask
from steadystack.ncc.terms import FramePart, Moments, Terms
from steadystack.ncc.tiles import Block, Layout, choose_block_sides, cut_into_blocks

__all__ = [
    "Block",
    "CachedMask",
    "FramePart",
    "Kind",
    "Layout",
    "MaskedImage",
    "Moments",
    "Terms",
    "Window",
    "choose_block_sides",
    "compute_surface",
    "compute_terms",
    "cut_into_blocks",
    "derive_mask",
    "find_extremes",
    "is_constant_range",
    "make_masked_image",
    "make_window",
]
