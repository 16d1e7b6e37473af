"""What is wrong with a series is found and named; what is right is called good."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import steadystack
from bench_verdict import SITUATIONS, judged, label, moving_object, noisy, turning, views, wander
from steadystack.config import make_config
from steadystack.dataset import read_pairs
from steadystack.model import (
    FrameStatus,
    LocalMotion,
    MaskSeen,
    PairStatus,
    PairTable,
    StaticEffect,
    as_stack,
)
from steadystack.outputs import write_image, write_stack
from steadystack.planning import in_memory, set_up
from steadystack.quality import Asked, Trust, judge, local_motion
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_is_told(name):
    make, trusts, words = SITUATIONS[name]
    trust, reasons, _ = judged(make(np.random.default_rng(0)))
    assert trust.split()[0] in trusts.split(), reasons
    assert any(words in reason for reason in reasons), reasons


def motion_of(frames, mask=None):
    source = ArrayFrames.checked(as_stack(frames), mask)
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 24}})
    table = read_pairs(steadystack.estimate_shifts(frames, mask=mask, max_shift=24))
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
    said = judge(table, frames, asked=Asked(max_shift=48))
    assert said.trust is Trust.NOT
    assert said.reasons[0] == (
        "10 of 20 pairs stop at the edge of the search: raise register.max_shift above 48"
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


@pytest.mark.parametrize(("reach", "trust"), [(1, Trust.NOT), (3, Trust.LOOK), (5, Trust.GOOD)])
def test_a_third_of_the_pairs_at_the_edge_is_too_much_unless_frames_are_held(reach, trust):
    """Seven frames that drift by a pixel a frame, every pair up to 5 apart; the search ends there.

    With a reach of 1 all frames are known, the first and the last from one pair each.
    """
    pairs = np.array([(i, j) for i in range(7) for j in range(i + 1, min(i + 6, 7))])
    table = PairTable.unmeasured(pairs, 7, 2)
    apart = pairs[:, 1] - pairs[:, 0]
    within = apart <= reach
    # Of pairs beyond it some are no more alike than chance: half of all stop at the edge at most.
    beyond = np.where(np.arange(len(pairs)) % 3, PairStatus.AT_BOUND.code, PairStatus.LOW_NCC.code)
    table.status[:] = np.where(within, PairStatus.OK.code, beyond)
    table.shift[within], table.std[within] = np.stack([apart, 0 * apart], 1)[within], 0.01
    table.ncc[:], table.frame_status[:] = 0.9, FrameStatus.OK.code
    frames = solve_shifts(table)
    assert np.isfinite(frames.shift).all()
    stopped = int((table.status == PairStatus.AT_BOUND.code).sum())
    assert stopped <= len(pairs) / 2
    said = judge(table, frames)
    assert said.trust is trust, said
    assert any("edge of the search" in reason for reason in said.reasons) is (stopped > 0)


def test_advice_knows_what_is_set():
    table, frames = solved([PairStatus.OK] * 10)
    table.status[::2] = PairStatus.LOW_NCC.code
    said = judge(table, frames).reasons[0]
    assert said.endswith("mask what is no scene, try preprocess.high_pass")
    asked = Asked(masked=True, high_pass=10.0)
    said = judge(table, frames, asked=asked).reasons[0]
    assert said.endswith("check the mask, try another preprocess.high_pass than 10")
    pull = StaticEffect(32, 1.0, 1.5, 0.01, certain=True)
    table, frames = solved([PairStatus.OK] * 10)
    for asked, words in (
        (Asked(), "mask it, or set preprocess.static: estimate"),
        (Asked(masked=True), "extend the mask over it, or set preprocess.static: estimate"),
        (Asked(static=True), "mask it: the static image does not take all of it away"),
    ):
        assert str(judge(table, frames, asked=asked, static=pull)).endswith(words + ")")
    assert Asked(strategy="window", width=8).more_pairs.startswith("raise pairs.width above 8")
    assert "beside [1, 2]" in Asked(strategy="lags", lags=(1, 2), extra=0.5).more_pairs
    assert Asked(extra=0.5).more_pairs.endswith("raise pairs.extra above 0.5")
    assert "pairs.extra" not in Asked(strategy="all").more_pairs
    assert Asked(max_shift=[3, 4]).narrower == "lower register.max_shift below [3, 4]"
    assert Asked().narrower == "set register.max_shift"


@pytest.mark.parametrize(
    ("lags", "lag", "wanted"),
    [((1, 2, 4, 8), 1, "[2, 3, 4, 8]"), ((1, 2, 4), 4, "[1, 2]"), ((2, 3), 2, "[3, 4]")],
)
def test_other_lags_keep_the_frames_together(lags, lag, wanted):
    asked = Asked(strategy="lags", lags=lags)
    assert asked.without_lag(lag).endswith(f"or measure others (pairs.lags: {wanted})")
    assert math.gcd(*json.loads(wanted)) == 1
    assert "pairs.strategy: lags" in Asked().without_lag(lag)


@pytest.mark.parametrize(
    ("side", "brightness", "wins"), [(30, 5.0, False), (14, 5.0, False), (20, 30.0, True)]
)
def test_a_part_that_stands_still_is_named_as_such(side, brightness, wins):
    case = label(side, brightness)(np.random.default_rng(3))
    shifts = steadystack.estimate_shifts(case.frames, **case.sections)
    found = LocalMotion(**json.loads(shifts.attrs["local_motion"]))
    assert (found.still, found.still_where, found.moving) == (1, "top left", 0)
    assert (found.still_pull > 0.9 * found.scene) is wins
    said = shifts.attrs["verdict"]
    assert ("wins over the scene: in 1 of" in said) is wins
    assert "moves by itself" not in said
    mask = np.ones(case.frames.shape[1:], bool)
    mask[12 : 12 + side, 12 : 12 + side] = False
    cured = steadystack.estimate_shifts(case.frames, mask=mask, **case.sections)
    assert cured.attrs["verdict"] == "good"
    assert np.abs(cured["shift"] - cured["shift"][0] - case.truth).max() < 0.1


def test_an_inverted_mask_is_in_the_verdict_of_a_run(tmp_path):
    case = SITUATIONS["the mask is inverted, and leaves the dark"][0](np.random.default_rng(0))
    write_stack(tmp_path / "stack.zarr", case.frames[:12])
    write_image(tmp_path / "mask.zarr", case.mask)
    given = {
        "input": {"path": "stack.zarr"},
        "mask": {"path": "mask.zarr"},
        "register": {"max_shift": 24},
        "output": {"shifts": "shifts.zarr"},
        "cluster": {"kind": "in-process"},
    }
    shifts = steadystack.run(make_config(given, folder=tmp_path))
    seen = MaskSeen(**json.loads(shifts.attrs["mask_seen"]))
    assert seen.valid == pytest.approx(case.mask.mean())
    assert seen.inverted
    assert "(the mask looks inverted" in shifts.attrs["verdict"]
    given["mask"]["invert"] = True
    right = steadystack.run(make_config(given, folder=tmp_path), overwrite=True)
    assert right.attrs["verdict"] == "good"


def test_a_mask_over_what_moves_in_front_of_a_still_scene_is_only_asked_about():
    """An object under a mask that moves, and a camera at rest: it may be as meant."""
    rng = np.random.default_rng(2)
    frames = views(rng, np.zeros((1, 2)))[0] + 0 * wander(rng)[:, :1, None]
    mask = np.ones(frames.shape[1:], bool)
    mask[40:90, 40:90] = False
    frames = noisy(rng, np.where(mask, frames, views(rng, wander(rng))), 0.05)
    shifts = steadystack.estimate_shifts(frames, mask=mask, max_shift=24)
    assert "the mask may be inverted" in shifts.attrs["verdict"]
    assert shifts.attrs["verdict"].startswith("look at it")


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
