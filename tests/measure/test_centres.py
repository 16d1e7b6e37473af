"""Where pairs are searched for if something is known before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystack.measure import Method, find_cheapest_cell, find_pair_centres
from steadystack.measure.centres import find_cells, group_by_cell, make_search
from steadystack.pairs import select_pairs
from steadystack.register import Search


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 3))
def test_cells_hold_all_pairs_once_and_the_window_of_each(seed, spread, ndim):
    rng = np.random.default_rng(seed)
    initial_shifts = rng.uniform(-spread, spread, (12, ndim))
    pairs = select_pairs(12, "window", width=4)
    search = Search.make((64,) * ndim, (64,) * ndim, [5] * ndim)
    method = Method(search, initial_shifts=initial_shifts)
    centres = find_pair_centres(method, pairs)
    method = replace(method, cell=find_cheapest_cell(centres, pairs, search))
    assert all(side % 2 for side in method.cell)
    np.testing.assert_array_equal(
        find_cells(-centres, method.cell), -find_cells(centres, method.cell)
    )
    rows = []
    for where, own in group_by_cell(method, pairs):
        np.testing.assert_array_equal(own, centres[where])
        wide = make_search(method, own).window
        for centre in own.tolist():
            if search.touches(centre):
                lags = search.choose_window(centre)[0]
                assert wide.clip_to(lags) == lags
        rows += where.tolist()
    assert sorted(rows) == list(range(len(pairs)))
