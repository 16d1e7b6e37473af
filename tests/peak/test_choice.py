"""Which lag is chosen."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import steadystack
from steadystack import peak
from steadystack.model import PairStatus
from support.members import slow_but
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


def make_lattice(rng, noise, kind):
    """Two views of one lattice, of a period and a shift that are no whole pixels."""
    period, move = rng.uniform(5, 16), rng.uniform(-14, 14, 2)
    y, x = np.mgrid[:96, :96] * 2 * np.pi / period
    views = []
    for dy, dx in ((0, 0), move * 2 * np.pi / period):
        waves = np.cos(y + dy) + np.cos(x + dx)
        scene = waves if kind == "waves" else np.exp(3 * (waves - 2))
        views.append(scene / scene.std() + noise * rng.normal(size=scene.shape))
    return views


@pytest.mark.parametrize(
    ("kind", "noise"),
    slow_but([("waves", 0.02), ("dots", 0.3)], product(["waves", "dots"], [0.02, 0.3])),
)
def test_another_period_of_a_lattice_is_as_good(kind, noise):
    """Whichever of its tops lies on a whole lag."""
    for seed in range(12):
        views = make_lattice(np.random.default_rng(seed), noise, kind)
        found = steadystack.register_translation(*views, max_shift=24)
        assert found.status in (PairStatus.AMBIGUOUS, PairStatus.AT_SEARCH_LIMIT)
        assert np.isnan(found.shift).all()


def test_a_top_between_the_lags_counts_with_its_height():
    found = surface(bump((0, 0), height=0.8) + bump((9.5, 10.5), height=0.79, width=2))
    chosen = peak.find_peak(found)
    assert found.ncc[29:31, 30:32].max() < 0.75
    rival = chosen.second_significance / chosen.significance
    assert rival == pytest.approx(np.arctanh(0.79) / np.arctanh(0.8), abs=0.02)
