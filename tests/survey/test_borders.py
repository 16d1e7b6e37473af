"""Borders and extremes that hold no data."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.survey import find_constant_border, find_far_value, find_no_data
from support.scenes import Scene


@pytest.mark.parametrize("sides", [((3, 0), (0, 5)), ((2, 2), (2, 2)), ((0, 0), (0, 1))])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_border_is_seen_with_its_width(sides, ndim):
    sides = ((0, 0),) * (ndim - 2) + sides
    inner = np.random.default_rng(0).integers(0, 200, [24] * ndim)
    image = np.pad(inner, sides, constant_values=222)
    found = find_constant_border(image, np.ones(image.shape, bool))
    assert found is not None
    assert (found.value, found.widths) == (222, tuple(max(pair) for pair in sides))


def test_what_is_no_border():
    image = np.random.default_rng(0).integers(0, 200, (24, 24))
    valid = np.ones(image.shape, bool)
    assert find_constant_border(image, valid) is None
    assert find_constant_border(np.full((24, 24), 7), valid) is None  # there is nothing else
    two = image.copy()
    two[0], two[-1] = 3, 4
    assert find_constant_border(two, valid) is None
    one = image.copy()
    one[:2] = 222
    seen = valid.copy()
    seen[0] = False  # a border that is masked already, or a part of it: nobody has to be asked
    assert find_constant_border(one, seen) is None


def test_what_is_dark_around_an_object_is_no_border():
    """Beside the last dark line only the tip of the object is bright: the edge is not straight."""
    y, x = np.indices((40, 44))
    image = np.where((y - 20) ** 2 + (x - 22) ** 2 < 12**2, 150, 0)
    assert find_constant_border(image, np.ones(image.shape, bool)) is None


SHAPE = (64, 72)


def drifting(seed, dark):
    """Three views of a scene that drifts; of a dark one a part is below 0, and cut off there."""
    world, rng = Scene(seed, detail=3.0, waves=80), np.random.default_rng(seed)
    step = rng.normal(0, 2, 2)
    level, contrast = (60, 60) if dark else (100, 20)
    views = [level + contrast * world.view(SHAPE, step * index) for index in range(3)]
    noisy = [view + rng.normal(0, 4, SHAPE) for view in views]
    return [np.clip(np.rint(view), 0 if dark else 1, 255).astype("u1") for view in noisy]


def spoil(frames, kind, seed):
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    always = {
        "field stop": np.hypot(y - 30, x - 38) > 28,
        "beam stop": (np.abs(y - 20) < 5) & (x < 40),
        "lost, the same": rng.random(SHAPE) < 0.05,
    }
    for frame in frames:
        frame[always[kind] if kind in always else rng.random(SHAPE) < 0.1] = 0
    return frames


def find_in(frames):
    return find_no_data([(frame, np.ones(SHAPE, bool)) for frame in frames], 0.02)


@pytest.mark.parametrize("seed", range(8))
def test_the_dark_of_a_scene_that_drifts_is_not_taken_for_no_data(seed):
    frames = drifting(seed, dark=True)
    assert min(np.mean(frame == 0) for frame in frames) > 0.02
    assert find_in(frames) == {}
    rng = np.random.default_rng(seed)
    assert find_in([rng.poisson(1.0, SHAPE) for _ in range(3)]) == {}
    assert find_in(frames[:1] * 3) == {}  # where nothing moves, what stands still is no sign


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["field stop", "beam stop", "lost, the same", "lost, others"])
def test_what_holds_no_data_is_reported_with_its_share(kind, seed):
    frames = spoil(drifting(seed, dark=False), kind, seed)
    assert find_in(frames) == {0: tuple(np.mean(frame == 0) for frame in frames)}
    dark = np.zeros(SHAPE, "u1")  # a frame of one value says nothing about the others
    assert find_in([frames[0], dark, frames[2]]) == {
        0: (np.mean(frames[0] == 0), 1.0, np.mean(frames[2] == 0))
    }


def test_one_frame_tells_only_of_pixels_that_are_lost_singly():
    stop, *_ = spoil(drifting(0, dark=False), "field stop", 0)
    lost, *_ = spoil(drifting(0, dark=False), "lost, others", 0)
    assert find_in([stop]) == {}
    assert set(find_in([lost])) == {0}
    assert find_no_data([(lost, np.zeros(SHAPE, bool))], 0.02) == {}


@pytest.mark.parametrize(
    ("value", "share", "is_far"),
    [
        (-9999.0, 0.02, True),
        (1e20, 0.2, True),
        (0.0, 0.02, True),
        (80.0, 0.02, False),  # just darker than all others
        (-9999.0, 0.0005, False),  # a hot pixel or two
        (0.0, 0.8, False),  # what is dark around a scene
    ],
)
def test_a_value_that_many_pixels_have_is_far_from_all_others(value, share, is_far):
    rng = np.random.default_rng(7)
    image = 100 + 5 * rng.normal(size=(96, 96))
    valid = rng.random(image.shape) < 0.9
    image[rng.random(image.shape) < share] = value
    found = find_far_value(np.where(valid, image, np.nan), valid)
    assert (found is not None) == is_far
    if found is not None:
        assert found[0] == value
        assert found[1] == pytest.approx(share, rel=0.3)


def test_a_scene_that_is_saturated_here_and_there_has_no_far_value():
    scene = np.clip(100 + 100 * Scene(3).view((96, 96), (0, 0)), 0, 255).astype(np.uint8)
    assert np.mean(scene == 255) > 0.003
    assert find_far_value(scene, np.ones(scene.shape, bool)) is None


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_integers_next_to_their_highest_value_are_not_far_from_it(dtype):
    """Their difference from it would wrap."""
    most = 250 if dtype == "u1" else 30000
    image = np.random.default_rng(3).integers(most - 40, most, (96, 96)).astype(dtype)
    image[::12] = most + 3
    valid = np.ones(image.shape, bool)
    assert find_far_value(image, valid) is None
    image[::12] = 0
    assert find_far_value(image, valid) == (0, pytest.approx(1 / 12))
