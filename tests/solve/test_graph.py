"""Bridges of the pair graph, and what they are worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from steadystack.solve.graph import drop_weak_links, find_bridges, label_connected
from support.graphs import graphs, random_graph


@given(graphs)
@settings(deadline=None, max_examples=60)
def test_bridges_are_the_pairs_that_cut(graph):
    count, more, seed = graph
    start, end = random_graph(np.random.default_rng(seed), count, more // 4).T
    found = find_bridges(start, end, count)
    for pair in range(len(start)):
        rest = np.arange(len(start)) != pair
        labels = label_connected(start[rest], end[rest], count)
        assert found[pair] == (labels[start[pair]] != labels[end[pair]])


# Six frames, all pairs of five of them, and one pair of the sixth; the pairs that show no shift.
BLANK = {
    "none was looked at": ([], True),
    "as near": ([(4, 5), (5, 6)], False),
    "nearer": ([(4, 5)], False),
    "farther": ([(2, 5), (1, 5)], True),
    "with a frame that has no usable pair": ([(5, 6)], True),
    "of the firm part": ([(0, 1), (1, 2)], True),
}
# Two triangles that one pair joins, and a nearer one that shows no shift: either confirms itself.
TRIANGLES = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (1, 3)]


@pytest.mark.parametrize("name", BLANK)
def test_a_lone_link_is_dropped_where_one_as_near_shows_no_shift(name):
    blank, is_kept = BLANK[name]
    firm = [(one, other) for other in range(5) for one in range(other)]
    start, end = np.array([*firm, (3, 5)]).T
    accepted = np.ones(len(start), bool)
    kept = drop_weak_links(start, end, accepted, 7, np.array(blank, np.int64).reshape(-1, 2))
    assert kept[:-1].all()
    assert kept[-1] == is_kept


def test_several_frames_that_go_together_are_no_lone_frame():
    start, end = np.array(TRIANGLES).T
    assert drop_weak_links(start, end, np.ones(7, bool), 6, np.array([(2, 3)])).all()


@given(graphs)
@settings(deadline=None, max_examples=60)
def test_blank_pairs_take_away_bridges_only(graph):
    count, more, seed = graph
    rng = np.random.default_rng(seed)
    start, end = random_graph(rng, count, more).T
    blank = random_graph(rng, count, more // 2)
    accepted = np.ones(len(start), bool)
    kept = drop_weak_links(start, end, accepted, count, blank)
    dropped = np.flatnonzero(~kept)
    assert find_bridges(start, end, count)[dropped].all()
    # of a chain, in which every pair is as near as can be, nothing is taken
    chain = np.arange(count)
    links, farther = (chain[:-1], chain[1:]), np.stack([chain[:-2], chain[2:]], axis=1)
    assert drop_weak_links(*links, np.ones(count - 1, bool), count, farther).all()
