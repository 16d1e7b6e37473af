"""How much a task takes on: enough to be worth it, and little enough for all workers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from steadystack.config import make_config
from steadystack.measure import cut_into_batches
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames


def set_up_series(count, width, side=512):
    frames = np.broadcast_to(np.zeros((1, side, side), "u2"), (count, side, side))
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), None)
    sections = {
        "input": {"path": "memory"},
        "register": {"max_shift": 32},
        "pairs": {"strategy": "window", "width": width},
        "cluster": {"kind": "in-process"},
    }
    return set_up(make_config(sections), make_series(source))


def cut_for(setup, threads):
    size = setup.size.among(threads, len(setup.pairs))
    return [rows for rows, _ in cut_into_batches(setup.pairs, setup.method, size)]


@pytest.mark.parametrize("width", [1, 5])
def test_a_hundred_workers_have_work_for_a_thousand_frames(width):
    setup = set_up_series(1000, width)
    batches = cut_for(setup, 100)
    assert len(batches) >= 2 * 100
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(setup.pairs)))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("count", [2, 24, 1000])
def test_threads_have_equally_many_tasks(count, threads):
    """Where there are fewer pairs than that takes, each is a task."""
    setup = set_up_series(count, 5)
    batches, pairs = cut_for(setup, threads), len(setup.pairs)
    if threads == 1:  # as large as they can be
        assert len(batches) == -(-pairs // setup.size.pairs)
    else:
        assert len(batches) == pairs or len(batches) % threads == 0
        assert len(batches) >= min(2 * threads, pairs)
    assert max(map(len, batches)) <= setup.size.pairs


def test_few_threads_have_tasks_about_as_large_as_one_has():
    setup = set_up_series(1000, 5)
    assert len(cut_for(setup, 2)) <= len(cut_for(setup, 1)) + 2
