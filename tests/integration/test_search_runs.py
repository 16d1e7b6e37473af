"""Searches that bound themselves, and that are widened where a pair has no shift."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steadystack import estimate_shifts, stages
from steadystack.config import make_config
from steadystack.model import InputError, PairStatus
from steadystack.ncc import tiles
from steadystack.outputs import write_stack
from steadystack.quality import verdict
from support.members import slow_but
from support.scenes import Scene

SHAPE, COUNT, JUMP = (100, 110), 14, np.array([21.0, -17.0])


@pytest.fixture(scope="module")
def path():
    """A slow drift, with a jump behind the eighth frame."""
    steps = np.random.default_rng(2).normal(0, 0.7, (COUNT, 2))
    steps[0], steps[8] = 0, JUMP
    return np.cumsum(steps, axis=0)


@pytest.fixture(scope="module")
def frames(path):
    scene = Scene(3, detail=3.0)
    clean = np.array([scene.view(SHAPE, where) for where in path])
    return (clean + np.random.default_rng(4).normal(0, 0.4, clean.shape)).astype("f4")


@pytest.fixture
def folder(tmp_path, frames, unchecked):
    write_stack(tmp_path / "stack.zarr", frames)
    return tmp_path


def settings(folder, shifts="shifts.zarr", kind="in-process", **register):
    return make_config(
        {
            "input": {"path": "stack.zarr"},
            "mask": {"defects": None, "field_of_view": None, "parts": None},
            "preprocess": {"low_pass": None, "high_pass": None},
            "register": register,
            "pairs": {"width": 2},
            "output": {"shifts": shifts},
            "cluster": {"kind": kind} | ({} if kind == "in-process" else {"workers": 2}),
        },
        folder,
    )


def rms(found, path):
    error = found["frame_shift"].to_numpy() - path
    return float(np.sqrt(np.mean(error**2)))


def test_a_jump_beyond_the_search_is_found_where_it_is_widened(folder, path):
    narrow = stages.run(settings(folder, "narrow.zarr", max_shift=8))
    assert str(verdict(narrow).trust) == "unreliable"
    wide = stages.run(settings(folder, "wide.zarr", max_shift=8, widen=True))
    assert rms(wide, path) < 0.1
    every = stages.run(settings(folder, "every.zarr", max_shift=None))
    assert (wide["pair_status"] == PairStatus.OK.code).all()
    np.testing.assert_allclose(wide["pair_shift"], every["pair_shift"], atol=1e-3)
    crosses = (wide["pair_reference"] < 8) & (wide["pair_moving"] >= 8)
    widened, same = (data["pair_shift"].to_numpy()[crosses] for data in (wide, every))
    np.testing.assert_array_equal(widened, same)
    assert np.isnan(narrow["pair_shift"].to_numpy()[crosses]).all()


@pytest.mark.parametrize("kind", slow_but(["in-process"], ["in-process", "local"]))
def test_the_default_bounds_itself_and_decides_once(folder, path, kind, monkeypatch):
    found = stages.run(settings(folder, kind=kind))
    reach = json.loads(found.attrs["pilot"])["reach"]
    assert (np.array(reach["bounds"]) >= np.abs(JUMP)).all()
    assert reach["widen"]
    used = json.loads(found.attrs["configuration"])["register"]
    assert used["max_shift"] == reach["bounds"]
    assert rms(found, path) < 0.1
    monkeypatch.setattr("steadystack.stages.measuring.find_reach", None)
    again = stages.run(settings(folder, kind=kind))
    assert again.attrs["fingerprint"] == found.attrs["fingerprint"]
    by_hand = stages.run(settings(folder, "by-hand.zarr", max_shift=reach["bounds"], widen=True))
    assert by_hand.attrs["fingerprint"] == found.attrs["fingerprint"]
    for name in found.variables:
        assert found[name].to_numpy().tobytes() == by_hand[name].to_numpy().tobytes(), name


@pytest.mark.slow
def test_in_memory_it_is_the_same(frames, path):
    options = {"defects": None, "parts": None, "pairs": {"width": 2}}
    off = {"low_pass": None, "high_pass": None}
    bounded = estimate_shifts(frames, preprocess=off, **options)
    every = estimate_shifts(frames, preprocess=off, max_shift=None, **options)
    assert rms(bounded, path) < 0.1
    np.testing.assert_allclose(bounded["frame_shift"], every["frame_shift"], atol=1e-3)


def test_frames_of_several_blocks_are_not_widened(folder, monkeypatch):
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 4000)
    with pytest.raises(InputError, match=r"register\.widen needs frames that fit into one block"):
        stages.plan(settings(folder, max_shift=8, widen=True))


def test_a_plan_says_that_it_is_open(folder):
    assert "auto" in dict(stages.plan(settings(folder)).describe())["max_shift"]
    assert "auto" not in dict(stages.plan(settings(folder, max_shift=8)).describe())["max_shift"]
