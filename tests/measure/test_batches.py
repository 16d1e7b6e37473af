"""What a pilot has measured is taken over by the run, and is what that would measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.measure import MeasuredBefore, Method
from steadystack.model import PairStatus, PairTable
from steadystack.register import Search


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(3)
    scene = ndimage.gaussian_filter(rng.normal(size=(160, 160)), 1.5)
    scene /= scene.std()
    frames = np.stack([scene[n : n + 96, 2 * n : 2 * n + 96] for n in range(14)])
    frames = frames + rng.normal(0, 0.3, frames.shape)
    frames[5] = rng.normal(size=frames[5].shape)  # pairs without a shift are searched everywhere
    return frames


@pytest.mark.parametrize("strategy", ["consecutive", "window"])
def test_a_run_that_takes_over_is_one_that_measures_all(frames, strategy, monkeypatch):
    left = []

    def note(known, table, *asked, fill_in=MeasuredBefore.fill_in):
        fill_in(known, table, *asked)
        left.append(table.to_do.mean())

    monkeypatch.setattr(MeasuredBefore, "fill_in", note)
    found = steadystack.estimate_shifts(frames, pairs={"strategy": strategy})
    assert min(left) < 0.7
    monkeypatch.setattr(MeasuredBefore, "fill_in", lambda *asked: None)
    expected = steadystack.estimate_shifts(frames, pairs={"strategy": strategy})
    for name in expected.variables:
        np.testing.assert_array_equal(found[name], expected[name], name)
    assert found.attrs["verdict_reasons"] == expected.attrs["verdict_reasons"]


def test_pairs_of_another_source_or_method_are_not_taken_over():
    search = Search.make((32, 32), (32, 32), (8, 8))
    method, source, pairs = Method(search), object(), np.array([[0, 1], [1, 2], [2, 3]])
    known = PairTable.unmeasured(pairs, 4, 2)
    known.status[:] = [PairStatus.OK.code, PairStatus.LOW_NCC.code, PairStatus.UNREADABLE.code]
    before = MeasuredBefore()
    before.add(source, method, known)

    def count_left(source, method):
        table = PairTable.unmeasured(pairs[::-1], 4, 2)
        before.fill_in(table, source, method)
        return int(table.to_do.sum())

    assert count_left(source, replace(method)) == 1  # what cannot be read is tried again
    assert count_left(object(), method) == 3
    for change in (
        {"search": Search.make((32, 32), (32, 32), (9, 8))},
        {"flat_field": np.ones((32, 32))},
        {"initial_shifts": np.zeros((4, 2))},
        {"evaluates_parts": False},
    ):
        assert count_left(source, replace(method, **change)) == 3
