"""The pairs to look at."""

from __future__ import annotations

import numpy as np

import steadystack
from steadystack.config import make_config
from steadystack.dataset import make_dataset, read_frames, read_pairs
from steadystack.model import FrameTable, PairStatus, PairTable, as_stack
from steadystack.planning import make_series, set_up
from steadystack.quality import make_close_ups
from steadystack.quality.worst_pairs import find_worst_pairs
from steadystack.readers import ArrayFrames
from support.scenes import Scene


def test_the_worst_pairs_are_some_of_every_kind():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7]])
    table = PairTable.unmeasured(pairs, 8, 1)
    codes = ("ok", "ok", "ok", "low_ncc", "low_ncc", "flat", "ambiguous")
    table.status[:] = [PairStatus(name).code for name in codes]
    table.shift_std[:3], table.ncc[3:5], table.ncc[6] = 0.1, [0.02, 0.05], 0.4
    residual = np.array([0.3, 0.1, 5.0, *[np.nan] * 4])[:, None]
    frames = read_frames(make_dataset(table, axes=("x",)))
    solved = FrameTable(**{**vars(frames), "residual": residual, "rejected": np.arange(7) == 2})
    assert find_worst_pairs(table, solved).tolist() == [2, 4, 6, 0, 3, 1]
    assert find_worst_pairs(table, solved, 2).tolist() == [2, 4]


def test_close_ups_look_where_a_prior_had_the_search_look():
    truth = np.arange(6)[:, None] * np.array([9.0, -7.0])
    frames = np.stack([Scene(1).view((96, 104), shift) for shift in truth])
    found = steadystack.estimate_shifts(
        frames, max_shift=5, initial_shifts=truth, pairs={"width": 2}
    )
    source = ArrayFrames.checked(as_stack(frames), None)
    asked = {"register": {"max_shift": 5}, "pairs": {"width": 2}}
    setup = set_up(make_config({"input": {"path": "memory"}, **asked}), make_series(source, truth))
    table = read_pairs(found)
    seen = make_close_ups(source, setup.method, table, read_frames(found))
    assert len(seen) == len(table.status)
    for one in seen:
        peak = np.unravel_index(np.nanargmax(one.surface), one.surface.shape)
        np.testing.assert_allclose(np.add(peak, one.first_lag), table.shift[one.row], atol=0.1)
