"""A scene that moves behind something that stands still, and wins."""

from __future__ import annotations

import numpy as np
import pytest

import steadystack
from support.scenes import Scene


@pytest.mark.parametrize("seed", [0, 4])
def test_a_scene_behind_a_display_that_wins_is_not_called_good(seed):
    """Blocks over 15 % of the frame stand still, some of them change; the scene drifts."""
    rng, scene = np.random.default_rng(seed), Scene(seed, detail=2.5)
    path = np.cumsum(rng.normal(0, 0.7, (30, 2)), axis=0)
    frames = np.array([scene.view((96, 120), at) for at in path])
    frames = frames / frames.std() + 0.3 * rng.normal(size=frames.shape)

    def enlarge(values):
        return np.kron(values, np.ones((8, 4)))

    shown, written = enlarge(rng.random((12, 30)) < 0.15) > 0, rng.random((12, 30))
    changing = rng.random((12, 30)) < 0.2
    for frame in frames:
        blocks = np.where(changing, rng.random((12, 30)), written)
        frame[shown] = 8 * enlarge(blocks)[shown] - 4
    shifts = steadystack.estimate_shifts(frames)
    assert np.abs(shifts.frame_shift - (path - path[0])).max() > 1
    assert shifts.attrs["verdict"] != "good"


@pytest.mark.parametrize("count", [3, 8])
def test_few_frames_of_a_scene_behind_something_that_wins_are_not_called_good(count):
    rng = np.random.default_rng(count)
    still, behind = Scene(1, detail=2.0).view((120, 132), (0, 0)), Scene(2, detail=3.0)
    path = np.cumsum(rng.normal(0, 2, (count, 2)), axis=0)
    noise = 0.1 * rng.normal(size=(count, *still.shape))
    frames = np.array([1.2 * still + behind.view(still.shape, at) for at in path]) + noise
    shifts = steadystack.estimate_shifts(frames)
    assert np.abs(shifts.frame_shift - (path - path[0])).max() > 1
    assert shifts.attrs["verdict"] != "good"
    assert "of the detail of a frame unexplained" in shifts.attrs["verdict_reasons"]
    # of the scene alone, all is explained
    frames = np.array([behind.view(still.shape, at) for at in path]) + noise
    assert steadystack.estimate_shifts(frames).attrs["verdict"] == "good"
