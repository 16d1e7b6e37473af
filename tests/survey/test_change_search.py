"""Scenes behind something that stands still and wins; recordings that skip what hardly changes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack.readers import ArrayFrames
from steadystack.survey import measure_repeats
from support.members import slow_but
from support.scenes import Scene


@pytest.mark.parametrize("seed", slow_but([4], [0, 4]))
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


@pytest.mark.parametrize("count", slow_but([3], [3, 8]))
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


def skip_blocks(frames, least):
    """Frames of which blocks of 8 x 8 that change by less (rms) are those of the frame before."""
    kept = [frames[0]]
    for frame in frames[1:]:
        rows, columns = (size // 8 for size in frame.shape)
        change = (frame - kept[-1]).reshape(rows, 8, columns, 8)
        skipped = np.sqrt((change**2).mean(axis=(1, 3))) < least
        kept.append(np.where(np.kron(skipped, np.ones((8, 8))) > 0, kept[-1], frame))
    return np.array(kept)


def test_a_recording_that_skips_what_hardly_changes_is_not_called_good():
    """The shifts are held back, as parts of a frame are the last; what is stated of them holds."""
    rng, scene = np.random.default_rng(1), Scene(1, detail=2.0)
    path = np.outer(np.arange(20), [0.15, -0.2])
    frames = np.array([scene.view((128, 136), at) for at in path])
    frames = frames / frames.std() + 0.05 * rng.normal(size=frames.shape)
    recorded = skip_blocks(frames, 0.25)
    whole, skipped = (steadystack.estimate_shifts(one) for one in (frames, recorded))
    assert whole.attrs["verdict"] == "good"
    error, stated = (
        np.abs(skipped.frame_shift - path).to_numpy(),
        skipped.frame_shift_std.to_numpy(),
    )
    assert error.max() > 5 * whole.frame_shift_std.to_numpy().max()
    assert 0.5 < np.sqrt(np.mean(error**2) / np.mean(stated**2)) < 2
    assert skipped.attrs["verdict"] == "check"
    assert "repeated_blocks" in skipped.attrs["verdict_reasons"]
    # however few pairs there are, and wherever blocks begin
    for part, keys in (
        (recorded[[0, 3]], {}),
        (recorded[:12], {"pairs": {"strategy": "reference"}}),
        (recorded[:, 3:, 5:], {}),
    ):
        assert (
            "repeated_blocks" in steadystack.estimate_shifts(part, **keys).attrs["verdict_reasons"]
        )
    # what a known codec does is in the stated errors
    video = xr.DataArray(recorded, dims=("t", "y", "x"), attrs={"codec_std": 0.1})
    assert "repeated_blocks" not in steadystack.estimate_shifts(video).attrs["verdict_reasons"]


@pytest.fixture
def frames():
    rng, scene = np.random.default_rng(2), Scene(2, detail=2.0)
    frames = np.array([scene.view((64, 70), (0.3 * t, 0)) for t in range(6)])
    return frames / frames.std() + 0.1 * rng.normal(size=frames.shape)


def measure(frames):
    pairs = np.stack([np.arange(len(frames) - 1), np.arange(1, len(frames))], axis=1)
    source = ArrayFrames(xr.DataArray(frames, dims=("t", "y", "x")))
    return measure_repeats(source, (slice(0, 64), slice(0, 70)), pairs)


def test_the_share_of_the_detail_that_repeats_is_measured(frames):
    assert measure(frames) == 0
    for t in (1, 3, 5):
        frames[t, :32, :64] = frames[t - 1, :32, :64]
    assert measure(frames) == pytest.approx(0.5 * 3 / 5, abs=0.03)


def test_what_stands_still_whole_frames_and_rounding_are_no_repeats(frames):
    label = frames.copy()
    label[:, :32] = label[0, :32]
    assert measure(label) == 0
    assert measure(frames[[0, 0, 1, 1, 2, 2]]) == 0
    scene = Scene(2, detail=4.0)
    slow = np.array([scene.view((64, 70), (0.002 * t, 0)) for t in range(6)])
    rounded = np.rint(20 * slow / slow.std())
    assert (rounded[1:, :8, :8] == rounded[:-1, :8, :8]).all(axis=(1, 2)).any()
    assert measure(rounded) == 0
