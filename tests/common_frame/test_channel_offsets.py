"""Constant offsets of channels: what pairs say of them, joined; which pairs are asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack.common_frame.channel_offsets import FEWEST, choose_pairs, join_offsets
from steadystack.model import PairStatus, PairTable
from steadystack.solve import solve_shifts

NO_PARTS = np.full((12, 9, 2), np.nan, np.float32)


def test_what_scatters_averages_out_and_what_is_alike_in_all_pairs_stays():
    """Draws with a known common error and known noise lie within what is stated of them."""
    rng, common, noise = np.random.default_rng(3), 0.05, 0.12
    stated = np.full((12, 2), np.hypot(common, noise))
    relative = []
    for _ in range(400):
        values = rng.normal(0, common, 2) + rng.normal(0, noise, (12, 2))
        found = join_offsets(values, stated, NO_PARTS)
        assert found.status is PairStatus.OK
        relative.append(found.offset / found.std)
    assert 0.7 < np.sqrt(np.mean(np.square(relative))) < 1.05


def test_the_disagreement_of_parts_is_the_error_where_it_is_larger():
    rng = np.random.default_rng(4)
    values, std = rng.normal(0, 0.01, (12, 2)), np.full((12, 2), 0.01)
    alone = join_offsets(values, std, NO_PARTS).std
    steps = np.tile(rng.normal(0, 0.05, (1, 9, 2)), (12, 1, 1)).astype(np.float32)
    steps -= steps.mean(axis=1, keepdims=True)
    found = join_offsets(values, std, steps)
    jackknife = np.sqrt(9 / 8 * np.square(steps[0]).sum(axis=0))
    assert (alone < 0.02).all()
    np.testing.assert_allclose(found.std, jackknife, rtol=0.3)


def test_one_stray_pair_does_not_count_and_two_halves_widen_the_error():
    values = np.random.default_rng(5).normal([3, -1], 0.02, (12, 2))
    std = np.full((12, 2), 0.02)
    stray = values.copy()
    stray[4] += 20
    found = join_offsets(stray, std, NO_PARTS)
    assert np.abs(found.offset - [3, -1]).max() < 0.03
    few = join_offsets(values[: FEWEST - 1], std[: FEWEST - 1], NO_PARTS[: FEWEST - 1])
    assert few.status is PairStatus.AMBIGUOUS
    assert np.isnan(few.offset).all()
    values[::2, 0] += 9
    assert join_offsets(values, std, NO_PARTS).std[0] > 1


@pytest.mark.parametrize(("step", "moves"), [(1.2, True), (0.1, False)])
def test_pairs_are_of_frames_that_moved_and_no_frame_is_asked_twice(step, moves):
    truth = step * np.arange(30)[:, None] * [1, -0.5]
    pairs = np.array([(i, i + d) for i in range(30) for d in (1, 2, 3) if i + d < 30])
    table = PairTable.unmeasured(pairs, 30, 2, 2)
    table.shift[:] = truth[pairs[:, 1]] - truth[pairs[:, 0]]
    table.shift_std[:], table.status[:] = 0.01, PairStatus.OK.code
    table.status[0] = PairStatus.LOW_NCC.code
    chosen = choose_pairs(replace(table), solve_shifts(table))
    assert len(chosen) >= FEWEST
    assert [0, 1] not in chosen.tolist()
    for ends in chosen.T:
        assert len(set(ends.tolist())) == len(ends)
    moved = np.linalg.norm(truth[chosen[:, 1]] - truth[chosen[:, 0]], axis=1)
    assert (moved > 2).all() == moves
