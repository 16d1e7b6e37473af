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
