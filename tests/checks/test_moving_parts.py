"""Parts of a scene that go their own way."""

from __future__ import annotations

import numpy as np
import pytest

from bench_verdict import moving_object, noisy, turning, views, wander
from steadystack.checks import check_moving_parts
from steadystack.checks.moving_parts import CHECK_PAIRS
from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable, as_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts

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
def test_a_turn_is_distinguished_from_an_object():
    assert motion_of(turning(np.random.default_rng(1)).frames).linear
    assert not motion_of(moving_object(np.random.default_rng(1)).frames).linear


def test_an_object_that_creeps_moves_too_little():
    rng = np.random.default_rng(6)
    truth = wander(rng)[:COUNT]
    front = views(rng, truth + np.arange(COUNT)[:, None] * np.array([0.0, 0.08]))
    frames = views(rng, truth)
    frames[:, :38, :38] = front[:, :38, :38]
    found = motion_of(noisy(rng, frames))
    assert not found.moving


def test_too_little_to_tell_is_none():
    rng = np.random.default_rng(7)
    small = np.stack([rng.normal(size=(48, 48))] * 4)
    assert motion_of(small) is None
    mask = np.zeros((128, 128), bool)
    mask[50:80, 50:80] = True
    assert motion_of(noisy(rng, views(rng, wander(rng, 0.3)[:COUNT])), mask) is None
