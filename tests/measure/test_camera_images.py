"""The static image of a series and the shifts without it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import steadystack
from steadystack.config import make_config
from steadystack.measure import Sample, camera_images
from steadystack.model import NO_COMPONENT, as_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from support.runs import leave_out_checks
from support.still import make_pattern, noise, views, way

SHAPE = (40, 44)
HOW = {
    "max_shift": 8,
    "pairs": {"strategy": "separations", "separations": [1, 2, 4, 8]},
    "defects": None,
    "parts": None,
    "preprocess": {"low_pass": None, "high_pass": None},
}


@pytest.fixture
def measured(monkeypatch):
    """How many pairs the check measured without a static image, and of how many it has a shift."""
    leave_out_checks(monkeypatch, ("probe_pairs", "sharpness"))
    counts: list[tuple[int, int]] = []
    measure = camera_images.Sample.measured

    def counting(self, pairs, pattern):
        table = measure(self, pairs, pattern)
        if pattern is not None:
            counts.append((len(pairs), int(table.ok.sum())))
        return table

    monkeypatch.setattr(camera_images.Sample, "measured", counting)
    return counts


def effect(frames):
    found = steadystack.estimate_shifts(frames.astype("f4"), **HOW)
    return json.loads(found.attrs["fixed_pattern_effect"])


def test_no_shift_is_looked_for_where_close_pairs_have_none(measured, monkeypatch):
    """The mean of a series that stands still holds all of it: what is left of it is noise.

    It is looked for as frames are, and with filters.
    """
    frames = views(np.zeros((24, 2)), shape=SHAPE)
    frames += noise(frames, 1)
    found = effect(frames)
    assert measured[:2] == [(camera_images.TRIED, 0)] * 2
    assert all(ok > 0 for _, ok in measured[2:])
    measured.clear()
    monkeypatch.setattr(camera_images, "TRIED", 1000)  # all 23 that are closest
    assert effect(frames) == pytest.approx(found, rel=1e-6)
    assert measured[:2] == [(23, 0)] * 2


def test_all_pairs_are_measured_where_close_ones_have_a_shift(measured):
    frames = views(way(24), shape=SHAPE) + make_pattern(SHAPE)
    frames += noise(frames, 0.3)
    effect(frames)
    every = sum(24 - apart for apart in (1, 2, 4, 8))
    assert all(ok > 0 for _, ok in measured)
    assert measured[0][0] + measured[1][0] == every


def test_frames_that_no_pair_connects_have_no_shift(monkeypatch):
    """Pairs may be usable and each be rejected, as the only one of its frames."""
    solve = camera_images.solve_shifts

    def rejecting(table):
        solved = solve(table)
        assert table.ok.any()
        return replace(solved, component=np.full_like(solved.component, NO_COMPONENT))

    frames = views(way(12), shape=SHAPE) + make_pattern(SHAPE)
    source = ArrayFrames.checked(as_stack(frames.astype("f4")), None)
    setup = set_up(make_config({"input": {"path": "memory"}}), make_series(source))
    sample = Sample(source, setup.method, setup.size, np.arange(12), np.ones(12))
    assert np.isfinite(sample.shifts(None)).all()
    monkeypatch.setattr(camera_images, "solve_shifts", rejecting)
    assert np.isnan(sample.shifts(None)).all()
