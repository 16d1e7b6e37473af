"""Series whose pairs are refused as they are."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import steadystack
from bench_verdict import noisy, views, wander
from steadystack.checks import pilot
from steadystack.model import OtherConditioning, PairStatus, PairTable
from steadystack.pairs import select_pairs
from support.members import slow_but
from support.smooth import smooth_series

OFF = {"low_pass": None, "high_pass": None}
ALONE = {"max_shift": 24, "defects": None, "parts": None}


def told(shifts):
    found = json.loads(shifts.attrs["other_conditioning"])
    return OtherConditioning(**found) if found else None


@pytest.mark.parametrize("seed", slow_but([1], [1, 2]))
def test_the_conditioning_that_is_advised_finds_the_drift(seed, hurried):
    frames, truth = smooth_series(seed)
    lost = steadystack.estimate_shifts(frames, preprocess=OFF, **ALONE)
    found = told(lost)
    assert found.found >= 6
    advice = json.loads(lost.attrs["verdict_reasons"])[0]["words"]
    assert f"set preprocess: {{{found.settings}}}" in advice
    settings = yaml.safe_load(f"{{{found.settings}}}")
    cured = steadystack.estimate_shifts(frames, preprocess=settings, **ALONE)
    error = cured["frame_shift"].to_numpy() - truth
    assert np.isfinite(error).all()
    stated = cured["frame_shift_std"].to_numpy()
    assert np.sqrt(np.mean((error[1:] / stated[1:]) ** 2)) < 2
    assert told(cured) is None


def test_nothing_is_reported_where_nothing_is_refused_or_nothing_helps(hurried):
    rng = np.random.default_rng(3)
    frames = noisy(rng, views(rng, wander(rng, 0.4)))
    assert told(steadystack.estimate_shifts(frames[:12], **ALONE)) is None
    assert told(steadystack.estimate_shifts(rng.normal(size=(12, 96, 96)), **ALONE)) is None


@pytest.mark.parametrize(("disagreement", "boxes"), [(0.05, 1), (4.0, 0)])
def test_a_part_stands_still_only_if_the_others_agree_on_how_frames_move(disagreement, boxes):
    """Pairs of hardly more than noise are off by more than they state: they move, too."""
    rng = np.random.default_rng(5)
    frames = np.arange(16)
    drift = np.cumsum(rng.choice([-2.0, 2.0], (16, 2)), axis=0)
    pairs = select_pairs(16, "separations", separations=pilot.SEPARATIONS_OF_PARTS)

    def measure(chosen, source=None):
        table = PairTable.unmeasured(chosen, 16, 2)
        table.status[:] = PairStatus.OK.code
        table.frame_read_status[:] = 0
        table.shift_std[:], table.ncc[:], table.overlap[:] = 0.1, 0.3, 1.0
        moved = drift[chosen[:, 0]] - drift[chosen[:, 1]]
        without_it = moved + disagreement * rng.normal(size=(len(chosen), 2))
        table.shift[:] = without_it if source == 4 else 0.05 * rng.normal(size=(len(chosen), 2))
        return table

    region = (slice(0, 96), slice(0, 96))
    probe = SimpleNamespace(
        region=region,
        grid=SimpleNamespace(shape=(3, 3)),
        measure=measure,
        mask=lambda parts: 4 if parts == pilot.list_boxes(region, [4]) else 0,
    )
    found = pilot._find_still_part(probe, frames, measure(pairs))
    assert len(found.boxes if found else ()) == boxes
