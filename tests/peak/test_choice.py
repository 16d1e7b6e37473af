"""Which lag is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack import peak
from support.surfaces import bump, surface


def test_significance_weighs_the_ncc_with_the_overlap():
    found = surface([[0.5, 0.5, np.nan]])
    found.overlap_count[0, 1] = 103
    z = peak.compute_significance(found)
    assert z[0, 1] == pytest.approx(np.arctanh(0.5) * 10)
    assert z[0, 0] > 9 * z[0, 1]
    assert z[0, 2] == -np.inf


def test_a_high_ncc_at_a_small_overlap_does_not_win():
    found = surface(bump((3, -2), height=0.6))
    found.ncc[2, 2] = 0.98
    found.overlap_count[2, 2] = 40
    assert peak.register(found, subpixel=False).shift.tolist() == [3, -2]


def test_the_lag_is_the_local_maximum_of_the_ncc():
    found = surface(bump((6, 0), width=9))
    # so steep a fall of the overlap moves the most significant lag, but not the NCC's maximum
    found.overlap_count[:] = np.linspace(20000, 100, 41)[:, None]
    assert np.unravel_index(peak.compute_significance(found).argmax(), (41, 41)) != (26, 20)
    assert peak.find_peak(found).index == (26, 20)
