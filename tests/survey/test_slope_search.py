"""What stands still beside a scene that moves by little, in whole series."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steadystack import estimate_shifts
from support.members import slow_but
from support.scenes import Scene

SHAPE, COUNT = (96, 104), 20


def make(seed, grain, size=0.6):
    """A walk of some tenths of a pixel before grain of the camera, and its shifts."""
    rng = np.random.default_rng(seed)
    scene = Scene(seed, detail=rng.uniform(2, 4), waves=100)
    shifts = np.cumsum(rng.normal(0, size / np.sqrt(COUNT), (COUNT, 2)), axis=0)
    pattern = grain * Scene(seed + 99, detail=1.5, waves=100).view(SHAPE, (0, 0))
    frames = np.stack([scene.view(SHAPE, shift) for shift in shifts]) + pattern
    return frames + rng.normal(0, 0.1, frames.shape), shifts - shifts[0]


def measure(frames):
    found = estimate_shifts(frames, max_shift=8, defects=None, parts=None, field_of_view=None)
    return found, json.loads(found.attrs["fixed_pattern_effect"])


@pytest.mark.parametrize("seed", slow_but([1], [1, 2, 3, 4]))
def test_shifts_that_grain_holds_back_are_reported_with_their_share(seed):
    frames, truth = make(seed, 0.3)
    found, effect = measure(frames)
    shift = found["frame_shift"].to_numpy()
    kept = (shift * truth).sum() / (truth**2).sum()
    assert kept < 0.9
    assert effect["certain"]
    assert effect["with_it"] / effect["without_it"] == pytest.approx(kept, abs=0.06)
    errors, std = shift[1:] - truth[1:], found["frame_shift_std"].to_numpy()[1:]
    assert np.sqrt(np.mean((errors / std) ** 2)) < 1.6
    codes = [reason["code"] for reason in json.loads(found.attrs["verdict_reasons"])]
    assert "fixed_pattern" in codes


@pytest.mark.parametrize("seed", slow_but([5], [5, 6, 7, 8, 9]))
def test_a_scene_alone_is_not_held_back(seed):
    found, effect = measure(make(seed, 0.0)[0])
    assert found.attrs["verdict"] == "good"
    assert effect["with_it"] / effect["without_it"] > 0.95 or not effect["certain"]
