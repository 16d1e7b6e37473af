"""Scale bars and the words of a movie."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.movie.captions import FOOT, HEAD, MoviePage, choose_bar, make_captions


@pytest.mark.parametrize(
    ("width", "size", "unit", "expected"),
    [
        (512, 0.1, "micrometer", (200, "20 um")),
        (512, 1.0, "nm", (200, "200 nm")),
        (400, 0.005, "µm", (100, "500 nm")),
        (300, 13.0, "angstrom", (77, "100 nm")),
        (500, 40.0, "um", (125, "5 mm")),
        (200, 2.5, "parsec", (80, "200 parsec")),
        (512, float("nan"), "", None),
        (512, 0.1, "", None),
    ],
)
def test_a_bar_is_a_round_length(width, size, unit, expected):
    assert choose_bar(width, size, unit) == expected


def test_frames_bear_their_numbers_and_times():
    assert make_captions(range(10, 16, 3), None) == ["frame 10", "frame 13"]
    assert make_captions(range(3), ((0, 2.5, float("nan")), "second")) == [
        "frame 0, 0.0 s", "frame 1, 2.5 s", "frame 2",
    ]  # fmt: skip
    assert make_captions(range(2), ((30, 60), "seconds since 2020-01-01"))[1] == "frame 1, 60 s"
    assert make_captions(range(1), ((0.25,), "ms")) == ["frame 0, 0 ms"]


def test_pictures_stand_side_by_side_with_even_sides():
    page = MoviePage((31, 301), 0.1, "micrometer")
    panels = np.stack([np.full((31, 301), value, "u1") for value in (100, 200)])
    drawn = page.compose(panels, "frame 7")
    assert not np.array(drawn.shape) % 2 @ (1, 1)
    for where, panel in zip(page.find_panels(), panels, strict=True):
        np.testing.assert_array_equal(drawn[where], panel)
    foot = drawn[HEAD + 31 : HEAD + 31 + FOOT]
    assert (foot[FOOT // 2, 6:106] == 255).all(), "10 um are 100 pixels"
    assert (drawn[:HEAD] == 255).any()
    other = page.compose(panels, "frame 8")
    assert (other != drawn).any()
    assert (other[: HEAD + 31] == drawn[: HEAD + 31]).all()


def test_narrow_pictures_have_room_for_words():
    page = MoviePage((256, 16), float("nan"), "")
    drawn = page.compose(np.full((2, 256, 16), 99, "u1"), "frame 0")
    assert drawn.shape[1] >= 400
    assert (drawn[HEAD:-FOOT] == 99).sum() == 2 * 256 * 16
