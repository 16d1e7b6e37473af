"""Parts of a scene that go their own way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench_verdict import moving_object, noisy, turning, views, wander
from steadystack.checks import check_moving_parts
from steadystack.checks.moving_parts import CHECK_PAIRS, _find_linear_shifts
from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable, as_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts
from support.turning import turn, turn_volume, turned_series

COUNT = 20  # of frames


def motion_of(frames, mask=None):
    source = ArrayFrames.checked(as_stack(frames), mask)
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 12}})
    setup = set_up(config, make_series(source))
    table = PairTable.unmeasured(setup.pairs, source.frame_count, 2)
    *_, (table, _) = measure_pairs(source, table, setup.method, setup.size)
    return check_moving_parts(source, setup.method, table, solve_shifts(table))


def test_parts_of_a_scene_that_drifts_move_together():
    rng = np.random.default_rng(5)
    found = motion_of(noisy(rng, views(rng, wander(rng)[:COUNT])))
    assert found.moving == 0
    assert found.parts >= 8
    assert found.size < 0.1
    assert found.pairs == CHECK_PAIRS // 2  # as no part moves in any of them


def test_few_pairs_are_all_looked_at():
    rng = np.random.default_rng(5)
    found = motion_of(noisy(rng, views(rng, wander(rng)[:6])))
    assert found.parts >= 8
    assert 4 <= found.pairs < 8


def test_an_object_is_found_where_it_is():
    """Nine hundredths of the frame in its top left corner go another way by 0.6 px a frame."""
    rng = np.random.default_rng(6)
    truth = wander(rng)[:COUNT]
    front = views(rng, truth + np.arange(len(truth))[:, None] * np.array([0.0, 0.6]))
    frames = views(rng, truth)
    frames[:, :38, :38] = front[:, :38, :38]
    found = motion_of(noisy(rng, frames))
    assert found.moving == 1
    assert found.where == "top left"
    assert found.pairs == CHECK_PAIRS
    assert not found.linear
    assert 0.6 <= found.size <= 3.0  # 0.6 px times the 1 to 5 frames between the frames of a pair


@pytest.mark.slow  # test_verdict.py tells one from the other, too
def test_a_turn_is_told_from_an_object():
    assert motion_of(turning(np.random.default_rng(1)).frames).linear
    assert not motion_of(moving_object(np.random.default_rng(1)).frames).linear


def test_a_slow_turn_is_seen_between_frames_far_apart():
    """Parts differ by up to a quarter of a pixel between frames of a pair, and by one far apart."""
    found = motion_of(turned_series(count=24, step=0.07).frames)
    assert found.far
    assert found.linear
    assert found.suits == "rigid"
    assert found.moving >= 4


def test_an_object_that_creeps_is_no_turn():
    rng = np.random.default_rng(6)
    truth = wander(rng)[:COUNT]
    front = views(rng, truth + np.arange(COUNT)[:, None] * np.array([0.0, 0.08]))
    frames = views(rng, truth)
    frames[:, :38, :38] = front[:, :38, :38]
    found = motion_of(noisy(rng, frames))
    assert not found.far
    assert not found.moving


def test_too_little_to_tell_is_none():
    rng = np.random.default_rng(7)
    small = np.stack([rng.normal(size=(48, 48))] * 4)
    assert motion_of(small) is None
    mask = np.zeros((128, 128), bool)
    mask[50:80, 50:80] = True
    assert motion_of(noisy(rng, views(rng, wander(rng, 0.3)[:COUNT])), mask) is None


@pytest.mark.parametrize("linear", [turn(4), turn_volume([3, -2, 4], 1.02)])
def test_the_shift_of_a_place_is_that_of_what_both_frames_show_there(linear):
    ndim, shape = len(linear), (20, 40, 50)[-len(linear) :]
    middle = (np.array(shape) - 1) / 2
    motions = np.stack([linear, linear @ linear])
    shift = np.array([np.arange(ndim), np.arange(ndim) * -0.7])
    seen = np.random.default_rng(1).uniform(5, 15, (6, ndim))  # on the anchor
    in_reference, in_moving = (
        (seen - middle - by) @ np.linalg.inv(motion).T + middle
        for motion, by in zip(motions, shift, strict=True)
    )
    solved = SimpleNamespace(linear=motions, shift=shift)
    found = _find_linear_shifts(in_reference, (0, 1), solved, shape)
    np.testing.assert_allclose(found, in_reference - in_moving, atol=1e-9)
    unknown = SimpleNamespace(linear=motions * np.nan, shift=shift)
    assert np.isnan(_find_linear_shifts(in_reference, (0, 1), unknown, shape)).all()
