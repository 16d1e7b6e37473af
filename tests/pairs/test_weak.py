"""Further pairs: where the first ones left the graph weak, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystack.pairs import choose_extra_pairs, select_pairs
from steadystack.pairs.weak import CUT_PAIRS
from steadystack.solve.graph import label_components


def chosen(pairs, used, count, budget=100, readable=None, **options):
    """The pairs that are added, by hand and by the parts that the used ones make."""
    pairs, used = np.array(pairs), np.array(used, bool)
    part = label_components(*pairs[used].T, count, 0)
    readable = np.ones(count, bool) if readable is None else readable
    found = choose_extra_pairs(pairs, used, part, readable, budget, **options)
    return [tuple(pair) for pair in found.tolist()]


def without(pairs, bad):
    return ~np.isin(pairs, list(bad)).any(axis=1)


def test_two_islands_are_joined_by_the_closest_frames():
    pairs = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (4, 6)]
    used = [1, 1, 1, 0, 0, 1, 1, 1]  # frame 3 fits nothing
    assert chosen(pairs, used, 7, budget=1) == [(2, 4)]
    assert chosen(pairs, used, 7, budget=3) == [(2, 4), (2, 5), (1, 4)]


def test_every_island_gets_its_pair_before_any_gets_a_second_one():
    pairs = select_pairs(30, "consecutive")
    used = without(pairs, {9, 19, 20, 21})
    assert chosen(pairs, used, 30, budget=2) == [(8, 10), (18, 22)]
    assert set(chosen(pairs, used, 30, budget=4)[2:]) == {(8, 11), (18, 23)}


def test_islands_that_alternate_in_time_are_joined_once():
    pairs = [(0, 2), (2, 4), (1, 3), (3, 5), (4, 6)]
    assert chosen(pairs, [1] * 5, 7, budget=1) == [(0, 1)]
    many = chosen(pairs, [1] * 5, 7)
    assert len(many) == CUT_PAIRS
    assert all((a + b) % 2 for a, b in many)


def test_a_frame_whose_neighbours_are_bad_gets_pairs_further_away():
    count, bad, lonely = 24, {8, 9, 10, 12, 13, 14}, 11
    pairs = select_pairs(count, "window", width=4)
    used = without(pairs, bad)
    assert used[(pairs == lonely).any(axis=1)].sum() == 2
    added = chosen(pairs, used, count, readable=~np.isin(np.arange(count), list(bad)))
    of_it = [pair for pair in added if lonely in pair]
    assert of_it
    assert not {tuple(pair) for pair in pairs.tolist()} & set(added)
    assert all(abs(a - b) > 4 for a, b in added)
    assert not {frame for pair in added for frame in pair} & bad


def test_a_frame_without_any_pair_gets_the_closest_that_were_not_tried():
    pairs = select_pairs(12, "window", width=2)
    used = without(pairs, {5})
    added = [pair for pair in chosen(pairs, used, 12) if 5 in pair]
    assert added[:2] in ([(2, 5), (5, 8)], [(5, 8), (2, 5)])


def test_a_thin_cut_gets_pairs_across_it():
    pairs = select_pairs(20, "window", width=4)
    crossing = (pairs[:, 0] <= 9) & (pairs[:, 1] > 9)
    used = ~crossing
    used[np.flatnonzero(crossing)[4]] = True  # one of ten is left
    added = chosen(pairs, used, 20)
    across = [pair for pair in added if pair[0] <= 9 < pair[1]]
    assert len(across) >= CUT_PAIRS - 1
    assert added[0] in across


def test_a_frame_known_less_well_than_those_around_it_gets_pairs():
    pairs = select_pairs(15, "window", width=4)
    std = np.sqrt(np.arange(15.0))  # as it grows away from the anchor
    assert chosen(pairs, [1] * len(pairs), 15, std=std) == []
    std[7] *= 2
    assert chosen(pairs, [1] * len(pairs), 15, std=std) == [(2, 7), (7, 12)]


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("consecutive", {}),
        ("window", {"width": 3}),
        ("separations", {"separations": [1, 4]}),
        ("multiscale", {"width": 3}),
        ("reference", {"reference": 2}),
        ("all", {}),
    ],
)
def test_nothing_is_added_where_the_graph_is_as_planned(strategy, options):
    pairs = select_pairs(40, strategy, **options)
    assert chosen(pairs, [1] * len(pairs), 40) == []


def test_pairs_that_cannot_be_found_and_frames_that_cannot_be_read_are_left_out():
    pairs = select_pairs(20, "window", width=3)
    used = without(pairs, {9, 10})
    lit = ~np.isin(np.arange(20), [9, 10])
    added = chosen(pairs, used, 20, readable=lit)
    assert added
    assert not {9, 10} & {frame for pair in added for frame in pair}
    near = [pair for pair in added if pair[1] - pair[0] < 5]
    assert near
    assert len(near) < len(added)
    reach = chosen(pairs, used, 20, readable=lit, within_reach=lambda one, other: other - one < 5)
    assert reach
    assert all(other - one < 5 for one, other in reach)
    assert chosen(pairs, used, 20, budget=0, readable=lit) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(1, 5), st.floats(0, 1), st.integers(0, 30), st.integers())
def test_what_is_added_is_new_within_the_budget_and_the_same_again(
    count, width, part, budget, seed
):
    rng = np.random.default_rng(abs(seed))
    pairs = select_pairs(count, "window", width=width)
    used = rng.random(len(pairs)) < part
    readable = rng.random(count) > 0.1
    used &= readable[pairs].all(axis=1)
    added = chosen(pairs, used, count, budget, readable)
    assert len(added) == len(set(added)) <= budget
    assert not set(added) & {tuple(pair) for pair in pairs.tolist()}
    assert all(one < other and readable[one] and readable[other] for one, other in added)
    assert added == chosen(pairs, used, count, budget, readable)
    larger = chosen(pairs, used, count, budget + 5, readable)
    assert larger[: len(added)] == added
