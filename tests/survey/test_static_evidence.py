"""What a fixed pattern that is estimated from a series takes of its scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.survey.static_evidence import _find_separable_share
from support.scenes import Scene

SIDE = 96


@pytest.mark.parametrize("low_pass", [None, 3.0])
@pytest.mark.parametrize("period", [8, 32])
def test_a_wave_is_told_from_what_stands_still_by_how_far_it_moves(period, low_pass):
    """Of one wave the mean of the frames holds a share that is known in closed form."""
    rng = np.random.default_rng(period)
    shifts = rng.normal(0, 2, (12, 2))
    wave = np.cos(2 * np.pi * np.arange(4 * SIDE) / period)[:, None]
    share = _find_separable_share(wave, shifts, low_pass)
    expected = 1 - np.abs(np.mean(np.exp(2j * np.pi * shifts[:, 0] / period))) ** 2
    assert share == pytest.approx(expected, rel=0.05)


def make_series(step: float, frames: int = 24, pattern: float = 0.8) -> tuple[np.ndarray, ...]:
    """A coarse scene that drifts by so many pixels a frame, behind a fine pattern."""
    rng = np.random.default_rng(5)
    scene, truth = Scene(3, detail=8.0), np.arange(frames)[:, None] * step * np.array([0.8, -0.6])
    fine = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1.0)
    views = np.stack([scene.view((SIDE, SIDE), way) for way in truth])
    noise = 0.05 * rng.normal(size=views.shape)
    return (views + pattern * fine / fine.std() + noise).astype("f4"), truth


@pytest.mark.parametrize(
    ("step", "pattern", "is_told"), [(0.05, 0.8, True), (0.2, 0.8, True), (2.0, 0.4, False)]
)
def test_errors_hold_where_the_scene_hardly_leaves_its_place(step, pattern, is_told):
    frames, truth = make_series(step, pattern=pattern)
    found = steadystack.estimate_shifts(frames, preprocess={"fixed_pattern": "estimate"})
    effect = json.loads(found.attrs["fixed_pattern_effect"])
    assert (effect["separable"] < 0.7) == is_told
    error = found["frame_shift"].to_numpy() - truth
    error = error - np.median(error, axis=0)
    stated = found["frame_shift_std"].to_numpy()
    assert np.sqrt(np.mean(error**2)) < 2 * np.sqrt(np.mean(stated**2))
    assert ("moves far enough to be told" in found.attrs["verdict_reasons"]) == is_told
    assert not (is_told and found.attrs["verdict"] == "good")
