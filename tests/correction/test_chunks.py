"""How a corrected stack is cut into tasks."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.correction.chunks import (
    ChunkLayout,
    cut_into_regions,
    make_levels,
    make_valid_level,
    scale_to_level,
)
from steadystack.warp import HOLE_REACH, REACH, find_spread
from support.turning import turn_volume


@pytest.mark.parametrize("seed", range(12))
def test_every_chunk_of_every_level_lies_in_one_task(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 9)), 2, *map(int, rng.integers(200, 3000, 2)))
    chunks = (int(rng.integers(1, 4)), 1, *map(int, rng.choice([64, 100, 128, 250], 2)))
    shards = None if seed % 2 else (*chunks[:2], 2 * chunks[2], 3 * chunks[3])
    cut = ChunkLayout(tuple("tcyx"), shape, 2, chunks, shards, chunks, "cubic", True)
    laid = cut_into_regions(cut, (40 + 60 * (seed % 3)) * 2**20)
    for level in (*make_levels(cut, laid, None), make_valid_level(cut, laid)):
        written = np.zeros(level.shape, np.uint8)
        unit = level.shards or level.chunks
        for number in range(len(laid)):
            region = scale_to_level(laid.get_slices(number), level)
            written[region] += 1
            for side, piece, size in zip(region, unit, level.shape, strict=True):
                assert side.start % piece == 0
                assert side.stop % piece == 0 or side.stop == size
        assert (written == 1).all()
        if level.shards:
            assert not any(a % b for a, b in zip(level.shards, level.chunks, strict=True))


def test_a_task_has_room_for_what_frames_that_turn_are_read_of():
    """By 2 degrees about y a slab of 8 planes and 1000 columns comes from 8 + 35 planes."""
    sides = {"axes": tuple("tzyx"), "shape": (5, 64, 800, 1000), "chunks": (1, 8, 100, 100)}
    rest = {"itemsize": 2, "shards": None, "interpolation": "linear", "pyramid": False}
    read, region = (1, 1, 50, 50), (1, 8, 100, 1000)
    still = ChunkLayout(**sides, read=read, **rest)
    turned = ChunkLayout(
        **sides, read=read, **rest, spread=find_spread(turn_volume([0, 2, 0])[None], 3)
    )
    reach = 2 * (REACH["linear"] + 1 + HOLE_REACH)
    more = [35 + 1, 0, 50]  # columns are read as chunks of 50, all that there are
    windows = [np.prod([8 + by[0] + reach, 100 + reach, 1000 + reach]) for by in ([0, 0, 0], more)]
    assert turned.estimate_bytes(region) - still.estimate_bytes(region) == pytest.approx(
        (windows[1] - windows[0]) * (2 + 4 + 4), rel=0.03
    )
    assert len(cut_into_regions(turned, 40 * 2**20)) > len(cut_into_regions(still, 40 * 2**20))
