"""How many frames are looked at, and the memory that takes: as it is measured."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from steadystack.config import make_config
from steadystack.defects import count_looked_at, estimate_field_bytes, estimate_search_bytes
from steadystack.outputs import write_stack
from steadystack.planning import make_series, open_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.survey import find_defects, find_field_of_view, find_lines
from support.members import slow_but
from support.scenes import Scene

SIDE, COUNT = 256, 14


def lined_frames():
    """Frames of a scene that moves, with columns that stand still."""
    rng, scene = np.random.default_rng(5), Scene(5)
    columns = 0.5 * rng.normal(size=SIDE)
    views = [scene.view((SIDE, SIDE), (0, 1.5 * step)) for step in range(COUNT)]
    return np.stack([1000 + 100 * (view + columns) for view in views])


@pytest.mark.parametrize("dtype", slow_but(["u2"], ["u2", "f8"]))
def test_the_memory_of_the_search_is_as_forecast(tmp_path, dtype):
    write_stack(tmp_path / "stack.zarr", lined_frames().astype(dtype))
    given = {"input": {"path": "stack.zarr"}, "output": {"shifts": "shifts.zarr"}}
    config = make_config(given | {"register": {"max_shift": 8}}, tmp_path)
    series, _ = open_series(config)
    setup = set_up(config, series)
    forecast = estimate_search_bytes(COUNT, SIDE * SIDE, np.dtype(dtype).itemsize)
    for search in (find_defects, find_lines):
        search(setup)  # what is set up once does not count
        tracemalloc.start()
        found = search(setup)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.frames == COUNT
        assert 0.6 * forecast < peak < 1.1 * forecast


@pytest.mark.parametrize("planes", slow_but([1], [1, 24]))
def test_the_memory_of_looking_for_the_field_of_view_is_as_forecast(tmp_path, planes):
    shape = (planes, SIDE, SIDE)[planes == 1 :]
    frames = np.random.default_rng(1).integers(0, 1000, (COUNT, *shape)).astype("u2")
    dims = ("t", "z", "y", "x") if planes > 1 else ("t", "y", "x")
    source = ArrayFrames.checked(xr.DataArray(frames, dims=dims), None)
    setup = set_up(make_config({"input": {"path": "memory"}}), make_series(source))
    find_field_of_view(setup)
    tracemalloc.start()
    find_field_of_view(setup)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.4 * estimate_field_bytes(frames[0].size, 2) < peak
    assert peak < 1.1 * estimate_field_bytes(frames[0].size, 2)


def test_large_frames_are_looked_at_in_smaller_number():
    assert [count_looked_at(count, 2**18) for count in (11, 12, 20, 500)] == [0, 12, 20, 32]
    assert [count_looked_at(500, 2**power) for power in (20, 21, 24)] == [32, 16, 12]
