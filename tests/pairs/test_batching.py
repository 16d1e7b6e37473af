"""Pairs that are measured together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystack.pairs import STRATEGIES, batch_pairs, count_held_frames, select_pairs


@given(
    st.integers(2, 60),
    st.sampled_from([name for name in STRATEGIES if name != "list"]),
    st.integers(1, 12),
    st.integers(2, 20),
    st.integers(1, 50),
)
@settings(deadline=None, max_examples=200)
def test_batches_hold_every_pair_once_within_the_limits(count, strategy, width, frames, most):
    pairs = select_pairs(count, strategy, width=width, separations=[1, width])
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    batches = list(batch_pairs(pairs, frames, most))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(np.unique(pairs[batch])) <= frames


def test_batches_of_strides_read_each_frame_a_few_times():
    pairs = select_pairs(4000, "multiscale", width=5)
    read = sum(len(np.unique(pairs[batch])) for batch in batch_pairs(pairs, 80, 10**6))
    assert read < 1.6 * 4000


def test_batches_of_a_window_read_each_frame_about_once():
    pairs = select_pairs(1000, "window", width=5)
    batches = list(batch_pairs(pairs, 80, 10**6))
    read = sum(len(np.unique(pairs[batch])) for batch in batches)
    assert read < 1.4 * 1000


def test_batches_of_all_pairs_are_blocks():
    pairs = select_pairs(200, "all")
    batches = list(batch_pairs(pairs, 40, 10**6))
    read = sum(len(np.unique(pairs[batch])) for batch in batches)
    assert read < 2.5 * len(pairs) / 20  # two frames of 40 serve 20 pairs each


def test_frames_are_held_from_their_first_pair_to_their_last():
    assert count_held_frames(np.array([[0, 1], [1, 2], [2, 3], [3, 4]])) == (2, 3)
    assert count_held_frames(np.array([[0, 1], [2, 3], [4, 5], [0, 6]])) == (3, 3)
    assert count_held_frames(np.array([[0, 1], [1, 0]])) == (2, 4)
    assert count_held_frames(select_pairs(50, "window", width=4)) == (5, 6)
    assert count_held_frames(select_pairs(20, "all")) == (20, 20)


def test_a_batch_needs_two_frames():
    with pytest.raises(ValueError, match="at least 2"):
        batch_pairs(np.array([[0, 1]]), 1, 5)


@pytest.mark.parametrize("count", [2, 24, 1000])
@pytest.mark.parametrize("fewest", [1, 7, 200])
@pytest.mark.parametrize("width", [1, 5])
def test_batches_are_as_many_as_asked_for_and_of_one_size(count, fewest, width):
    pairs = select_pairs(count, "window", width=width)
    batches = list(batch_pairs(pairs, len(pairs) + 1, len(pairs), fewest))
    assert len(batches) == min(fewest, len(pairs))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))


def test_batches_of_all_pairs_are_blocks_where_pairs_are_what_limits_them():
    pairs = select_pairs(100, "all")
    batches = list(batch_pairs(pairs, 226, 225))  # blocks of 15 x 15
    read = [len(np.unique(pairs[batch])) for batch in batches]
    assert max(read) <= 4 * 15  # a batch may begin in the middle of a block
    assert sum(read) < 1.4 * len(pairs) * 30 / 225


def test_the_first_batch_does_not_wait_for_the_others():
    """Only the columns are looked at once; batches are made as they are asked for."""
    asked = list[int]()

    class Counted(np.ndarray):
        def __getitem__(self, index):
            if isinstance(index, np.ndarray):
                asked.append(len(index))
            return super().__getitem__(index)

    pairs = select_pairs(20_000, "window", width=10)
    batches = batch_pairs(pairs.view(Counted), 302, 301)
    assert len(next(batches)) > 200
    assert sum(asked) < len(pairs) / 20
    assert 300 < sum(1 for _ in batches) < 1000


def test_pairs_in_any_order_are_batched_alike():
    pairs = select_pairs(200, "separations", separations=[1, 7])
    mixed = np.random.default_rng(0).permutation(len(pairs))
    batches = [
        [set(map(tuple, rows[batch].tolist())) for batch in batch_pairs(rows, 20, 30)]
        for rows in (pairs, pairs[mixed])
    ]
    assert batches[0] == batches[1]
