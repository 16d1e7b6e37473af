"""Series whose pairs are refused as they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

import steadystack
from bench_verdict import noisy, views, wander
from steadystack.model import OtherConditioning
from support.members import slow_but
from support.smooth import smooth_series

OFF = {"low_pass": None, "high_pass": None}


def told(shifts):
    found = json.loads(shifts.attrs["other_conditioning"])
    return OtherConditioning(**found) if found else None


@pytest.mark.parametrize("seed", slow_but([1], [1, 2]))
def test_the_conditioning_that_is_told_finds_the_drift(seed):
    frames, truth = smooth_series(seed)
    lost = steadystack.estimate_shifts(frames, max_shift=24, preprocess=OFF)
    found = told(lost)
    assert found.found >= 6
    advice = json.loads(lost.attrs["verdict_reasons"])[0]["words"]
    assert f"set preprocess: {{{found.settings}}}" in advice
    settings = yaml.safe_load(f"{{{found.settings}}}")
    cured = steadystack.estimate_shifts(frames, max_shift=24, preprocess=settings)
    error = cured["frame_shift"].to_numpy() - truth
    assert np.isfinite(error).all()
    stated = cured["frame_shift_std"].to_numpy()
    assert np.sqrt(np.mean((error[1:] / stated[1:]) ** 2)) < 2
    assert told(cured) is None


def test_nothing_is_told_where_nothing_is_refused_or_nothing_helps():
    rng = np.random.default_rng(3)
    frames = noisy(rng, views(rng, wander(rng, 0.4)))
    assert told(steadystack.estimate_shifts(frames[:12], max_shift=24)) is None
    assert told(steadystack.estimate_shifts(rng.normal(size=(12, 96, 96)), max_shift=24)) is None
