"""Which frames count in a mean, and by how much; which stay where they were."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.correction.movements import (
    NEAR,
    Movements,
    choose_canvas,
    find_ok_frames,
    find_weights,
    keep_near,
)
from steadystack.model import FrameStatus, InputError
from support.corrected import TRUTH, shifts_of
from support.turning import turn, turn_volume

OK = FrameStatus.OK.code


def test_frames_count_whose_status_is_ok_in_the_component_of_the_anchor():
    values = TRUTH.copy()
    values[4] = np.nan
    statuses = [OK, FrameStatus.INTERPOLATED.code, OK, FrameStatus.DISSIMILAR.code, OK, OK]
    shifts = shifts_of(values, frame_status=statuses, component=[0, 0, 1, 0, 0, 0])
    assert find_ok_frames(shifts).tolist() == [True, False, False, False, False, True]
    assert find_weights(shifts, None).tolist() == [1, 0, 0, 0, 0, 1]
    assert find_weights(shifts, np.arange(6.0) + 2).tolist() == [2, 0, 0, 0, 0, 7]
    bare = shifts.drop_vars(["component", "frame_status"])
    assert find_ok_frames(bare).tolist() == [True] * 4 + [False, True]


def test_precision_is_that_of_a_pixel_beside_the_shift():
    shifts = shifts_of()
    std = np.array([[0, 0], [0.1, 0.3], [1, 1], [0, 2], [5, 5], [0.01, 0]])
    shifts["frame_shift_std"] = (("frame", "axis"), std)
    pixel = np.ones(2) / 12  # the variance of a place within a pixel, along each axis
    expected = [pixel.sum() / (pixel + row**2).sum() for row in std]
    np.testing.assert_allclose(find_weights(shifts, "precision"), expected)
    with pytest.raises(InputError, match="need the variable frame_shift_std"):
        find_weights(shifts_of(), "precision")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("dose", "weights 'dose' are not precision, None, or numbers"),
        (np.ones(5), r"the shape \(5,\): one for each of 6 frames"),
        (np.array([1, 2, -1, 1, 1, 1.0]), "the weight of frame 2 is -1"),
        (np.array([1, np.nan, np.nan, 1, 1, 1.0]), r"the weight of frame 1 is nan.*\(2 have none"),
        (np.zeros(6), "no frame is ok and has a weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, words):
    with pytest.raises(InputError, match=words):
        find_weights(shifts_of(), weights)


def test_a_frame_that_does_not_count_needs_no_weight():
    shifts = shifts_of(frame_status=[OK] * 5 + [FrameStatus.FLAT.code])
    weights = np.array([1, 1, 1, 1, 1, np.nan])
    assert find_weights(shifts, weights).tolist() == [1, 1, 1, 1, 1, 0]


def test_frames_stay_that_hardly_moved():
    """One by one: a new shift, in one axis or both, of a blank frame, and of one that was."""
    before = np.array([[1, 1], [1, 1], [1, 1], [np.nan] * 2, [np.nan] * 2, [1, 1], [0, 0]], float)
    moved = [[0, 0], [0, 0.049], [0.04, 0.04], [0, 0], [0, 0], [np.nan, 0], [0.03, 0.03]]
    now = before + np.array(moved)
    now[4] = 1
    now = np.concatenate([now, [[5, 5], [np.nan] * 2]])
    movements, stays = keep_near(Movements(now, np.isfinite(now[:, 0])), before, None, (30, 40))
    assert stays.tolist() == [True, True, False, True, False, False, True, False, False]
    np.testing.assert_array_equal(movements.shift[:7][stays[:7]], before[stays[:7]])
    np.testing.assert_array_equal(movements.shift[~stays], now[~stays])


@pytest.mark.parametrize("times", [0.99, 1.01])
def test_a_frame_moves_as_far_as_its_farthest_corner(times):
    """It turns by so much that a corner, (15, 20) px from the middle, moves by the bound."""
    angle = times * NEAR / np.hypot(15, 20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift, still = np.zeros((1, 2)), np.eye(2)[None]
    movements, stays = keep_near(
        Movements(shift, np.array([True]), turn[None]), shift, still, (30, 40)
    )
    assert stays.tolist() == [times < 1]
    assert movements.linear is not None
    np.testing.assert_array_equal(movements.linear, still if times < 1 else turn[None])


@pytest.mark.parametrize("border", ["crop", "expand"])
@pytest.mark.parametrize("linear", [turn(20), turn_volume([15, -12, 8])])
def test_the_box_is_that_of_all_channels_of_frames_that_turn(border, linear):
    """As if each channel were a series of its own."""
    ndim = len(linear)
    motions, shape = np.stack([np.eye(ndim), linear]), (30, 40, 50)[-ndim:]
    shift = np.array([np.zeros(ndim), np.arange(ndim) + 0.6])
    offsets = np.array([np.zeros(ndim), np.arange(ndim) - 3.3])
    good = np.array([True, True])
    box = choose_canvas(Movements(shift, good, motions, None, offsets), shape, border)
    alone = [choose_canvas(Movements(shift + by, good, motions), shape, border) for by in offsets]
    first, stop = (np.array([getattr(one, name) for one in alone]) for name in ("first", "stop"))
    outer, inner = (np.min, np.max) if border == "expand" else (np.max, np.min)
    assert box.first == tuple(outer(first, axis=0))
    assert box.stop == tuple(inner(stop, axis=0))
    still = choose_canvas(Movements(shift, good, None, None, offsets), shape, border)
    assert still.shape != box.shape
