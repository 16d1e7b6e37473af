"""Runs on frames parts of which go their own way: found before measuring, told, left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steadystack import correct, estimate_shifts, open_stack, quality, stages
from steadystack.checks import find_what_to_leave_out
from steadystack.model import InputError, Pilot, Trust
from steadystack.outputs import write_stack
from steadystack.planning import open_series, set_up
from support.covered import covered_series
from support.members import slow_but
from support.scenes import assert_same_numbers, compute_error
from support.settings import window_config

# All else that a pilot looks for is set, and has tests of its own.
AS_IT_IS = {"low_pass": None, "high_pass": None}
ALONE = {"max_shift": 32, "defects": None, "preprocess": AS_IT_IS}


def settings(folder, **sections):
    usual = {"mask": {"defects": None}, "preprocess": AS_IT_IS}
    return window_config(folder, **usual | sections)


def find_parts(shifts):
    """What was found; None where nothing was to be decided."""
    return Pilot.parse(shifts.attrs["pilot"]).parts if "pilot" in shifts.attrs else None


@pytest.mark.parametrize("cover", slow_but(["label"], ["object", "label"]))
@pytest.mark.parametrize("seeds", slow_but([range(2, 3)], [range(2, 3), range(100, 120)]))
def test_what_goes_its_own_way_no_longer_pulls(cover, seeds, hurried):
    """Nearly always: some of an object is left where it passes through the rest of the frame.

    Where too little is left without it, it is told.
    """
    gains, errors, stated = [], [], []
    for seed in seeds:
        frames, truth = covered_series(seed, cover)
        found = estimate_shifts(frames, **ALONE)
        pulled = estimate_shifts(frames, parts=None, **ALONE)
        assert find_parts(pulled) is None
        if find_parts(found) is None or not find_parts(found).boxes:
            assert (
                quality.verdict(found).trust is not Trust.GOOD or compute_error(found, truth) < 0.1
            )
            continue
        assert "parts_not_used" in found.attrs["verdict_reasons"]
        gains.append(compute_error(found, truth) / compute_error(pulled, truth))
        errors.append(compute_error(found, truth) / np.sqrt(2))
        stated.append(float(np.nanmedian(found["frame_shift_std"])))
    assert len(gains) > 0.7 * len(seeds)
    assert np.nanmedian(gains) < 0.4
    assert np.median(errors) < 0.06
    assert np.mean(np.array(errors) < 2 * np.array(stated)) > 0.8


@pytest.mark.parametrize("seed", slow_but([200], range(200, 212)))
def test_a_label_by_which_all_stands_still_is_left_out(seed, hurried):
    frames, truth = covered_series(seed, "label", 0.2, contrast=12)
    found = estimate_shifts(frames, **ALONE)
    parts = find_parts(found)
    assert parts.still
    assert len(parts.boxes) == 4
    assert "everything stands still because of 4 of 9 (middle left, middle" in parts.describe()
    assert compute_error(found, truth) < 2 * float(np.median(found["frame_shift_std"])) < 0.1
    pulled = estimate_shifts(frames, parts=None, **ALONE)
    assert compute_error(pulled, truth) > 1


@pytest.mark.slow
def test_a_label_without_which_nothing_is_found_is_not_trusted():
    frames, truth = covered_series(0, "label", 0.06, side=150, noise=8, contrast=40)
    found = estimate_shifts(frames, **ALONE | {"max_shift": 16})
    parts = find_parts(found)
    assert parts.still
    assert not parts.boxes
    assert parts.names == "bottom left"
    assert "without which hardly any pair has a shift" in parts.describe()
    assert compute_error(found, truth) > 1
    verdict = quality.verdict(found)
    assert verdict.trust is Trust.UNRELIABLE
    assert sum("bottom left" in reason for reason in verdict.reasons) == 1


@pytest.mark.parametrize("seed", slow_but([7], range(60)))
def test_of_a_scene_that_stands_still_nothing_is_left_out(seed, hurried):
    frames, _ = covered_series(seed, "nothing", noise=0.1)
    noise = [20, 100, 400][seed % 3] * np.random.default_rng(seed).normal(size=frames.shape)
    still = (frames[:1] + noise).astype("f4")
    parts = find_parts(estimate_shifts(still, **ALONE | {"max_shift": 16}))
    assert not parts.boxes
    assert not parts.still


@pytest.mark.parametrize("seed", slow_but([0], range(60)))
def test_of_a_scene_that_goes_together_nothing_is_left_out(tmp_path, seed):
    frames, _ = covered_series(seed, "nothing", noise=[0.1, 0.5, 2.0][seed % 3])
    write_stack(tmp_path / "stack.zarr", frames)
    config = settings(tmp_path)
    parts = find_what_to_leave_out(set_up(config, open_series(config)[0])).parts
    assert not parts.boxes
    assert parts.frames == 16
    assert parts.of == 9


def test_every_stage_goes_by_the_parts_that_were_found(tmp_path, hurried, no_figures, caplog):
    frames, truth = covered_series(3, "label", 0.08, frames=12)
    write_stack(tmp_path / "stack.zarr", frames)
    with caplog.at_level("INFO"):
        measured = stages.measure(settings(tmp_path))
    parts = find_parts(measured)
    assert f"pilot: {parts.describe()}" in caplog.text
    assert "bottom left" in parts.names
    outputs = {"shifts": "shifts.zarr", "report": "page.html", "corrected": "corrected.zarr"}
    solved = stages.solve(settings(tmp_path, output=outputs))
    assert compute_error(solved, truth) < 0.1
    assert quality.verdict(solved).trust is Trust.GOOD
    stages.report(settings(tmp_path, output=outputs))
    page = (tmp_path / "page.html").read_text()
    assert f"({parts.names}" in page
    assert (
        'class="left-out" style="top: 66.67%; height: 33.33%; left: 0.00%; width: 33.33%"' in page
    )
    stages.correct(settings(tmp_path, output=outputs))
    corrected = open_stack(tmp_path / "corrected.zarr")  # the label is in it
    np.testing.assert_allclose(corrected, correct(open_stack(tmp_path / "stack.zarr"), solved))
    in_memory = estimate_shifts(frames, pairs={"strategy": "window", "width": 3}, **ALONE)
    np.testing.assert_array_equal(in_memory["frame_shift"], solved["frame_shift"])
    off = stages.run(settings(tmp_path, mask={"parts": None}, output={"shifts": "off.zarr"}))
    assert find_parts(off) is None
    assert off.attrs["fingerprint"] != solved.attrs["fingerprint"]
    for shifts, setting in (("shifts.zarr", None), ("off.zarr", "auto")):
        mask = {"parts": setting} | ({"defects": None} if setting else {})
        other = settings(tmp_path, mask=mask, output={"shifts": shifts})
        for stage in (stages.run, stages.solve):
            with pytest.raises(InputError, match=r"mask\.parts"):
                stage(other)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_gives_the_same_numbers_bit_for_bit(tmp_path, hurried, workers):
    frames, _ = covered_series(3, "label", 0.08, frames=12)
    write_stack(tmp_path / "stack.zarr", frames)
    here = stages.run(settings(tmp_path))
    assert find_parts(here).boxes
    there = stages.run(
        settings(
            tmp_path,
            output={"shifts": "there.zarr"},
            cluster={"kind": "local", "workers": workers, "task_memory": "10 MiB"},
        )
    )
    assert_same_numbers(here, there)
    assert here.attrs["fingerprint"] == there.attrs["fingerprint"]


@pytest.mark.parametrize(
    "made", [{"frames": 11}, {"side": 66}], ids=["few frames", "frames that are small"]
)
def test_what_is_too_little_to_tell_is_not_looked_at(tmp_path, made):
    write_stack(tmp_path / "stack.zarr", covered_series(3, "label", **made)[0])
    config = settings(tmp_path)
    assert find_what_to_leave_out(set_up(config, open_series(config)[0])).parts is None


def test_boxes_that_do_not_fit_are_no_outcome(tmp_path, hurried):
    found = estimate_shifts(covered_series(3, "label", 0.08, frames=12)[0], **ALONE)
    values = json.loads(found.attrs["pilot"])
    assert Pilot.parse(json.dumps(values)).parts == find_parts(found)
    values["parts"]["boxes"] = [["a", 1]]
    with pytest.raises(ValueError, match="not the outcome of a pilot"):
        Pilot.parse(json.dumps(values))
