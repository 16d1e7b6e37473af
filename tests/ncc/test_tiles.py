"""Blocks of a frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystack import ncc
from steadystack.ncc import tiles


@given(st.integers(1, 90000), st.integers(1, 90000), st.integers(1, 5000), st.integers(0, 600))
@settings(deadline=None, max_examples=100)
def test_blocks_cover_a_frame_once_and_hold_what_the_lags_reach(height, width, chunk, bound):
    window = ncc.make_window((height, width), (height, width), (bound, bound))
    blocks = tiles.cut_into_blocks((height, width), (height, width), window, (chunk, chunk))
    area = 0
    for block in blocks:
        area += np.prod(block.reference_shape)
        assert np.prod(block.reference_shape) <= tiles.BLOCK_PIXELS
        for core, halo, size in zip(block.reference, block.moving, (height, width), strict=True):
            assert halo.start == max(core.start - bound, 0)
            assert halo.stop == min(core.stop + bound, size)
    assert area == height * width
