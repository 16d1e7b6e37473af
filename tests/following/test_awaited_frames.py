"""Which frames are looked at, and which are taken for frames that nobody has written yet."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.following.awaited_frames import is_of_one_value, list_later


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 500])
def test_few_of_many_later_frames_are_looked_at(count):
    behind = range(7, 7 + count)
    looked_at = list(list_later(behind))
    assert set(looked_at) <= set(behind)
    assert set(looked_at) >= {*behind[:2], *behind[-1:]}
    assert len(looked_at) <= 2 + np.log2(max(count, 1))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((3, 4), "u2"), True),
        (np.full((3, 4), np.nan), True),
        (np.array([[0, 0], [0, 1]]), False),
        (np.array([[np.nan, 0.0], [np.nan, np.nan]]), False),
    ],
)
def test_images_of_one_value(image, expected):
    assert is_of_one_value(image) is expected
