"""The table of pairs as frames come, and which frames a new one is measured against."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import xarray as xr

from steadystack.config import make_config
from steadystack.following import provisional
from steadystack.following.provisional import (
    ProvisionalShifts,
    choose_cell,
    join,
    resize_frames,
)
from steadystack.model import FRAME_FIELDS, PAIR_FIELDS, FrameStatus, PairTable
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.register import Search
from support.scenes import Scene, ellipse


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


SIZE, COUNT = (64, 72), 14


class CountedFrames(ArrayFrames):
    """Frames in memory, and how often each is read."""

    reads: Counter[int]

    def read(self, frame, region=None):
        self.reads[frame] += 1
        return super().read(frame, region)


def make_frames(kind):
    """Frames that drift slowly, then by a jump; their masks; and the true shift of each."""
    rng, scene = np.random.default_rng(3), Scene(3)
    truth = np.cumsum(rng.normal(0, 0.7, (COUNT, 2)), axis=0)
    truth[9:] += (11, -9)
    truth -= truth[0]
    frames = np.stack([scene.view(SIZE, shift) for shift in truth])
    frames = (frames + rng.normal(0, 0.3, frames.shape)).astype("f4")
    mask = None if kind == "whole" else np.stack([ellipse(SIZE, 0.95)] * COUNT)
    if kind == "other masks":
        for frame, valid in enumerate(mask):
            valid[30 + frame, 20:24] = False  # few, which are subtracted one by one
            valid[:, : 12 * (frame % 4 == 3)] = False
        frames[~mask] = 50
    return frames, mask, truth


def make_setup(frames, mask):
    """The run of frames in memory that count how often they are read."""
    source = CountedFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), mask)
    object.__setattr__(source, "reads", Counter())
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 20},
                          "preprocess": {"low_pass": None, "high_pass": None}})  # fmt: skip
    return set_up(config, make_series(source)), source


def follow(frames, mask, forgotten=None):
    """What is told of frames one after the other, and how often each was read."""
    setup, source = make_setup(frames, mask)
    shifts = ProvisionalShifts(setup)
    told = []
    for frame in range(len(frames)):
        if frame == forgotten:
            shifts.estimate(setup, frame)
            shifts.forget(frame)
        told.append(shifts.estimate(setup, frame))
    return told, source.reads


@pytest.mark.parametrize("kind", ["whole", "one mask", "other masks"])
def test_frames_that_are_held_are_not_read_again_and_change_nothing(kind, monkeypatch):
    frames, mask, truth = make_frames(kind)
    held, reads = follow(frames, mask, forgotten=6)
    monkeypatch.setattr(provisional, "LARGEST_HELD", 0)
    alone, reads_alone = follow(frames, mask)
    for one, other in zip(held, alone, strict=True):
        assert (one.status, one.anchor) == (other.status, other.anchor)
        np.testing.assert_allclose(one.shift, other.shift, atol=1e-4)
        np.testing.assert_allclose(one.std, other.std, rtol=1e-3)
    assert np.abs(np.array([one.shift for one in held]) - truth).max() < 0.2
    assert reads[0] <= 4 < 10 < reads_alone[0]  # the early one
    assert reads.total() < 0.6 * reads_alone.total()


def test_a_mask_that_is_edited_meanwhile_is_that_of_all_frames():
    """Frames that were held would lie in the box of the mask as it was, 10 rows further up."""
    frames, _, truth = make_frames("whole")
    setups = []
    for rows in (slice(0, 50), slice(10, 60)):
        mask = np.zeros(SIZE, bool)
        mask[rows] = True
        setups.append(make_setup(frames, mask)[0])
    shifts = ProvisionalShifts(setups[0])
    told = [shifts.estimate(setups[frame >= 5], frame) for frame in range(9)]
    assert np.abs(np.array([one.shift for one in told]) - truth[:9]).max() < 0.2


def test_searches_stay_while_frames_drift_a_little():
    search = Search.make((400, 400), (400, 400), (50, 50))
    pairs = np.array([[0, 2], [1, 2]])

    def choose(*centres):
        return choose_cell(np.array(centres), pairs, search)

    assert choose((0, 0), (4, -3)) == choose((1, 1), (-2, 0)) == (9, 9)
    assert choose((0, 0), (5, -3)) == (17, 9)
    far = choose((0, 0), (5, 48))
    assert far == provisional.find_cheapest_cell(np.array([(0, 0), (5, 48)]), pairs, search)
