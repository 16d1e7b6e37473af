"""Which share of the slopes moves, beside that of the images that frames were made of."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.defects import choose_near, measure_moving_slopes
from support.scenes import Scene, ellipse

SHAPE = (96, 110)


def make(seed, strength, noise, size=0.5, shape=SHAPE, count=24, pulled=0.7):
    """Frames, their pulled shifts with deviations, and the share of slopes that moves."""
    rng, ndim = np.random.default_rng(seed), len(shape)
    scene = Scene(seed, ndim, detail=rng.uniform(1.5, 4), waves=80)
    fixed = strength * Scene(seed + 500, ndim, detail=1.5, waves=80).view(shape, (0,) * ndim)
    shifts = np.cumsum(rng.normal(0, size / 3, (count, ndim)), axis=0)
    shifts = np.clip(shifts - shifts.mean(axis=0), -1, 1)
    still = scene.view(shape, (0,) * ndim)
    frames = np.stack([scene.view(shape, shift) for shift in shifts]) + fixed
    frames += rng.normal(0, noise, frames.shape)
    steepness = [sum((np.diff(each, axis=axis) ** 2).mean() for axis in range(ndim))
                 for each in (still, fixed)]  # fmt: skip
    errors = np.full(shifts.shape, 0.01)
    return frames, pulled * shifts, errors, steepness[0] / sum(steepness)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_share_is_that_of_the_images_whatever_the_scale_of_the_shifts(noise):
    off = []
    for seed, strength in enumerate((0.0, 0.1, 0.3, 0.5, 1.0)):
        frames, shifts, std, share = make(seed, strength, noise)
        found = measure_moving_slopes(frames, np.ones(SHAPE, bool), shifts, std)
        assert found.share == pytest.approx(share, abs=0.04 + 4 * found.error)
        assert found.scale == pytest.approx(0.7, abs=0.04 + 4 * found.scale_error)
        assert 0.8 < found.left < 1.3
        assert found.moving > 0.9
        doubled = measure_moving_slopes(frames, np.ones(SHAPE, bool), 0.9 * shifts, std)
        assert doubled.share == pytest.approx(found.share, abs=0.03)
        off.append((found.share - share) / max(found.error, 0.01))
    assert np.sqrt(np.mean(np.square(off))) < 3


def test_what_is_not_valid_has_no_part_in_it():
    frames, shifts, std, share = make(7, 0.4, 0.05)
    mask = ellipse(SHAPE, 0.9)
    mask[30:36, 40:50] = False
    whole = measure_moving_slopes(np.where(mask, frames, 0), mask, shifts, std)
    assert whole.share == pytest.approx(share, abs=0.08)
    assert whole.moving > 0.9
    left = mask & (np.arange(SHAPE[1]) < SHAPE[1] // 2)
    assert measure_moving_slopes(frames, left, shifts, std).moving > 0.8
    spoilt = measure_moving_slopes(np.where(mask, frames, 9.0), mask, shifts, std)
    assert spoilt.share == pytest.approx(whole.share, abs=0.01)


def test_volumes_have_one_along_all_axes():
    shape = (16, 48, 52)
    frames, shifts, std, share = make(3, 0.4, 0.1, shape=shape, count=16)
    found = measure_moving_slopes(frames, np.ones(shape, bool), shifts, std)
    assert found.share == pytest.approx(share, abs=0.05)


def test_a_scene_that_becomes_another_leaves_more():
    frames, shifts, std, _ = make(4, 0.0, 0.05)
    other = Scene(77, detail=2.0, waves=80).view(SHAPE, (0, 0))
    fading = np.sin(np.linspace(0, 5, len(frames)))[:, None, None] * other
    found = measure_moving_slopes(frames + 0.5 * fading, np.ones(SHAPE, bool), shifts, std)
    assert found.left > 1.4


def test_what_changes_with_time_does_not_count_as_what_stands_still():
    frames, shifts, std, _ = make(6, 0.0, 0.05)
    other = Scene(78, detail=2.0, waves=80).view(SHAPE, (0, 0))
    drifting = np.linspace(-1, 1, len(frames))[:, None, None] * other
    found = measure_moving_slopes(frames + 0.3 * drifting, np.ones(SHAPE, bool), shifts, std)
    assert found.share > 0.97


def test_where_too_little_moves_or_is_left_nothing_is_reported():
    frames, shifts, std, _ = make(5, 0.3, 0.1)
    everywhere, little = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    little[40:60, 40:60] = True
    assert measure_moving_slopes(frames, everywhere, 0 * shifts, std) is None
    assert measure_moving_slopes(frames, everywhere, shifts, 9 * np.abs(shifts) + 1) is None
    assert measure_moving_slopes(frames, little, shifts, std) is None
    assert measure_moving_slopes(frames[:7], everywhere, shifts[:7], std[:7]) is None


def test_the_largest_group_of_frames_that_are_near_is_chosen():
    shifts = np.array([[0, 0], [9, 0], [9.5, 0.5], [np.nan, 0], [10, -0.9], [0.5, 0], [20, 0]])
    np.testing.assert_array_equal(choose_near(shifts, 1.0), [1, 2, 4])


@pytest.mark.parametrize("shape", [(1, 200), (200, 1)])
def test_frames_of_one_row_or_column_have_slopes_along_it(shape):
    rng, line = np.random.default_rng(0), Scene(0, 1, detail=2.0)
    along = int(np.argmax(shape))
    shifts = np.zeros((24, 2))
    shifts[:, along] = rng.uniform(-1, 1, 24)
    frames = np.stack([line.view((200,), (move,)).reshape(shape) for move in shifts[:, along]])
    frames += rng.normal(0, 0.05, frames.shape)
    found = measure_moving_slopes(frames, np.ones(shape, bool), shifts, np.full(shifts.shape, 0.01))
    assert found.scale == pytest.approx(1, abs=0.1)
    assert found.share == pytest.approx(1, abs=0.15)
