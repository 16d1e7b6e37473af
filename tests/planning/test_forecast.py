"""What a run will need: as it is measured."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack.config import make_config
from steadystack.defects import estimate_field_bytes, estimate_search_bytes
from steadystack.measure import (
    Sample,
    estimate_fixed_pattern_bytes,
    estimate_flat_field_bytes,
    estimate_refine_bytes,
)
from steadystack.measure import refinement as polishing
from steadystack.measure.method import estimate_flat_field
from steadystack.planning import count_fitting_workers, make_plan, make_series, set_up
from steadystack.planning.forecast import estimate_needs
from steadystack.planning.layout import OWN_BYTES, WORKER_BYTES
from steadystack.readers import ArrayFrames
from support.forecasts import MIB, drifting


def opened(frames, **sections):
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), None)
    given = {"input": {"path": "memory"}, "register": {"max_shift": 8}} | sections
    return set_up(make_config(given), make_series(source)), source


def peak_of(function):
    function()  # what is set up once is not of the task
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("held", [2**28, 0])
def test_the_memory_of_the_polish_is_as_forecast(monkeypatch, held):
    monkeypatch.setattr(polishing, "HELD_BYTES", held)
    frames, steps = drifting()
    setup, source = opened(frames)
    method = replace(setup.method, search=polishing._make_search(source, setup.method), keep=())
    shifts = -np.repeat(steps[:, None], 2, axis=1).astype(float)
    (group,) = polishing._group_frames(shifts, np.zeros(len(frames), int), method.search.shape)
    peak = peak_of(lambda: polishing.measure_group(group, source, method))
    planned = estimate_refine_bytes(128 * 128, 0) * (
        30 / 64 if held else 1
    )  # of members, at most 64
    assert 0.4 * planned < peak < 1.05 * planned


def test_the_memory_of_flat_field_and_static_image_is_as_forecast():
    frames, _ = drifting(512)
    setup, source = opened(frames)
    planned = estimate_flat_field_bytes(len(frames), 512 * 512, 4)
    # The frames are there already: those of a store would be in it, too.
    assert 0.3 * planned < peak_of(lambda: estimate_flat_field(source, setup.method)) < planned
    frames, steps = drifting()
    setup, source = opened(frames)
    sample = Sample(source, setup.method, setup.size, np.arange(30), np.ones(30))
    shifts = -np.repeat(steps[:, None], 2, axis=1).astype(float)
    planned = estimate_fixed_pattern_bytes(128 * 128)
    assert 0.4 * planned < peak_of(lambda: sample.separated(shifts, passes=4)) < planned


def here(monkeypatch, size, cores=4):
    monkeypatch.setattr("steadystack.planning.layout.read_available_memory", lambda: size)
    monkeypatch.setattr("steadystack.planning.forecast.read_available_memory", lambda: size)
    monkeypatch.setattr("steadystack.planning.layout.CPU_COUNT", cores)


def test_where_memory_is_little_tasks_get_smaller_and_workers_fewer(monkeypatch):
    frames, _ = drifting()
    found = []
    for size in (8000, 2000, 900, 700, 520):
        here(monkeypatch, size * MIB)
        setup, _ = opened(frames, cluster={"kind": "local"})
        plan = make_plan(setup)
        assert plan.workers * plan.worker_bytes <= 0.8 * plan.memory_bytes
        assert plan.workers * plan.worker_bytes + plan.own_bytes <= plan.memory_bytes
        assert plan.worker_bytes >= WORKER_BYTES + plan.task_bytes
        found.append((plan.workers, plan.task_bytes))
    workers, task_bytes = zip(*found, strict=True)
    assert workers == (4, 4, 4, 2, 1)
    assert list(task_bytes) == sorted(task_bytes, reverse=True)
    assert task_bytes[-1] < task_bytes[0] / 2


@pytest.mark.parametrize(
    ("cluster", "solve", "words"),
    [
        ({"kind": "local"}, {}, "lower register.max_shift"),
        ({"kind": "local", "threads_per_worker": 4}, {}, "lower cluster.threads_per_worker 4 or"),
        ({"kind": "local", "task_memory": "600 MiB"}, {}, "lower cluster.task_memory 600 MiB or"),
        ({"kind": "in-process"}, {"refine": 1}, "set solve.refine to 0"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_key_to_change(monkeypatch, cluster, solve, words):
    here(monkeypatch, OWN_BYTES + 10 * MIB)
    frames, _ = drifting(side=256)
    few = frames[:8] if solve else frames  # a task of all of them would need more than the pass
    setup, _ = opened(few, cluster=cluster, solve=solve)
    with pytest.raises(steadystack.InputError, match=words) as refused:
        count_fitting_workers(setup)
    assert f"{(OWN_BYTES + 10 * MIB) // MIB} MiB here" in str(refused.value)


def test_frames_of_several_blocks_are_not_held_whole_to_choose_a_model():
    frames = np.broadcast_to(np.zeros((1, 6000, 6000), "u1"), (4, 6000, 6000))
    auto, _ = opened(frames, motion={"model": "auto"})
    assert len(auto.method.search.blocks) > 1
    assert estimate_needs(auto).refine == 0
    small, _ = opened(frames[:, :100, :100], motion={"model": "auto"})
    rigid, _ = opened(frames[:, :100, :100], motion={"model": "rigid"})
    assert estimate_needs(small) == estimate_needs(rigid)


def test_the_forecast_counts_what_is_read_besides(tmp_path):
    frames, _ = drifting()
    plain = make_plan(opened(frames)[0])
    assert plain.further_bytes == 0
    assert plain.refine_bytes == 0
    polished = make_plan(opened(frames, solve={"refine": 2})[0])
    assert polished.further_bytes == 6 * frames.nbytes
    assert polished.refine_bytes > 13 * 64 * 128 * 128
    needs = estimate_needs(opened(frames, solve={"refine": 2})[0])
    assert polished.worker_bytes == WORKER_BYTES + max(needs.task, needs.refine)
    unasked = {"defects": None, "field_of_view": None}
    plain = make_plan(opened(frames, mask=unasked)[0])
    searched = opened(frames, mask=unasked | {"defects": "auto"})[0]
    of_search = estimate_search_bytes(len(frames), 128 * 128, frames.itemsize)
    assert make_plan(searched).own_bytes - plain.own_bytes == of_search > 12 * 11 * 128 * 128
    looked_for = opened(frames, mask=unasked | {"field_of_view": "auto"})[0]
    of_field = estimate_field_bytes(128 * 128, frames.itemsize)
    assert make_plan(looked_for).own_bytes - plain.own_bytes == of_field > 90 * 128 * 128
    settings = {"preprocess": {"fixed_pattern": "estimate"}, "mask": unasked}
    static = make_plan(opened(frames, **settings)[0])
    assert static.further_bytes == 12 * frames.nbytes
    assert static.own_bytes - plain.own_bytes >= estimate_fixed_pattern_bytes(128 * 128)
    lines = dict(polished.describe())
    assert "more" in lines["to read"]
    assert "MiB" in lines["refine task"]
    assert "MiB each, of" in lines["workers"]
    assert polished.dataset_bytes > 8 * 2 * (polished.frames + polished.pairs)
    assert "twice that with --overwrite" in lines["disk"]
