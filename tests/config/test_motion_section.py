"""What frames may do besides being shifted, as the settings say it."""

from __future__ import annotations

import pytest

from steadystack.config import MotionSection
from steadystack.model import InputError


def test_nodes_are_counted_before_they_are_chosen():
    assert MotionSection().count_most_nodes(2) == (1, 1)
    assert MotionSection(model="local", grid=[4, 7]).count_most_nodes(2) == (4, 7)
    assert min(MotionSection(model="local").count_most_nodes(3)) > 2
    # auto may choose them
    assert MotionSection(model="auto").count_most_nodes(2) == (13, 13)
    for what in ({"grid": [4, 7]}, {"smooth_in_time": True}):
        with pytest.raises(ValueError, match="model is translation"):
            MotionSection(**what)
    assert MotionSection(model="auto", smooth_in_time=True).decide("local").smooth_in_time


@pytest.mark.parametrize(
    ("shape", "blocks", "subpixel", "words"),
    [
        ((8, 64, 64), 1, True, "has 2 values, but frames have 3 axes"),
        ((64, 64), 4, True, "take 4"),
        ((64, 64), 1, False, "subpixel: true"),
        ((64, 60), 1, True, "7 nodes along x, but frames of 60 pixels allow at most 6"),
    ],
)
def test_frames_that_cannot_move_so_are_refused(shape, blocks, subpixel, words):
    section = MotionSection(model="local", grid=[4, 7])
    section.check_frames((64, 72), 1, True)
    with pytest.raises(InputError, match=words):
        section.check_frames(shape, blocks, subpixel)


def test_a_volume_has_no_more_boxes_than_can_be_solved():
    section = MotionSection(model="local", grid=[12, 12, 12])
    with pytest.raises(InputError, match="1331 boxes between its nodes, but at most 1000"):
        section.check_frames((200, 200, 200), 1, True)
