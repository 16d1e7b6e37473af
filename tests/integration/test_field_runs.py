"""Runs on frames part of which shows no scene: found before measuring, told, left out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from steadystack import estimate_shifts, open_stack, stages
from steadystack.model import InputError, Pilot
from steadystack.outputs import write_stack
from steadystack.planning import open_series, set_up
from steadystack.stages.measuring import recall_settings
from support.members import slow_but
from support.round_field import round_series
from support.scenes import Scene, assert_same_numbers, compute_error
from support.settings import window_config


def find_field(shifts):
    return Pilot.parse(shifts.attrs["pilot"]).field_of_view


ROUND = [range(1, 2), range(1, 4), range(300, 360)]


@pytest.mark.parametrize("seeds", slow_but(ROUND[:1], ROUND))
def test_the_edge_of_a_round_field_no_longer_pulls(seeds, hurried):
    before, after, ratios, left_out = [], [], [], 0
    for seed in seeds:
        frames, truth, _ = round_series(seed)
        pulled = estimate_shifts(frames, field_of_view=None)
        found = estimate_shifts(frames)
        before.append(compute_error(pulled, truth))
        after.append(compute_error(found, truth))
        ratios.append(after[-1] / np.sqrt(2) / float(np.nanmedian(found["frame_shift_std"])))
        if find_field(found).boxes:
            left_out += 1
            assert "field_of_view" in found.attrs["verdict_reasons"]
    assert left_out >= 0.6 * len(seeds)
    assert np.median(after) < 0.5 * np.median(before)
    assert np.quantile(after, 0.9) < 0.3
    assert np.median(ratios) < 2


@pytest.mark.parametrize("seeds", slow_but([range(2)], [range(2), range(300, 360)]))
def test_of_a_scene_that_fills_the_frame_nothing_is_left_out(seeds, hurried):
    left_out = 0
    for seed in seeds:
        frames, _, _ = round_series(seed, outside=False)
        found = estimate_shifts(frames)
        left_out += bool(find_field(found).boxes)
    assert left_out <= 0.05 * len(seeds)


def test_hot_pixels_within_a_round_field_are_found(hurried):
    frames, truth, seen = round_series(6)
    hot = np.zeros_like(seen)
    hot[tuple(np.random.default_rng(0).integers(30, 100, (2, 12)))] = True
    assert seen[hot].all()
    found = estimate_shifts(frames + 6 * hot.astype(np.float32))
    assert find_field(found).boxes
    defects = Pilot.parse(found.attrs["pilot"]).defects
    assert set(np.flatnonzero(hot)) == set(defects.pixels)
    assert compute_error(found, truth) < 0.1


def test_an_object_on_an_empty_ground_is_measured(hurried):
    rng, texture = np.random.default_rng(3), Scene(1, 2, 2.0)
    path, frames = rng.integers(-3, 4, (8, 2)), []
    for y, x in path:
        frame = np.zeros((128, 128))
        frame[54 + y : 74 + y, 54 + x : 74 + x] = 1000 + 200 * texture.view((20, 20), (0, 0))
        frames.append(frame)
    found = estimate_shifts(np.array(frames, np.uint16))
    assert not find_field(found).boxes
    assert compute_error(found, -(path - path[0])) < 0.1


def test_a_dataset_of_before_that_had_nothing_to_decide_is_gone_on_with(tmp_path, unchecked):
    write_stack(tmp_path / "stack.zarr", round_series(1)[0])
    mask, filters = {"defects": None, "parts": None}, {"low_pass": None, "high_pass": None}
    old = window_config(tmp_path, mask={"field_of_view": None, **mask}, preprocess=filters)
    new = window_config(tmp_path, mask=mask, preprocess=filters)
    stages.measure(old)
    with xr.open_zarr(old.output.shifts) as stored:
        before = stored.load()
    assert "pilot" not in before.attrs
    setup = set_up(new, open_series(new)[0])
    group = zarr.open_group(old.output.shifts, mode="r+")
    group.attrs["fingerprint"] = new.fingerprint(setup.series.digest)
    recalled = recall_settings(setup)
    assert recalled.pilot == Pilot()
    assert recalled.series.digest == setup.series.digest


def test_every_stage_goes_by_the_field_of_view(tmp_path, hurried, no_figures, caplog):
    frames, truth, _ = round_series(1)
    write_stack(tmp_path / "stack.zarr", frames)
    outputs = {"shifts": "shifts.zarr", "report": "page.html", "corrected": "corrected.zarr"}
    config = window_config(tmp_path, output=outputs)
    with caplog.at_level("INFO"):
        measured = stages.measure(config)
    field = find_field(measured)
    assert field.boxes
    assert f"pilot: {field.describe()}" in caplog.text
    solved = stages.solve(config)
    assert compute_error(solved, truth) < 0.1
    stages.report(config)
    page = (tmp_path / "page.html").read_text()
    assert page.count('<div class="unseen"><i style="top: 0.00%') > 0
    assert "shows no scene" in page
    stages.correct(config)
    corrected = open_stack(tmp_path / "corrected.zarr")  # what lies outside is in it
    assert np.isfinite(corrected[0].to_numpy()).mean() > 0.95
    in_memory = estimate_shifts(frames, max_shift=32, pairs={"strategy": "window", "width": 3})
    np.testing.assert_array_equal(in_memory["frame_shift"], solved["frame_shift"])
    with pytest.raises(InputError, match=r"mask\.field_of_view"):
        stages.solve(window_config(tmp_path, mask={"field_of_view": None}))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_gives_the_same_numbers_bit_for_bit(tmp_path, hurried, workers):
    write_stack(tmp_path / "stack.zarr", round_series(1)[0])
    here = stages.run(window_config(tmp_path))
    cluster = {"kind": "local", "workers": workers}
    away = {"output": {"shifts": "away.zarr"}, "cluster": cluster}
    assert_same_numbers(stages.run(window_config(tmp_path, **away)), here)
