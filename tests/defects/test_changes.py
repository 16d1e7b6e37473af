"""What changes in a series at rest: a scene behind something, or what makes no other scene."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.defects import compare_changes
from support.scenes import Scene

SHAPE = (96, 120)


def level(frames):
    return (frames - frames.mean(axis=(1, 2), keepdims=True)).astype(np.float32)


def rest(seed, count=16):
    """A scene that trembles by 0.05 px."""
    rng, scene = np.random.default_rng(seed), Scene(seed, detail=2.0)
    return np.array([scene.view(SHAPE, at) for at in rng.normal(0, 0.05, (count, 2))]), rng


def compare(frames, valid=None):
    return compare_changes(level(frames), np.ones(SHAPE, bool) if valid is None else valid)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "change", ["nothing", "contrast", "focus", "lamp", "rows", "an object", "a bad frame"]
)
def test_what_makes_no_other_scene_is_no_change(seed, change):
    frames, rng = rest(seed)
    times = np.linspace(0, 1, len(frames))[:, None, None]
    if change == "contrast":
        frames *= 1 - 0.6 * times
    elif change == "focus":
        widths = np.linspace(0, 1, len(frames))
        frames = np.array(
            [ndimage.gaussian_filter(f, w) for f, w in zip(frames, widths, strict=True)]
        )
    elif change == "lamp":
        frames += 3 * times * np.linspace(-1, 1, SHAPE[1]) ** 2
    elif change == "rows":
        frames += rng.normal(0, 0.5, (len(frames), SHAPE[0], 1))
    elif change == "an object":
        for number, frame in enumerate(frames):
            frame[10:35, 4 * number : 4 * number + 25] = 4
    elif change == "a bad frame":
        frames[5] = 5 * rng.normal(size=SHAPE)
    assert compare(frames + rng.normal(0, 0.5, frames.shape)) < 0.05


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_a_scene_that_moves_behind_something_changes(noise):
    still, rng = rest(1)
    scene = Scene(2, detail=2.0)
    path = np.cumsum(rng.normal(0, 3, (len(still), 2)), axis=0)
    moving = np.array([scene.view(SHAPE, at) for at in path])
    frames = still + 0.5 * moving + rng.normal(0, noise, still.shape)
    expected = np.var(0.5 * moving - 0.5 * moving.mean(axis=0)) / np.var(frames.mean(axis=0))
    assert 0.06 < expected / 2 < compare(frames) < 1.5 * expected


def test_pixels_that_are_not_valid_have_no_say():
    frames, rng = rest(3)
    valid = np.ones(SHAPE, bool)
    valid[:, 60:] = False
    found = compare(frames[:, :, :], valid)
    frames[:, ~valid] = rng.normal(0, 9, (len(frames), 96 * 60))
    levelled = frames - frames[:, valid].mean(axis=1)[:, None, None]
    assert compare_changes(levelled.astype(np.float32), valid) == pytest.approx(found, abs=0.01)
    assert compare(frames, np.zeros(SHAPE, bool)) == 0


def test_few_rows_are_looked_at_along_the_others():
    frames, rng = rest(4)
    rows = frames[:, 40:42] + rng.normal(0, 0.1, (16, 2, 120))
    assert 0 <= compare_changes(level(rows), np.ones((2, 120), bool)) < 0.5
