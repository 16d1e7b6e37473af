"""Variances against a full inverse."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.solve import system as systems
from steadystack.solve.factors import Iteration
from support.graphs import random_graph


@pytest.mark.parametrize("way", ["band", "sparse", "iteration"])
def test_variances_are_those_of_the_full_inverse(way, monkeypatch):
    if way != "band":
        monkeypatch.setattr(systems, "BAND_ENTRIES", -1)
    if way == "iteration":
        monkeypatch.setattr(systems, "ALWAYS_FACTORIZED", -1)
        monkeypatch.setattr(systems, "SPARSE_ENTRIES", -1)
    rng = np.random.default_rng(5)
    for count in (2, 3, 20, 57):
        start, end = random_graph(rng, count, 2 * count).T
        graph = systems.System(start, end, count, np.array([count // 2]))
        weights = rng.uniform(0.1, 10, len(start))
        solver = graph.make_solver(weights)
        assert isinstance(solver, Iteration) == (way == "iteration")
        design = graph.design.toarray()
        inverse = np.linalg.inv(design.T @ (weights[:, None] * design))
        frame, pair = solver.compute_variances(*graph.ends)
        close = {"rtol": 0.6} if way == "iteration" else {"rtol": 1e-9}
        np.testing.assert_allclose(frame, np.diag(inverse), **close)
        expected = np.einsum("pi,ij,pj->p", design, inverse, design)
        np.testing.assert_allclose(pair, expected, **close)
        right = rng.normal(size=(count - 1, 2))
        np.testing.assert_allclose(solver.solve(right), inverse @ right, rtol=1e-8, atol=1e-9)
