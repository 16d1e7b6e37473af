"""What a fixed pattern takes of its scene, if it is estimated, or was subtracted before."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.conditioning import Conditioning
from steadystack.config import make_config
from steadystack.measure import Sample
from steadystack.model import as_stack
from steadystack.planning import make_series as open_series
from steadystack.planning import set_up
from steadystack.readers import ArrayFrames
from steadystack.survey import is_background_subtracted
from steadystack.survey.static_evidence import _find_separable_share
from support.members import slow_but
from support.scenes import Scene

SIDE = 128


@pytest.mark.parametrize("filters", [{}, {"low_pass": 3.0}, {"high_pass": 6.0}])
@pytest.mark.parametrize("period", [8, 32])
def test_a_wave_is_distinguished_from_what_stands_still_by_how_far_it_moves(period, filters):
    """Of one wave the mean of the frames holds a share that is known in closed form."""
    rng = np.random.default_rng(period)
    shifts = rng.normal(0, 2, (12, 2))
    wave = np.cos(2 * np.pi * np.arange(4 * SIDE) / period)[:, None]
    share = _find_separable_share(wave, shifts, 0.0, Conditioning(**filters))
    expected = 1 - np.abs(np.mean(np.exp(2j * np.pi * shifts[:, 0] / period))) ** 2
    assert share == pytest.approx(expected, rel=0.05)


def test_detail_counts_as_pairs_see_it_without_noise_and_in_any_orientation():
    rng = np.random.default_rng(1)
    shifts = rng.normal(0, 0.5, (12, 2))
    coarse, fine = Scene(1, detail=10.0), Scene(2, detail=1.5)
    scene = coarse.view((SIDE, SIDE), (0, 0)) + 0.02 * fine.view((SIDE, SIDE), (0, 0))
    as_it_is = _find_separable_share(scene, shifts, 0.0, Conditioning())
    assert as_it_is < 0.1
    turned = _find_separable_share(scene.T, shifts[:, ::-1], 0.0, Conditioning())
    assert turned == pytest.approx(as_it_is, rel=1e-6)
    assert _find_separable_share(scene, shifts, 0.0, Conditioning(high_pass=3.0)) > 2 * as_it_is
    noisy = scene + rng.normal(0, 0.03, scene.shape)
    with_noise = _find_separable_share(noisy, shifts, 0.0, Conditioning())
    found = _find_separable_share(noisy, shifts, 0.03**2, Conditioning())
    assert abs(found - as_it_is) < 0.2 * abs(with_noise - as_it_is)


def make_series(step: float, detail: float, frames: int = 24) -> tuple[np.ndarray, ...]:
    """A coarse scene that drifts by so many pixels a frame, behind a fine pattern."""
    rng = np.random.default_rng(5)
    scene, truth = (
        Scene(3, detail=detail),
        np.arange(frames)[:, None] * step * np.array([0.8, -0.6]),
    )
    fine = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1.0)
    views = np.stack([scene.view((SIDE, SIDE), way) for way in truth])
    noise = 0.05 * rng.normal(size=views.shape)
    return (views + 0.6 * fine / fine.std() + noise).astype("f4"), truth


WAYS = [(0.2, 8.0, True), (0.4, 8.0, True), (2.0, 4.0, False)]


@pytest.mark.parametrize(
    ("step", "detail", "is_told", "masked"),
    slow_but(
        [(0.4, 8.0, True, False), (2.0, 4.0, False, True)],
        [(*way, masked) for way in WAYS for masked in (False, True)],
    ),
)
def test_errors_hold_where_the_scene_hardly_leaves_its_place(step, detail, is_told, masked):
    frames, truth = make_series(step, detail)
    mask = np.ones((SIDE, SIDE), bool)
    if masked:
        for y, x in np.random.default_rng(2).integers(0, SIDE - 6, (15, 2)):
            mask[y : y + 6, x : x + 6] = False
    found = steadystack.estimate_shifts(frames, mask=mask, preprocess={"fixed_pattern": "estimate"})
    effect = json.loads(found.attrs["fixed_pattern_effect"])
    if effect is None:  # it took the whole scene
        assert found.attrs["verdict"] == "unreliable"
        return
    assert (effect["separable_share"] < 0.7) == is_told
    error = found["frame_shift"].to_numpy() - truth
    error = error - np.median(error, axis=0)
    stated = found["frame_shift_std"].to_numpy()
    assert np.sqrt(np.mean(error**2)) < 2 * np.sqrt(np.mean(stated**2))
    assert not (is_told and found.attrs["verdict"] == "good")
    if is_told and not masked:
        assert "enough to be told from what stands still" in found.attrs["verdict_reasons"]


def is_subtracted(frames, valid=None):
    source = ArrayFrames.checked(as_stack(frames), valid)
    setup = set_up(make_config({"input": {"path": "memory"}}), open_series(source))
    count = len(frames)
    sample = Sample(source, setup.method, setup.size, np.arange(count), np.ones(count))
    return is_background_subtracted(sample)


@pytest.mark.parametrize("count", [8, 25])
@pytest.mark.parametrize("step", [0.0, 1.5])
def test_a_background_made_of_the_frames_is_recognised(step, count):
    frames = make_series(step, 4.0, count)[0].astype(float) + 5
    mean, median = frames.mean(axis=0), np.median(frames, axis=0)
    assert is_subtracted(frames - mean)
    assert is_subtracted(frames - median)
    assert is_subtracted((frames / mean - 1).astype("f4"))
    assert is_subtracted(np.rint(1000 * (frames - median)).astype("i2"))
    assert not is_subtracted(frames)
    assert not is_subtracted(frames - frames[0])


@pytest.mark.parametrize("photons", [0.05, 0.7, 3.0, 40.0])
def test_dark_frames_and_few_photons_are_not_taken_for_what_a_background_leaves(photons):
    """Most medians of few photons are alike, and so are those of noise of a grey level or less."""
    rng = np.random.default_rng(1)
    assert not is_subtracted(rng.poisson(photons, (30, 64, 64)).astype("u2"))
    dark = np.rint(100 + rng.normal(0, np.sqrt(photons), (30, 64, 64)))
    assert not is_subtracted(dark.astype("u2"))
    assert not is_subtracted(np.full((30, 64, 64), 7.0))


def test_waves_that_pass_by_whole_periods_are_not_either():
    """Their mean over time is the same everywhere but for noise."""
    rng = np.random.default_rng(2)
    phase = 2 * np.pi * (np.arange(64) / 8 + np.arange(32)[:, None, None] / 16)
    assert not is_subtracted(np.sin(phase) + 0.05 * rng.normal(size=(32, 64, 64)))


def test_the_middle_plane_and_valid_pixels_decide():
    rng = np.random.default_rng(3)
    volumes = rng.normal(size=(12, 3, 40, 40))
    assert is_subtracted(volumes - volumes.mean(axis=0))
    assert not is_subtracted(volumes)
    frames = rng.normal(size=(12, 40, 40))
    valid = rng.random((40, 40)) < 0.5
    assert is_subtracted(np.where(valid, frames - frames.mean(axis=0), frames), valid)
    few = np.arange(1600).reshape(40, 40) < 250
    assert not is_subtracted(frames - frames.mean(axis=0), few)


@pytest.mark.parametrize("way", [np.mean, np.median])
def test_shifts_behind_a_subtracted_background_are_not_good(way):
    frames, _ = make_series(1.0, 4.0, 16)
    frames = frames[:, :80, :80]
    found = steadystack.estimate_shifts(frames - way(frames, axis=0))
    assert found.attrs["verdict"] != "good"
    assert "over time was subtracted from them" in found.attrs["verdict_reasons"]
