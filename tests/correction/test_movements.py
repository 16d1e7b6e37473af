"""Which frames count in a mean, and by how much."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.correction.movements import find_ok_frames, find_weights
from steadystack.model import FrameStatus, InputError
from support.corrected import TRUTH, shifts_of

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
        (np.array([1, np.nan, np.nan, 1, 1, 1.0]), r"the weight of frame 1 is nan.*\(2 do not"),
        (np.zeros(6), "no frame counts"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, words):
    with pytest.raises(InputError, match=words):
        find_weights(shifts_of(), weights)


def test_a_frame_that_does_not_count_needs_no_weight():
    shifts = shifts_of(frame_status=[OK] * 5 + [FrameStatus.FLAT.code])
    weights = np.array([1, 1, 1, 1, 1, np.nan])
    assert find_weights(shifts, weights).tolist() == [1, 1, 1, 1, 1, 0]
