"""Constant offsets of channels: what pairs say of them, joined; which pairs are asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack.common_frame.channel_offsets import FEWEST, choose_pairs, join_offsets
from steadystack.model import PairStatus, PairTable
from steadystack.solve import solve_shifts

NO_PARTS = np.full((2, 12, 9, 2), np.nan, np.float32)
ALONE = np.arange(24).reshape(12, 2)  # pairs of frames that are in no other


def test_what_scatters_averages_out_and_what_is_alike_in_all_pairs_stays():
    """Draws with a known common error and known noise lie within what is stated of them."""
    rng, common, noise = np.random.default_rng(3), 0.05, 0.12
    stated = np.full((2, 12, 2), np.hypot(common, noise))
    relative = []
    for _ in range(400):
        values = rng.normal(0, common, 2) + rng.normal(0, noise, (2, 12, 2))
        found = join_offsets(values, stated, NO_PARTS, ALONE)
        assert found.status is PairStatus.OK
        relative.append(found.offset / found.std)
    assert 0.7 < np.sqrt(np.mean(np.square(relative))) < 1.05


def test_the_disagreement_of_parts_is_the_error_where_it_is_larger():
    rng = np.random.default_rng(4)
    values, std = rng.normal(0, 0.01, (2, 12, 2)), np.full((2, 12, 2), 0.01)
    alone = join_offsets(values, std, NO_PARTS, ALONE).std
    steps = np.tile(rng.normal(0, 0.05, (9, 2)), (2, 12, 1, 1)).astype(np.float32)
    steps -= steps.mean(axis=2, keepdims=True)
    steps[0, 3] = np.nan  # too little was seen there
    found = join_offsets(values, std, steps, ALONE)
    jackknife = np.sqrt(9 / 8 * np.square(steps[1, 0]).sum(axis=0))
    assert (alone < 0.02).all()
    np.testing.assert_allclose(found.std, jackknife, rtol=0.3)


def test_one_stray_pair_does_not_count_and_two_halves_widen_the_error():
    values = np.random.default_rng(5).normal([3, -1], 0.02, (2, 12, 2))
    std = np.full((2, 12, 2), 0.02)
    stray = values.copy()
    stray[:, 4] += 20
    found = join_offsets(stray, std, NO_PARTS, ALONE)
    assert np.abs(found.offset - [3, -1]).max() < 0.03
    few = slice(FEWEST - 1)
    found = join_offsets(values[:, few], std[:, few], NO_PARTS[:, few], ALONE[few])
    assert found.status is PairStatus.AMBIGUOUS
    assert np.isnan(found.offset).all()
    values[:, ::2, 0] += 9
    assert join_offsets(values, std, NO_PARTS, ALONE).std[0] > 1


def test_what_lies_on_both_sides_of_the_scene_in_both_ways_is_no_offset():
    """What stands still is behind in one way and ahead in the other, alike in all pairs."""
    rng, std = np.random.default_rng(6), np.full((2, 12, 2), 0.02)
    drift = np.array([[[2.4, 1.8]], [[-2.4, -1.8]]])
    found = join_offsets(rng.normal(-drift, 0.02, (2, 12, 2)), std, NO_PARTS, ALONE)
    assert found.status is PairStatus.AMBIGUOUS
    # shifts of frames that are wrong by less are in the error, and not in the offset
    values = rng.normal([3, -1] + 0.03 * drift, 0.02, (2, 12, 2))
    found = join_offsets(values, std, NO_PARTS, ALONE)
    assert np.abs(found.offset - [3, -1]).max() < 0.02
    assert 0.05 < found.std[0] < 0.12


def test_pairs_that_share_their_frames_count_for_less():
    values, std = np.zeros((2, 12, 2)), np.full((2, 12, 2), 0.1)
    chain = np.stack([np.arange(12), np.arange(1, 13)], axis=1)
    values += np.random.default_rng(7).normal(0, 0.1, values.shape)
    ratio = [join_offsets(values, std, NO_PARTS, frames).std for frames in (chain, ALONE)]
    assert (ratio[0] > ratio[1]).all()


@pytest.mark.parametrize("drift", [1.5, 0.01])
def test_every_frame_against_one_leaves_enough_to_ask(drift):
    truth = drift * np.arange(12)[:, None] * [2, -1]
    table = PairTable.unmeasured(np.array([(0, frame) for frame in range(1, 12)]), 12, 2, 2)
    table.shift[:] = truth[1:]
    table.shift_std[:], table.status[:] = 0.01, PairStatus.OK.code
    assert len(choose_pairs(table, solve_shifts(table))) >= 2 * FEWEST


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
