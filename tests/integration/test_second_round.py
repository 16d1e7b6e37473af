"""A second round of pairs: a series that falls apart is joined, and a strong one is not touched."""

from __future__ import annotations

import numpy as np
import pytest

import steadystack
from steadystack import quality, stages
from steadystack.config import load_config
from steadystack.dataset import load_shifts
from steadystack.model import NO_COMPONENT, InputError
from steadystack.outputs import write_stack
from steadystack.pairs import select_pairs
from steadystack.pairs.weak import CUT_PAIRS
from support.members import slow_but
from support.runs import note_reads
from support.scenes import Scene
from support.settings import write_run

COUNT, BAD = 24, (10, 11, 12)
AS_IT_IS = {"low_pass": None, "high_pass": None}
ALONE = {"max_shift": 16, "defects": None, "parts": None, "preprocess": AS_IT_IS}

pytestmark = pytest.mark.usefixtures("unchecked")


def broken_series(seed: int = 3):
    rng = np.random.default_rng(seed)
    shift = np.cumsum(rng.uniform(-1.5, 2, (COUNT, 2)), axis=0)
    shift -= shift[0]
    scene = Scene(2)
    frames = np.stack([scene.view((96, 96), at) for at in shift])
    for frame in BAD:
        frames[frame] = Scene(100 + frame).view((96, 96), (0, 0))
    frames = 1000 + 200 * (frames + rng.normal(0, 0.3, frames.shape))
    return frames.astype(np.uint16), shift


def settings_at(folder, **pairs):
    folder.mkdir(exist_ok=True)
    write_stack(folder / "stack.zarr", broken_series()[0])
    pairs = {"width": 3, **pairs}
    sections = {"mask": {"defects": None, "parts": None}, "preprocess": AS_IT_IS}
    return load_config(write_run(folder, register={"max_shift": 16}, pairs=pairs, **sections))


def test_a_series_that_falls_apart_is_joined():
    frames, shift = broken_series()
    options = {"strategy": "window", "width": 3}
    apart = steadystack.estimate_shifts(frames, pairs=options, **ALONE)
    joined = steadystack.estimate_shifts(frames, pairs={**options, "extra": 0.5}, **ALONE)
    assert int(apart["component"].max()) == 1
    assert int(joined["component"].max()) == 0
    good = np.setdiff1d(np.arange(COUNT), BAD)
    errors = joined["frame_shift"].to_numpy()[good] - shift[good]
    assert np.abs(errors).max() < 0.1
    assert set(np.flatnonzero(joined["component"] == NO_COMPONENT)) == set(BAD)
    first = apart.sizes["pair"]
    assert first < joined.sizes["pair"] <= 1.5 * first
    rows = slice(first)
    for name in ("pair_shift", "pair_ncc", "pair_moving"):
        np.testing.assert_array_equal(joined[name][rows], apart[name])
    across = (joined["pair_reference"] < BAD[0]) & (joined["pair_moving"] > BAD[-1])
    assert int(across.sum()) >= CUT_PAIRS


def test_a_strong_series_gets_no_second_round():
    frames, _ = broken_series()
    good = frames[: BAD[0]]
    found = steadystack.estimate_shifts(good, pairs={"width": 3, "extra": 1.0}, **ALONE)
    assert found.sizes["pair"] == len(select_pairs(len(good), "window", width=3))


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("at", "suffix"),
    slow_but([(72, ".zarr")], [(20, ".zarr"), (66, ".zarr"), (72, ".zarr"), (72, ".nc")]),
)
def test_a_run_stopped_in_either_round_goes_on_to_the_same_rows(tmp_path, monkeypatch, at, suffix):
    monkeypatch.setattr("steadystack.measure.budget.TASK_PIXELS", 1e5)  # some pairs are a task
    config = settings_at(tmp_path / "one", extra=0.4)
    output = config.output.model_copy(update={"shifts": str(tmp_path / f"one/shifts{suffix}")})
    config = config.model_copy(update={"output": output})
    whole = stages.run(settings_at(tmp_path / "two", extra=0.4))
    assert at < whole.sizes["pair"]

    def stop(done, total):
        if done >= at:
            raise Stopped

    with pytest.raises(Stopped):
        stages.run(config, progress=stop)
    left = load_shifts(config.output.shifts)
    resumed = stages.run(config)
    assert left.attrs["fingerprint"] == resumed.attrs["fingerprint"]
    for name in whole.data_vars:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=str(name))
    assert quality.verdict(resumed) == quality.verdict(whole)


def test_a_second_round_can_be_asked_for_later(tmp_path, monkeypatch):
    without_it = stages.run(settings_at(tmp_path))
    config = settings_at(tmp_path, extra=0.4)
    with_it = stages.run(config)
    assert with_it.sizes["pair"] > without_it.sizes["pair"]
    assert with_it.attrs["fingerprint"] == without_it.attrs["fingerprint"]
    assert not (tmp_path / ".shifts.zarr.steadystack").exists()
    read = note_reads(monkeypatch)
    again = stages.measure(config)
    assert len(read) == 3  # whether they are the same still
    assert again.sizes["pair"] == with_it.sizes["pair"]
    assert stages.plan(config).extra_pairs == np.ceil(0.4 * without_it.sizes["pair"])


def test_a_budget_is_no_negative_number():
    with pytest.raises(InputError, match=r"pairs\.extra"):
        steadystack.estimate_shifts(broken_series()[0], max_shift=16, pairs={"extra": -0.1})
