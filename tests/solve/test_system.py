"""The weights of pairs that share frames."""

from __future__ import annotations

import numpy as np

from steadystack.pairs import select_pairs
from steadystack.solve.system import (
    System,
    compute_variances_about_mean,
    estimate_own_variances,
)


def test_what_frames_share_is_split_among_them():
    rng = np.random.default_rng(3)
    pairs = select_pairs(60, "window", width=5)
    truth = np.exp(rng.uniform(0, np.log(20), 60))
    start, end = pairs.T
    found = estimate_own_variances(start, end, 60, truth[start] + truth[end])
    np.testing.assert_allclose(found, truth, rtol=0.15)
    rough = (truth[start] + truth[end]) * np.exp(rng.normal(0, 0.5, len(pairs)))
    assert (estimate_own_variances(start, end, 60, rough) >= 0).all()
    # sums that leave it open: of a star, a chain, one pair; frames without a pair; nothing at all
    star = estimate_own_variances(np.zeros(5, int), np.arange(1, 6), 7, np.arange(2.0, 7.0))
    np.testing.assert_allclose(star[0] + star[1:6], np.arange(2.0, 7.0), rtol=0.05)
    assert star[6] == 0
    chain = estimate_own_variances(np.arange(5), np.arange(1, 6), 6, np.full(5, 2.0))
    np.testing.assert_allclose(chain, 1)
    np.testing.assert_allclose(
        estimate_own_variances(np.array([0]), np.array([1]), 2, np.array([3.0])), 1.5
    )
    assert (
        estimate_own_variances(np.zeros(0, int), np.zeros(0, int), 3, np.zeros(0)).tolist()
        == [0] * 3
    )
    assert estimate_own_variances(start, end, 60, np.zeros(len(pairs))).tolist() == [0] * 60


def test_variances_about_a_mean_are_those_of_the_whole_inverse():
    rng = np.random.default_rng(7)
    pairs = np.concatenate(
        [select_pairs(9, "window", width=3), 9 + select_pairs(6, "window", width=2)]
    )
    weights, held = rng.uniform(1, 5, len(pairs)), np.array([2, 9])
    component = np.repeat([0, 1], [9, 6])
    members = rng.random(15) < 0.6
    system = System(pairs[:, 0], pairs[:, 1], 15, held)
    about, alone = compute_variances_about_mean(system, weights, component, members)
    design = np.zeros((len(pairs), 15))
    design[np.arange(len(pairs)), pairs[:, 1]] = 1
    design[np.arange(len(pairs)), pairs[:, 0]] = -1
    inverse = np.zeros((15, 15))
    free = np.setdiff1d(np.arange(15), held)
    normal = design[:, free].T @ (weights[:, None] * design[:, free])
    inverse[np.ix_(free, free)] = np.linalg.inv(normal)
    for frame in range(15):
        contrast = -1.0 * (members & (component == component[frame]))
        contrast /= -contrast.sum()
        contrast[frame] += 1
        np.testing.assert_allclose(about[frame], contrast @ inverse @ contrast, atol=1e-12)
    np.testing.assert_allclose(alone, np.diag(inverse), atol=1e-12)
