"""The table of pairs as frames come, and which frames a new one is measured against."""

from __future__ import annotations

import numpy as np

from steadystack.following.provisional import join, resize_frames
from steadystack.model import FRAME_FIELDS, PAIR_FIELDS, FrameStatus, PairTable


def filled(pairs, count, seed):
    """A table with numbers in all columns."""
    table, rng = PairTable.unmeasured(np.array(pairs), count, 2), np.random.default_rng(seed)
    for name in (*PAIR_FIELDS[2:], *FRAME_FIELDS):
        column = getattr(table, name)
        column[:] = rng.integers(1, 4, column.shape)
    return table


def test_more_frames_leave_what_is_known():
    table = filled([[0, 1], [1, 2]], 3, seed=1)
    larger = resize_frames(table, 6)
    for name in PAIR_FIELDS:
        np.testing.assert_array_equal(getattr(larger, name), getattr(table, name))
    for name in FRAME_FIELDS:
        np.testing.assert_array_equal(getattr(larger, name)[:3], getattr(table, name))
    assert (larger.frame_read_status[3:] == FrameStatus.UNMEASURED.code).all()
    assert resize_frames(larger, 4) is larger


def test_joined_pairs_bring_the_frames_that_were_read():
    before, found = filled([[0, 1]], 4, seed=1), filled([[1, 2], [0, 2]], 3, seed=2)
    found.frame_read_status[:] = [1, 0, 3]  # the second was not read
    status = before.frame_read_status.copy()
    joined = join(before, found)
    np.testing.assert_array_equal(joined.reference, [0, 1, 0])
    np.testing.assert_array_equal(joined.shift[1:], found.shift)
    np.testing.assert_array_equal(joined.frame_read_status, [1, status[1], 3, status[3]])
