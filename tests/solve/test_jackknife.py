"""Steps of parts are solved like shifts, and their spread is the error of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack.model import PairStatus, PairTable
from steadystack.solve import solve_shifts
from steadystack.solve.jackknife import join_std

FRAMES, PARTS = 12, 9


def table(seed=0, noise=0.02, walk=0.05):
    """Pairs of a window, and parts that walk away each by itself."""
    rng = np.random.default_rng(seed)
    pairs = np.array([(i, j) for i in range(FRAMES) for j in range(i + 1, min(i + 4, FRAMES))])
    truth = np.cumsum(rng.normal(0, 1, (FRAMES, 2)), axis=0)
    parts = np.cumsum(rng.normal(0, walk, (FRAMES, PARTS, 2)), axis=0)  # of each, in each frame
    found = PairTable.unmeasured(pairs, FRAMES, 2)
    found.status[:] = PairStatus.OK.code
    found.frame_read_status[:] = 0
    moved = parts[pairs[:, 1]] - parts[pairs[:, 0]]
    whole = moved.mean(axis=1)
    found.part_step[:] = (moved - whole[:, None]) / PARTS
    found.shift[:] = truth[pairs[:, 1]] - truth[pairs[:, 0]] + whole
    found.shift[:] += rng.normal(0, noise, found.shift.shape)
    found.shift_std[:] = noise
    found.ncc[:] = 0.9
    return found, truth - truth[0]


def test_a_step_is_what_a_part_moves():
    """Shifts with a step added to every pair are solved to shifts that have moved by as much."""
    pairs, _ = table()
    frames = solve_shifts(pairs, robust=False)
    for part in (0, 5):
        moved = replace(pairs, shift=pairs.shift + 1e-3 * pairs.part_step[:, part])
        again = solve_shifts(moved, robust=False)
        np.testing.assert_allclose(
            (again.shift - frames.shift) / 1e-3, frames.part_step[:, part], atol=2e-3
        )


def test_the_spread_is_the_error_of_parts_that_walk():
    """Residuals hardly see it, as parts are wrong in all of their pairs; the jackknife does."""
    ratios = []
    for seed in range(40):
        pairs, truth = table(seed, noise=1e-3)
        frames = solve_shifts(pairs)
        assert (frames.stated_std[1:] < frames.part_std[1:]).mean() > 0.9
        ratios.append((frames.shift - truth)[1:] / frames.shift_std[1:])
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(1.0, abs=0.25)


def test_what_is_not_known_changes_nothing():
    pairs, _ = table()
    known = solve_shifts(pairs)
    pairs.part_step[:] = np.nan
    unknown = solve_shifts(pairs)
    assert np.isnan(unknown.part_std).all()
    np.testing.assert_array_equal(unknown.shift_std, unknown.stated_std)
    np.testing.assert_array_equal(unknown.shift, known.shift)
    np.testing.assert_array_equal(unknown.stated_std, known.stated_std)


def test_few_pairs_without_parts_are_passed_over_many_are_not():
    pairs, _ = table()
    whole = solve_shifts(pairs).part_std[1:].mean()
    pairs.part_step[15:17] = np.nan
    assert solve_shifts(pairs).part_std[1:].mean() == pytest.approx(whole, rel=0.3)
    pairs.part_step[: len(pairs.status) * 2 // 3] = np.nan
    assert np.isnan(solve_shifts(pairs).part_std).all()


def test_the_larger_of_both_is_stated():
    stated, parts = np.array([1.0, 2.0, np.nan, 3.0]), np.array([2.0, 1.0, 1.0, np.nan])
    np.testing.assert_array_equal(join_std(stated, parts), [2.0, 2.0, np.nan, 3.0])
