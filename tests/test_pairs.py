"""Which pairs, and how they are cut into batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model import InputError
from pipeline.pairs import STRATEGIES, batch_pairs, frames_held, select_pairs

EXPECTED = {
    "consecutive": ({}, [(0, 1), (1, 2), (2, 3)]),
    "reference": ({"reference": 2}, [(2, 0), (2, 1), (2, 3)]),
    "window": ({"width": 2}, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]),
    "lags": ({"lags": [3, 1, 3, 8]}, [(0, 1), (0, 3), (1, 2), (2, 3)]),
    "all": ({}, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pairs_of_four_frames(strategy):
    options, expected = EXPECTED[strategy]
    assert [tuple(pair) for pair in select_pairs(4, strategy, **options).tolist()] == expected


@pytest.mark.parametrize(
    ("count", "strategy", "options", "words"),
    [
        (1, "all", {}, "a stack of 1 frame"),
        (4, "reference", {"reference": 4}, "0 to 3"),
        (4, "lags", {"lags": [4, 9]}, "longer than the stack"),
        (4, "lags", {"lags": [0, 1]}, "at least 1 apart"),
        (4, "nearest", {}, "not one of consecutive"),
    ],
)
def test_impossible_pairs_are_refused(count, strategy, options, words):
    with pytest.raises(InputError, match=words):
        select_pairs(count, strategy, **options)


@given(
    st.integers(2, 60),
    st.sampled_from(STRATEGIES),
    st.integers(1, 12),
    st.integers(2, 20),
    st.integers(1, 50),
)
@settings(deadline=None, max_examples=200)
def test_batches_hold_every_pair_once_within_the_limits(count, strategy, width, frames, most):
    pairs = select_pairs(count, strategy, width=width, lags=[1, width])
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    batches = batch_pairs(pairs, frames, most)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(np.unique(pairs[batch])) <= frames


def test_batches_of_a_window_read_each_frame_about_once():
    pairs = select_pairs(1000, "window", width=5)
    batches = batch_pairs(pairs, 80, 10**6)
    read = sum(len(np.unique(pairs[batch])) for batch in batches)
    assert read < 1.4 * 1000


def test_batches_of_all_pairs_are_blocks():
    pairs = select_pairs(200, "all")
    batches = batch_pairs(pairs, 40, 10**6)
    read = sum(len(np.unique(pairs[batch])) for batch in batches)
    assert read < 2.5 * len(pairs) / 20  # two frames of 40 serve 20 pairs each


def test_frames_are_held_from_their_first_pair_to_their_last():
    assert frames_held(np.array([[0, 1], [1, 2], [2, 3], [3, 4]])) == (2, 3)
    assert frames_held(np.array([[0, 1], [2, 3], [4, 5], [0, 6]])) == (3, 3)
    assert frames_held(np.array([[0, 1], [1, 0]])) == (2, 4)
    assert frames_held(select_pairs(50, "window", width=4)) == (5, 6)
    assert frames_held(select_pairs(20, "all")) == (20, 20)


def test_a_batch_needs_two_frames():
    with pytest.raises(ValueError, match="at least 2"):
        batch_pairs(np.array([[0, 1]]), 1, 5)
