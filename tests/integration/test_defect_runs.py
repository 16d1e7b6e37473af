"""Runs on frames of a camera with defects: found, told, left out, the same in every stage."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from steadystack import correct, estimate_shifts, open_stack, quality, stages
from steadystack.model import InputError, Pilot, Trust
from steadystack.outputs import write_stack
from steadystack.planning import open_series, set_up
from steadystack.survey import find_defects
from support.defective import defective_series, lined_series
from support.members import slow_but
from support.scenes import Scene, assert_same_numbers, compute_error
from support.settings import window_config

# All else that a pilot looks for is set, and has tests of its own.
FILTERS = {"low_pass": 1.0, "high_pass": None}
ALONE = {"max_shift": 32, "field_of_view": None, "parts": None, "preprocess": FILTERS}


def settings(folder, **sections):
    usual = {"mask": {"field_of_view": None, "parts": None}, "preprocess": FILTERS}
    return window_config(folder, **usual | sections)


@pytest.mark.parametrize("seed", slow_but([4], range(30)))
def test_defects_no_longer_hold_shifts_back(seed, hurried):
    frames, truth, pixels = defective_series(seed)
    found = estimate_shifts(frames, **ALONE)
    defects = Pilot.parse(found.attrs["pilot"]).defects
    assert np.isin(pixels, defects.pixels).mean() > 0.9
    stated = float(np.nanmedian(found["frame_shift_std"]))
    assert compute_error(found, truth) < 2 * stated < 0.6
    assert quality.verdict(found).trust is Trust.GOOD


FRAMES = 20  # of the series that all stages go through


def test_every_stage_goes_by_the_defects_that_were_found(tmp_path, unchecked, no_figures, caplog):
    frames, truth, _ = defective_series(0, frames=FRAMES)
    write_stack(tmp_path / "stack.zarr", frames)
    with caplog.at_level("INFO"):
        measured = stages.measure(settings(tmp_path))
    defects = Pilot.parse(measured.attrs["pilot"]).defects
    assert f"pilot: {defects.describe()}" in caplog.text
    assert f"{len(defects.pixels)} pixels stand out wherever" in defects.describe()
    outputs = {"shifts": "shifts.zarr", "report": "page.html", "corrected": "corrected.zarr"}
    solved = stages.solve(settings(tmp_path, output=outputs))
    assert compute_error(solved, truth) < 0.1
    stages.report(settings(tmp_path, output=outputs))
    assert defects.describe() in (tmp_path / "page.html").read_text()
    stages.correct(settings(tmp_path, output=outputs))
    corrected = open_stack(tmp_path / "corrected.zarr")
    np.testing.assert_allclose(corrected, correct(open_stack(tmp_path / "stack.zarr"), solved))
    assert_filled(frames, solved, tmp_path)
    in_memory = estimate_shifts(frames, pairs={"strategy": "window", "width": 3}, **ALONE)
    np.testing.assert_array_equal(in_memory["frame_shift"], solved["frame_shift"])
    off = settings(
        tmp_path,
        mask={"defects": None, "field_of_view": None, "parts": None},
        output={"shifts": "off.zarr"},
    )
    held_back = stages.run(off)
    assert compute_error(held_back, truth) > 2 * compute_error(solved, truth)
    assert "pilot" not in held_back.attrs
    assert held_back.attrs["fingerprint"] != solved.attrs["fingerprint"]
    for shifts, defects in (("shifts.zarr", None), ("off.zarr", "auto")):
        mask = {"defects": defects, "field_of_view": None, "parts": None}
        other = settings(tmp_path, mask=mask, output={"shifts": shifts})
        for stage in (stages.run, stages.solve):
            with pytest.raises(InputError, match=r"mask\.defects"):
                stage(other)


def assert_filled(frames, solved, folder):
    """The corrected stack with defects filled in: written as the lazy one, and not called known."""
    _, _, pixels = defective_series(0, frames=FRAMES)
    filling = settings(
        folder, correct={"invalid": "fill"}, output={"corrected": str(folder / "filled.zarr")}
    )
    stages.correct(filling)
    filled, valid = (np.array(open_stack(folder / "filled.zarr")), read_valid(folder))
    lazy = correct(open_stack(folder / "stack.zarr"), solved, invalid="fill")
    np.testing.assert_allclose(filled, lazy, atol=1e-2)
    as_it_is = np.array(correct(frames, solved))
    shown = np.zeros((len(frames), frames[0].size), bool)
    shown[:, np.intersect1d(pixels, Pilot.parse(solved.attrs["pilot"]).defects.pixels)] = True
    moved = np.array(
        correct(shown.reshape(frames.shape), solved, interpolation="nearest", fill_value=0)
    )
    clean = np.array(correct(defective_series(0, count=0, frames=FRAMES)[0], solved))
    seen = np.isfinite(filled) & moved
    off_filled, off_as_it_is = (
        np.median(np.abs(image - clean)[seen]) for image in (filled, as_it_is)
    )
    assert off_filled < 0.5 * off_as_it_is
    assert off_filled < clean[seen].std()
    assert not valid[moved].any()
    assert valid.mean() > 0.5


def read_valid(folder):
    return zarr.open_group(folder / "filled.zarr", mode="r")["valid"][:]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_gives_the_same_numbers_bit_for_bit(tmp_path, unchecked, workers):
    frames, _, pixels = defective_series(1, frames=24)
    write_stack(tmp_path / "stack.zarr", frames)
    here = stages.run(settings(tmp_path))
    assert len(Pilot.parse(here.attrs["pilot"]).defects.pixels) >= len(pixels) - 1
    there = stages.run(
        settings(
            tmp_path,
            output={"shifts": "there.zarr"},
            cluster={"kind": "local", "workers": workers, "task_memory": "10 MiB"},
        )
    )
    assert_same_numbers(here, there)
    assert here.attrs["fingerprint"] == there.attrs["fingerprint"]


@pytest.mark.parametrize("seeds", slow_but([range(1, 2)], [range(1, 2), range(30)]))
def test_rows_and_columns_of_the_camera_no_longer_hold_shifts_back(seeds, hurried):
    ratios = []
    for seed in seeds:
        frames, truth, _, _ = lined_series(seed)
        found = estimate_shifts(frames)
        stated = float(np.nanmedian(found["frame_shift_std"]))
        ratios.append(compute_error(found, truth) / stated)  # of the length: 1.4 is to be expected
        assert stated < 0.2
        assert quality.verdict(found).trust is Trust.GOOD
    assert np.quantile(ratios, 0.9) < 2
    assert max(ratios) < 3


@pytest.mark.slow
def test_every_stage_goes_by_the_lines_that_were_found(tmp_path, unchecked, no_figures, caplog):
    frames, truth, rows, _ = lined_series(5, frames=24)
    frames = np.rint(frames).astype("u2")
    write_stack(tmp_path / "stack.zarr", frames)
    with caplog.at_level("INFO"):
        measured = stages.measure(settings(tmp_path))
    lines = Pilot.parse(measured.attrs["pilot"]).lines
    assert len(lines.rows) == len(rows)
    assert f"pilot: {lines.describe()}" in caplog.text
    outputs = {"shifts": "shifts.zarr", "report": "page.html", "corrected": "corrected.zarr"}
    solved = stages.solve(settings(tmp_path, output=outputs))
    assert compute_error(solved, truth) < 0.1
    stages.report(settings(tmp_path, output=outputs))
    assert lines.describe() in (tmp_path / "page.html").read_text()
    stages.correct(settings(tmp_path, output=outputs))
    corrected = open_stack(tmp_path / "corrected.zarr")
    np.testing.assert_allclose(corrected, correct(open_stack(tmp_path / "stack.zarr"), solved))
    in_memory = estimate_shifts(frames, pairs={"strategy": "window", "width": 3}, **ALONE)
    np.testing.assert_array_equal(in_memory["frame_shift"], solved["frame_shift"])
    there = stages.run(
        settings(
            tmp_path,
            output={"shifts": "there.zarr"},
            cluster={"kind": "local", "workers": 2, "task_memory": "10 MiB"},
        )
    )
    assert_same_numbers(solved, there)
    assert solved.attrs["fingerprint"] == there.attrs["fingerprint"]
    off = {
        "mask": {"defects": None, "field_of_view": None, "parts": None},
        "output": {"shifts": "off.zarr"},
    }
    off = stages.run(settings(tmp_path, **off))
    assert "pilot" not in off.attrs
    assert compute_error(off, truth) > 2 * compute_error(solved, truth)


def look(folder, frames):
    write_stack(folder / "stack.zarr", frames)
    config = settings(folder)
    return find_defects(set_up(config, open_series(config)[0]))


@pytest.mark.parametrize(
    ("made", "too_many", "words"),
    [({"rate": 0.03}, False, "moves too little"), ({"count": 600}, True, "too many for defects")],
    ids=["a scene that stands still", "a pattern of many pixels"],
)
def test_where_nothing_can_be_said_nothing_is_left_out(tmp_path, made, too_many, words):
    found = look(tmp_path, defective_series(2, **made)[0])
    assert found.outstanding
    assert found.too_many == too_many
    assert not found.pixels
    assert words in found.describe()


def test_each_channel_has_defects_of_its_own(tmp_path):
    """Those of a second channel held its shifts back, which then told of more than there was."""
    frames, truth, pixels = defective_series(4, count=12, side=64)
    rng, scene = np.random.default_rng(4), Scene(40)
    others = np.stack([scene.view((64, 64), shift) for shift in truth])
    others = others / others.std() + 0.5 * rng.normal(size=others.shape)
    own = rng.choice(64 * 64, 12, replace=False)
    others.reshape(len(frames), -1)[:, own] += 8 * rng.choice([-1, 1], 12)
    stack = np.stack([frames, (500 + 30 * others).astype("f4"), frames], axis=1)
    write_stack(tmp_path / "stack.zarr", stack, axes="tcyx")
    config = settings(tmp_path, input={"path": "stack.zarr", "channel": [2, 1]})
    found = find_defects(set_up(config, open_series(config)[0]))
    expected = np.union1d(own, pixels)
    assert np.isin(expected, found.pixels).mean() > 0.9
    assert np.isin(found.pixels, expected).mean() > 0.9
    assert f"{len(found.pixels)} pixels stand out wherever" in found.describe()
    alone = settings(tmp_path, input={"path": "stack.zarr", "channel": 2})
    of_one = find_defects(set_up(alone, open_series(alone)[0]))
    assert set(of_one.pixels) == set(found.pixels) - set(own.tolist())


def test_of_a_long_way_a_shorter_time_tells(tmp_path):
    frames, _, pixels = defective_series(6, rate=2.5, frames=120)
    found = look(tmp_path, frames)
    assert np.isin(pixels, found.pixels).mean() > 0.9


def test_few_frames_are_not_looked_at(tmp_path):
    assert look(tmp_path, defective_series(2, frames=11)[0]) is None
