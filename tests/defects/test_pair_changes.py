"""What one frame leaves of another: nothing of the same scene, much of one behind something."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.defects import compare_pair, find_overlap
from support.scenes import Scene

SHAPE = (110, 126)


def pair(seed, moves=(0.3, -0.2)):
    """Two views of a scene, less than a pixel apart."""
    scene = Scene(seed, detail=2.5)
    return scene.view(SHAPE, (0, 0)), scene.view(SHAPE, moves), np.random.default_rng(seed)


def compare(first, second, used=None):
    level = [each - each.mean() for each in (first, second)]
    return compare_pair(*level, np.ones(SHAPE, bool) if used is None else used)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", ["nothing", "contrast", "focus", "lamp", "rows", "an object"])
def test_the_same_scene_leaves_nothing(seed, change):
    first, second, rng = pair(seed)
    if change == "contrast":
        second *= -0.4
    elif change == "focus":
        second = ndimage.gaussian_filter(second, 0.7)
    elif change == "lamp":
        second += 3 * np.linspace(-1, 1, SHAPE[1]) ** 2
    elif change == "rows":
        second += rng.normal(0, 0.5, (SHAPE[0], 1))
    elif change == "an object":
        second[10:45, 10:45] = Scene(seed + 50, detail=2.5).view((35, 35), (0, 0))
    noisy = (each + rng.normal(0, 0.3 * each.std(), SHAPE) for each in (first, second))
    shares, errors = compare(*noisy).T
    assert abs(np.median(shares)) < 0.01 + 3 * np.median(errors) / np.sqrt(len(errors))
    assert (errors > 0).all()


def test_stated_errors_are_those_of_noise():
    off = []
    for seed in range(40):
        first, second, rng = pair(seed, (0, 0))
        shares, errors = compare(*(each + rng.normal(0, 0.7, SHAPE) for each in (first, second))).T
        off.extend(shares / errors)
    assert 0.5 < np.median(np.abs(off)) / 0.6745 < 1.3


@pytest.mark.parametrize("noise", [0.05, 0.4])
def test_a_scene_that_moves_behind_another_is_left(noise):
    still, _, rng = pair(1)
    behind = Scene(2, detail=2.5)
    frames = [still + behind.view(SHAPE, at) for at in ((0, 0), (3, -2))]
    shares, errors = compare(*(each + rng.normal(0, noise, SHAPE) for each in frames)).T
    assert np.median(shares) > 0.05
    assert np.median(shares) > 5 * np.median(errors)


def test_where_little_is_valid_nothing_is_reported():
    first, second, _ = pair(4)
    used = np.zeros(SHAPE, bool)
    used[:12, :12] = True
    assert np.isnan(compare(first, second, used)).all()
    assert np.isnan(compare(np.zeros(SHAPE), np.zeros(SHAPE))).all()
    half = np.ones(SHAPE, bool)
    half[:, 42:] = False
    assert np.isnan(compare(first, second, half)).all()  # three parts of nine
    assert np.isnan(compare_pair(first[:1], second[:1], np.ones((1, SHAPE[1]), bool))).any()
    volume = np.stack([first, second, first, second, first, second])
    assert compare_pair(volume, volume, np.ones(volume.shape, bool)).shape == (27, 2)


def test_frames_that_do_not_overlap_leave_nothing_to_tell():
    here, there = find_overlap((10, 12), np.array([-3, 20]))
    image = np.arange(120).reshape(10, 12)
    assert image[here].shape == image[there].shape == (7, 0)
    here, there = find_overlap((10, 12), np.array([2, -1]))
    np.testing.assert_array_equal(image[there] + 2 * 12 - 1, image[here])
