"""Frames that stay in memory after they were read."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xarray as xr

from steadystack.checks.sampling import KeptFrames
from steadystack.model import Frame, FrameStatus
from steadystack.readers import ArrayFrames

FRAMES = np.random.default_rng(0).normal(size=(6, 20, 30)).astype("f4")
BYTES = 20 * 30 * (4 + 1)
WHOLE, PART = None, (slice(2, 8), slice(0, 30))


def of_array():
    return ArrayFrames.checked(xr.DataArray(FRAMES, dims=("t", "y", "x")))


class Counted:
    """The source, and which frames were read of it; those of `broken` cannot be."""

    def __init__(self, source, broken=()):
        self.source, self.broken, self.reads = source, set(broken), []

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, frame, region=None):
        self.reads.append(frame)
        if frame in self.broken:
            return Frame.unreadable((20, 30), OSError("gone"))
        return self.source.read(frame, region)


def test_a_frame_is_read_once_by_region():
    counted = Counted(of_array())
    kept = KeptFrames(counted)
    for _ in range(3):
        assert np.array_equal(kept.read(1, WHOLE).image, FRAMES[1])
        assert np.array_equal(kept.read(1, PART).image, FRAMES[1, 2:8])
        assert np.array_equal(kept.read(4, WHOLE).image, FRAMES[4])
    assert counted.reads == [1, 1, 4]
    assert kept.frame_count == 6
    assert kept.frame_shape == (20, 30)
    assert kept.axes == counted.axes


def test_those_read_last_stay_as_far_as_they_fit():
    counted = Counted(of_array())
    kept = KeptFrames(counted, most_bytes=2 * BYTES)
    for frame in (0, 1, 0, 2, 0, 1):
        kept.read(frame)
    assert counted.reads == [0, 1, 2, 1]
    assert len(kept.kept) == 2


def test_one_that_cannot_be_read_is_asked_for_again():
    counted = Counted(of_array(), broken=[3])
    kept = KeptFrames(counted)
    assert kept.read(3).status is FrameStatus.UNREADABLE
    counted.broken.clear()
    assert kept.read(3).status is FrameStatus.OK
    assert counted.reads == [3, 3]


def test_it_travels_without_what_it_keeps():
    kept = KeptFrames(of_array())
    kept.read(2)
    again = pickle.loads(pickle.dumps(kept))
    assert isinstance(again.source, ArrayFrames)
    assert not again.kept
    assert np.array_equal(again.read(2).image, FRAMES[2])


def test_threads_may_read_at_the_same_time():
    """A worker in the process of the run hands the same frames to all of its threads."""
    interval = sys.getswitchinterval()
    kept = KeptFrames(of_array(), most_bytes=2 * BYTES)

    def read_some(seed):
        frames = np.random.default_rng(seed).integers(0, len(FRAMES), 2000).tolist()
        return all(np.array_equal(kept.read(frame).image, FRAMES[frame]) for frame in frames)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(read_some, range(4)))
    finally:
        sys.setswitchinterval(interval)
