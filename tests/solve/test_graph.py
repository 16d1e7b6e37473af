"""Bridges of the pair graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from steadystack.solve.graph import find_bridges, label_connected
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
