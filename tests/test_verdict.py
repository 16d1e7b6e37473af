"""What is wrong with a series is found and named; what is right is called good."""

from __future__ import annotations

import numpy as np
import pytest
from bench_verdict import SITUATIONS, judged, moving_object, noisy, turning, views, wander

import pipeline
from pipeline.config import make_config
from pipeline.measure import local_motion
from pipeline.model import FrameStatus, LocalMotion, PairStatus, PairTable, as_stack
from pipeline.setup import in_memory, set_up
from pipeline.solve import solve_shifts
from pipeline.store.arrays import ArrayFrames
from pipeline.store.shifts import read_pairs
from pipeline.verdict import Trust, judge


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_is_told(name):
    make, trusts, words = SITUATIONS[name]
    trust, reasons, _ = judged(make(np.random.default_rng(0)))
    assert trust.split()[0] in trusts.split(), reasons
    assert any(words in reason for reason in reasons), reasons


def motion_of(frames, mask=None):
    source = ArrayFrames.checked(as_stack(frames), mask)
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 24}})
    table = read_pairs(pipeline.estimate_shifts(frames, mask=mask, max_shift=24))
    return local_motion(source, set_up(config, in_memory(source)).method, table)


def test_parts_of_a_scene_that_drifts_move_together():
    rng = np.random.default_rng(5)
    found = motion_of(noisy(rng, views(rng, wander(rng))))
    assert found.moving == 0
    assert found.parts >= 8
    assert found.size < 0.1


def test_an_object_is_found_where_it_is():
    """Nine hundredths of the frame in its top left corner go another way by 0.6 px a frame."""
    rng = np.random.default_rng(6)
    truth = wander(rng)
    front = views(rng, truth + np.arange(len(truth))[:, None] * np.array([0.0, 0.6]))
    frames = views(rng, truth)
    frames[:, :38, :38] = front[:, :38, :38]
    found = motion_of(noisy(rng, frames))
    assert found.moving == 1
    assert found.where == "top left"
    assert not found.linear
    assert 0.6 <= found.size <= 3.0  # 0.6 px times the 1 to 5 frames between the frames of a pair


def test_a_turn_is_told_from_an_object():
    assert motion_of(turning(np.random.default_rng(1)).frames).linear
    assert not motion_of(moving_object(np.random.default_rng(1)).frames).linear


def test_too_little_to_tell_is_none():
    rng = np.random.default_rng(7)
    small = np.stack([rng.normal(size=(48, 48))] * 4)
    assert motion_of(small) is None
    mask = np.zeros((128, 128), bool)
    mask[50:80, 50:80] = True
    assert motion_of(noisy(rng, views(rng, wander(rng, 0.3))), mask) is None


def solved(statuses, frame_status=FrameStatus.OK):
    """A chain of pairs of these statuses, each of one pixel."""
    count = len(statuses)
    pairs = np.stack([np.arange(count), np.arange(1, count + 1)], axis=1)
    table = PairTable.unmeasured(pairs, count + 1, 1)
    table.status[:] = [status.code for status in statuses]
    table.shift[table.ok], table.std[table.ok] = 1.0, 0.1
    table.frame_status[:] = frame_status.code
    return table, solve_shifts(table)


def test_the_limit_that_was_too_low_is_told():
    table, frames = solved([PairStatus.OK, PairStatus.AT_BOUND] * 10)
    said = judge(table, frames, max_shift=48)
    assert said.trust is Trust.NOT
    assert said.reasons[0] == (  # the last frame has no shift: its pair is counted with it
        "9 of 19 pairs stop at the edge of the search: raise register.max_shift above 48"
    )
    assert judge(table, frames).reasons[0].endswith("raise register.max_shift")


def test_few_frames_that_move_by_themselves_are_worth_a_look_and_many_spoil_it():
    table, frames = solved([PairStatus.OK] * 10)
    for moving, trust in ((0, Trust.GOOD), (1, Trust.LOOK), (3, Trust.NOT)):
        motion = LocalMotion(12, 9, moving, 2.0, "top left", linear=False)
        assert judge(table, frames, motion=motion).trust is trust
    turn = LocalMotion(12, 9, 6, 2.0, "top left", linear=True)
    said = judge(table, frames, motion=turn)
    assert said.trust is Trust.LOOK
    assert "turn or stretch" in said.reasons[0]


@pytest.mark.parametrize(("pull", "told"), [(1.0, False), (0.97, False), (0.85, True)])
def test_pairs_of_one_distance_that_are_all_off_are_told(pull, told):
    """A drift of 0.3 px a frame; consecutive pairs see that part of it."""
    rng, count = np.random.default_rng(8), 120
    pairs = np.array([(i, i + lag) for lag in (1, 2, 4, 8) for i in range(count - lag)])
    table = PairTable.unmeasured(pairs, count, 2)
    truth = np.cumsum(rng.normal(0.3, 0.2, (count, 2)), axis=0)
    table.shift[:] = truth[pairs[:, 1]] - truth[pairs[:, 0]]
    table.shift[pairs[:, 1] - pairs[:, 0] == 1] *= pull
    table.shift[:] += rng.normal(0, 0.02, table.shift.shape)
    table.std[:], table.ncc[:] = 0.02, 0.8
    table.status[:], table.frame_status[:] = PairStatus.OK.code, FrameStatus.OK.code
    said = judge(table, solve_shifts(table))
    found = [reason for reason in said.reasons if reason.startswith("pairs 1 frame(s) apart")]
    assert bool(found) is told, said
    assert said.trust is (Trust.LOOK if told else Trust.GOOD)
