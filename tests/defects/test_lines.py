"""Lines of a camera, told from the scene behind them by the means of rows and columns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.defects import (
    compute_lined_share,
    compute_profiles,
    compute_scene_slopes,
    compute_side_profiles,
    separate_lines,
    take_lines_away,
)
from support.members import slow_but
from support.scenes import Scene

SIDE, FRAMES = 96, 24


def lined_series(seed, size=0.3, way=6.0, noise=0.3, axis=-1):
    """Frames of mean 0, where their scene is, px, and what the lines across an axis add."""
    rng = np.random.default_rng(seed)
    scene = Scene(seed, detail=rng.uniform(1, 5))
    shifts = np.cumsum(rng.normal(0, 1, (FRAMES, 2)), axis=0)
    shifts = (shifts - shifts[0]) * way / max(np.ptp(shifts[:, axis]), 1e-9)
    frames = np.stack([scene.view((SIDE, SIDE), shift) for shift in shifts])
    lines = size * rng.normal(size=SIDE)
    frames = frames / frames.std() + noise * rng.normal(size=frames.shape)
    frames = frames + (lines if axis == -1 else lines[:, None])
    return (frames - frames.mean(axis=(1, 2), keepdims=True)).astype("f4"), shifts, lines


def separate(frames, shifts, axis=-1):
    profiles = compute_profiles(frames, np.ones(frames.shape, bool))
    return separate_lines(profiles[axis], shifts[:, axis])


@pytest.mark.parametrize("seed", slow_but(range(3), range(60)))
@pytest.mark.parametrize("axis", [-1, -2])
def test_lines_are_distinguished_from_a_scene_that_moves(seed, axis):
    frames, shifts, lines = lined_series(seed, axis=axis)
    found = separate(frames, shifts, axis)
    assert found is not None
    slopes = np.diff(lines)
    assert np.var(np.diff(found.lines) - slopes) < 0.05 * np.var(slopes)
    assert found.slope == pytest.approx(np.mean(slopes**2), rel=0.25)


@pytest.mark.parametrize("seed", slow_but(range(4), range(60)))
def test_what_is_wider_than_the_way_is_of_the_lines_if_both_sides_of_the_frame_have_it(seed):
    """Values count, not slopes alone: what is left of wide lines that are strong outweighs a scene.

    From a scene that hardly moves only narrow ones are told by that; they had half of the variance.
    """
    frames, shifts, lines = lined_series(seed, size=2.0, way=1.5, noise=0.05)
    valid = np.ones(frames.shape, bool)
    profile = compute_profiles(frames, valid)[-1]
    found = separate_lines(profile, shifts[:, -1], compute_side_profiles(frames, valid)[-1])
    assert found is not None
    assert np.var(found.lines - lines) < 0.05 * np.var(lines)


def test_wide_stripes_of_a_scene_stay_with_it_beside_weak_lines():
    """Both halves of the frame have them, too."""
    frames, shifts, _ = lined_series(1, size=0.1, way=1.5, noise=0.05)
    stripes = Scene(2, detail=6.0)
    wide = np.stack([stripes.view((1, SIDE), (0, way))[0] for way in shifts[:, -1]])
    frames = frames + 2 * wide[:, None].astype("f4")
    valid = np.ones(frames.shape, bool)
    profile = compute_profiles(frames, valid)[-1]
    found = separate_lines(profile, shifts[:, -1], compute_side_profiles(frames, valid)[-1])
    assert found is not None
    assert np.std(found.lines) < 0.2 * np.std(2 * wide)


@pytest.mark.parametrize("axis", [-1, -2])
def test_lines_that_do_not_go_through_the_frame_are_not_the_cameras(axis):
    frames, shifts, lines = lined_series(3, axis=axis)
    valid, positions = np.ones(frames.shape, bool), shifts[:, axis]
    sides = compute_side_profiles(frames, valid)[axis]
    whole = compute_profiles(frames, valid)[axis]
    np.testing.assert_allclose(np.mean(sides, axis=0), whole, atol=1e-5)
    assert separate_lines(whole, positions, sides) is not None
    half = np.s_[:, : SIDE // 2] if axis == -1 else np.s_[:, :, : SIDE // 2]
    frames[half] -= lines if axis == -1 else lines[:, None]
    whole, sides = compute_profiles(frames, valid)[axis], compute_side_profiles(frames, valid)[axis]
    assert separate_lines(whole, positions) is not None
    assert separate_lines(whole, positions, sides) is None


@pytest.mark.parametrize("seed", slow_but(range(5), range(200)))
@pytest.mark.parametrize("way", [0.4, 1.0, 8.0])
def test_none_is_found_in_a_scene_alone(seed, way):
    """Of a scene that hardly moves one in twenty has some, but few lines: these are not asked."""
    frames, shifts, _ = lined_series(seed, size=0, way=way)
    share = compute_lined_share(frames, np.ones(frames.shape, bool))[1]
    assert separate(frames, shifts) is None or (way < 2 and share < 0.1)


def test_few_scenes_are_asked_for_lines():
    """A mean of a scene without lines has columns by chance; the question alone costs time."""
    asked = 0
    for seed in range(40):
        frames, _, _ = lined_series(seed, size=0, way=1.0)
        asked += max(compute_lined_share(frames, np.ones(frames.shape, bool))) > 0.25
    assert asked <= 2


def test_in_a_scene_of_stripes_that_moves_none_is_found():
    rng = np.random.default_rng(1)
    shifts = np.cumsum(rng.normal(0, 1, (FRAMES, 2)), axis=0)
    x = np.arange(SIDE) + 100 + shifts[:, 1:]
    frames = np.repeat((np.sin(x) + np.sin(0.37 * x))[:, None], SIDE, axis=1)
    frames = frames + 0.3 * rng.normal(size=frames.shape)
    assert compute_lined_share(frames, np.ones(frames.shape, bool))[1] > 0.5
    assert separate(frames, shifts) is None


def test_the_share_of_lines_is_what_they_have_of_the_slopes_in_the_mean():
    rng = np.random.default_rng(2)
    image, columns = rng.normal(size=(SIDE, SIDE)), rng.normal(size=SIDE)
    image -= image.mean(axis=0)
    frames = image + columns + rng.normal(size=(400, SIDE, SIDE))
    valid = rng.random(frames.shape) < 0.9
    rows, found = compute_lined_share(frames.astype("f4"), valid)
    slopes = np.diff(columns), np.diff(image + columns, axis=1)
    assert found == pytest.approx(np.mean(slopes[0] ** 2) / np.mean(slopes[1] ** 2), rel=0.05)
    assert abs(rows) < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_slopes_of_the_scene_are_those_without_noise(seed):
    rng = np.random.default_rng(seed)
    scene = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), [1.0, 2.0], mode="wrap")
    scene /= scene.std()
    shifts = np.cumsum(rng.normal(0, 2, (FRAMES, 2)), axis=0)
    whole = np.rint(shifts).astype(int)
    frames = np.stack([np.roll(scene, tuple(-by), (0, 1)) for by in whole])
    frames += rng.normal(size=frames.shape)
    found = compute_scene_slopes(frames, np.ones(frames.shape, bool), whole + 0.3)
    direct = [np.mean(np.diff(scene, axis=axis) ** 2) for axis in (0, 1)]
    np.testing.assert_allclose(found, direct, rtol=0.1)


def test_frames_of_which_nothing_is_valid_have_no_lines():
    frames, valid = np.zeros((12, 8, 8), "f4"), np.zeros((12, 8, 8), bool)
    assert compute_lined_share(frames, valid) == (0.0, 0.0)
    assert np.isnan(compute_profiles(frames, valid)[0]).all()
    assert separate_lines(compute_profiles(frames, valid)[0], np.arange(12.0)) is None


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_nothing_of_lines_is_left_where_they_are_taken_away(holes):
    rng = np.random.default_rng(4)
    scene, lines = rng.normal(size=(40, 50)), np.add.outer(rng.normal(size=40), np.arange(50.0))
    valid = rng.random(scene.shape) >= holes
    valid[7] = False
    with_lines, without = (take_lines_away(image, valid) for image in (scene + lines, scene))
    np.testing.assert_allclose(with_lines, without, atol=0.05 if holes else 1e-9)
    assert not with_lines[~valid].any()
    if not holes:
        kept = scene[valid].reshape(39, 50)
        direct = kept - kept.mean(0) - kept.mean(1, keepdims=True) + kept.mean()
        np.testing.assert_allclose(with_lines[valid].reshape(39, 50), direct, atol=1e-9)
