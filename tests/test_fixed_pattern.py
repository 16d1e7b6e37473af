"""A static image and a scene are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.fixed_pattern import separate
from support.still import make_pattern, noise, views, way


@pytest.fixture(scope="module")
def truth():
    return way(48)


@pytest.fixture(scope="module")
def scene(truth):
    frames = views(truth)
    return frames + noise(frames, 0.15)


def valid_everywhere(frames):
    return [(frame, np.ones(frame.shape, bool)) for frame in frames]


def test_static_image_and_scene_are_told_apart(truth):
    pattern, frames = make_pattern(), views(truth)
    found = separate(valid_everywhere(frames + pattern), truth, passes=4)
    assert (found.pattern - pattern).std() < 0.12
    assert found.residual < 0.01
    assert np.abs(found.pattern.mean()) < 1e-5
    inside = (slice(12, -12),) * 2
    for frame in (0, 20, 47):
        seen = found.view(truth[frame]) - pattern
        assert np.corrcoef(seen[inside].ravel(), frames[frame][inside].ravel())[0, 1] > 0.98


def test_least_squares_leave_no_less(truth):
    """Whole shifts of small frames: a dense system of equations, solved by numpy."""
    shape, rng = (9, 10), np.random.default_rng(0)
    whole = rng.integers(0, 6, (24, 2)).astype(float)
    canvas = tuple(side + 6 for side in shape)
    pattern, world = rng.normal(size=shape), rng.normal(size=canvas)
    frames = np.stack(
        [world[int(y) : int(y) + shape[0], int(x) : int(x) + shape[1]] + pattern for y, x in whole]
    ) + rng.normal(0, 0.3, (24, *shape))
    frames -= frames.mean(axis=(1, 2), keepdims=True)
    pixels = pattern.size
    design = np.zeros((frames.size, pixels + world.size))
    places = np.arange(world.size).reshape(canvas)
    for frame, (y, x) in enumerate(whole.astype(int)):
        rows = frame * pixels + np.arange(pixels)
        design[rows, np.arange(pixels)] = 1
        design[rows, pixels + places[y : y + shape[0], x : x + shape[1]].ravel()] = 1
    solution = np.linalg.lstsq(design, frames.ravel(), rcond=None)[0]
    least = float(np.mean((frames.ravel() - design @ solution) ** 2))
    found = separate(valid_everywhere(frames), whole, passes=4)
    assert least * 0.999 < found.residual < 1.3 * least
    expected = solution[:pixels].reshape(shape)
    assert np.corrcoef(found.pattern.ravel(), expected.ravel())[0, 1] > 0.97


def test_a_scene_alone_leaves_no_static_image(truth, scene):
    found = separate(valid_everywhere(scene), truth)
    assert found.pattern.std() < 0.15
    still = separate(valid_everywhere(scene[:1].repeat(10, axis=0)), np.zeros((10, 2)))
    assert np.isfinite(still.pattern).all()


@pytest.mark.parametrize("garbage", [0.0, 1e4, np.nan])
def test_what_is_not_valid_does_not_count(truth, garbage):
    frames, pattern = views(truth), make_pattern()
    valid = np.random.default_rng(1).random(frames.shape) > 0.3
    valid[:, :8, :30] = False
    spoiled = np.where(valid, frames + pattern, garbage)
    found = None
    for _ in range(3):
        found = separate(zip(spoiled, valid, strict=True), truth, before=found)
    assert not found.alike
    assert np.isnan(found.pattern[:8, :30]).all()
    known = np.isfinite(found.pattern)
    assert known.sum() == known.size - 8 * 30
    difference = (found.pattern - pattern)[known]
    assert difference.std() < 0.3


def test_three_dimensions():
    truth = np.cumsum(np.random.default_rng(2).normal(0.3, 0.5, (24, 3)), axis=0)
    shape = (16, 20, 24)
    pattern = make_pattern(shape)
    frames = views(truth, shape=shape) + pattern
    found = separate(valid_everywhere(frames), truth, passes=4)
    assert np.corrcoef(found.pattern.ravel(), pattern.ravel())[0, 1] > 0.95


def test_nothing_to_separate_is_reported():
    with pytest.raises(ValueError, match="no frame"):
        separate([], np.zeros((0, 2)))
