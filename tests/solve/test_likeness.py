"""Frames that are unlike those around them, from the NCC of their pairs alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack.model import PairStatus, PairTable
from steadystack.pairs import select_pairs
from steadystack.solve.likeness import find_dissimilar_frames

WINDOW = {"strategy": "window", "width": 8}
PLANS = {
    "window of 8": WINDOW,
    "window of 2": {"strategy": "window", "width": 2},
    "consecutive": {"strategy": "consecutive"},
    "separations": {"strategy": "separations", "separations": [1, 2, 4, 8]},
    "multiscale": {"strategy": "multiscale", "width": 4},
    "all": {"strategy": "all"},
}


def table(level, plan, *, half_life=np.inf, noise=0.03, cut=None, seed=0):
    """Pairs whose NCC is the product of their frames' levels and of what is left with the lag."""
    count, rng = len(level), np.random.default_rng(seed)
    pairs = select_pairs(count, **plan)
    start, end = pairs.T
    ncc = level[start] * level[end] * 0.5 ** ((end - start) / half_life)
    ncc *= np.exp(rng.normal(0, noise, len(pairs)))
    if cut is not None:
        ncc = np.where((start < cut) & (end >= cut), 0.01, ncc)
    status = np.full(len(pairs), PairStatus.OK.code, np.int8)
    return replace(PairTable.unmeasured(pairs, count, 2), ncc=ncc, status=status)


def flagged(pairs) -> list[int]:
    return np.flatnonzero(find_dissimilar_frames(pairs)).tolist()


def with_dips(*frames, count=60, depth=0.2):
    level = np.full(count, 0.9)
    level[list(frames)] *= depth
    return level


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("half_life", [np.inf, 6.0])
def test_bad_frames_are_found(plan, half_life):
    found = flagged(table(with_dips(20, 40), PLANS[plan], half_life=half_life))
    assert found == [20, 40]


@pytest.mark.parametrize("bad", [[0], [59], [30, 31], [30, 31, 32], [5, 6, 30, 50, 51]])
def test_some_bad_frames_together_and_at_the_ends(bad):
    assert flagged(table(with_dips(*bad), WINDOW)) == bad


@pytest.mark.parametrize("scale", [1.0, 0.03])
def test_it_is_free_of_scale(scale):
    pairs = table(with_dips(20), WINDOW)
    assert flagged(replace(pairs, ncc=scale * pairs.ncc)) == [20]
    assert flagged(replace(pairs, ncc=-pairs.ncc)) == [20]  # frames that are each other's negative


def test_order_and_roles_do_not_matter():
    pairs = table(with_dips(20, 33), WINDOW)
    rng = np.random.default_rng(1)
    order, swap = rng.permutation(len(pairs.ncc)), rng.random(len(pairs.ncc)) < 0.5
    start, end = pairs.reference[order], pairs.moving[order]
    other = replace(
        pairs,
        reference=np.where(swap, end, start),
        moving=np.where(swap, start, end),
        ncc=pairs.ncc[order],
    )
    assert flagged(other) == [20, 33]


rng = np.random.default_rng(4)
ORDINARY = {
    "alike": np.full(60, 0.9),
    "fading": np.geomspace(0.95, 0.05, 60),
    "fading fast": np.geomspace(0.95, 0.001, 60),
    "coming into focus": np.geomspace(0.1, 0.95, 60),
    "a step that lasts": np.where(np.arange(60) < 30, 0.9, 0.15),
    "a long gap in focus": np.where(np.abs(np.arange(60) - 30) < 12, 0.15, 0.9),
    "all different": np.exp(rng.uniform(np.log(0.05), 0, 60)),
    "alternating": np.where(np.arange(60) % 2, 0.9, 0.15),
    "somewhat worse": with_dips(20, depth=0.7),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_frames_are_not(name, plan):
    for half_life in (np.inf, 4.0):
        for seed in range(3):
            pairs = table(ORDINARY[name], PLANS[plan], half_life=half_life, seed=seed)
            assert flagged(pairs) == []


def test_the_scene_may_change_all_at_once():
    assert flagged(table(np.full(60, 0.9), WINDOW, cut=30)) == []


def test_against_one_reference_only():
    level = with_dips(25)
    assert flagged(table(level, {"strategy": "reference"}, half_life=20)) == [25]


def test_pairs_of_chance_tell_and_frames_stored_twice_do_not():
    pairs = table(with_dips(20), WINDOW)
    of_bad = (pairs.reference == 20) | (pairs.moving == 20)
    pairs.ncc[of_bad], pairs.status[of_bad] = np.nan, PairStatus.LOW_NCC.code
    assert flagged(pairs) == [20]
    pairs = table(np.full(60, 0.4), {"strategy": "consecutive"})
    pairs.ncc[[10, 12, 30]] = 1.0
    assert flagged(pairs) == []


def test_a_few_frames_tell_nothing():
    assert flagged(table(with_dips(2, count=4), {"strategy": "all"})) == []
    assert flagged(PairTable.unmeasured(np.zeros((0, 2), int), 3, 2)) == []
    assert flagged(PairTable.unmeasured(np.array([[0, 1], [1, 2]]), 3, 2)) == []
