"""The linear motion of series, beside the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steadystack import FrameStatus, InputError, estimate_shifts
from support.scenes import ellipse
from support.turning import corner_errors, turn, turned_series

SETTINGS = {"max_shift": 12, "defects": None, "parts": None}


def measured(frames, model, **settings):
    return estimate_shifts(frames, motion={"model": model}, **SETTINGS | settings)


@pytest.mark.parametrize(
    ("model", "motion"),
    [
        ("rigid", {"step": 2.0}),
        ("similarity", {"scale": -0.003}),
        pytest.param("rigid", {}, marks=pytest.mark.slow),
        pytest.param("affine", {"scale": 0.002, "shear": 0.001}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_frames_are_laid_on_the_first_one(model, motion):
    series = turned_series(count=8, **motion)
    mask = ellipse(series.frames.shape[1:])
    found = measured(np.where(mask, series.frames, 9.0), model, mask=mask)
    assert corner_errors(found, series).max() < 0.1
    assert (found["component"] == 0).all()
    motion_told = json.loads(found.attrs["motion"])
    assert motion_told == {"model": model, "centre": series.middle.tolist()}
    np.testing.assert_array_equal(found["frame_linear"][0], np.eye(2))


@pytest.mark.usefixtures("unchecked")
def test_turn_and_scale_have_the_signs_that_they_are_said_to_have():
    series = turned_series(count=6, scale=0.004)
    found = measured(series.frames, "similarity")
    steps = np.arange(6)
    np.testing.assert_allclose(found["frame_rotation"], 0.4 * steps, atol=0.05)
    np.testing.assert_allclose(found["frame_scale"], 1.004**steps, atol=1e-3)
    np.testing.assert_allclose(found["frame_linear"][5], turn(2.0, 1.004**5), atol=2e-3)


@pytest.mark.slow
def test_errors_are_as_large_as_stated():
    off = []
    for seed in range(8):
        series = turned_series(seed, count=8, scale=0.001, noise=0.7)
        found = measured(series.frames, "similarity")
        truth = 0.4 * np.arange(8), 1.001 ** np.arange(8)
        for name, true in zip(("rotation", "scale"), truth, strict=True):
            off.append((found[f"frame_{name}"] - true)[1:] / found[f"frame_{name}_std"][1:])
        off.extend(((found["frame_shift"] - series.shift) / found["frame_shift_std"])[1:].T)
    assert 0.7 < np.sqrt(np.mean(np.square(off))) < 1.4


@pytest.mark.usefixtures("unchecked")
def test_residuals_know_of_the_turn():
    series = turned_series(count=8, step=0.3)
    residual = measured(series.frames, "rigid")["pair_residual"]
    assert np.sqrt(np.nanmean(residual**2)) < 0.1


@pytest.mark.usefixtures("unchecked")
def test_with_translation_nothing_is_told_of_it_and_nothing_changes():
    series = turned_series(count=5, step=0.0)
    plain, told = estimate_shifts(series.frames, **SETTINGS), measured(series.frames, "translation")
    np.testing.assert_array_equal(plain["frame_shift"], told["frame_shift"])
    assert json.loads(plain.attrs["motion"])["model"] == "translation"
    for name in ("linear", "rotation", "scale", "linear_std", "rotation_std", "scale_std"):
        assert np.isnan(plain[f"frame_{name}"]).all()


@pytest.mark.usefixtures("unchecked")
def test_frames_without_a_motion_have_none_and_others_keep_theirs():
    series = turned_series(count=6)
    series.frames[3] = 1.0  # flat
    found = measured(series.frames, "rigid")
    assert np.isnan(found["frame_linear"][3]).all()
    assert found["frame_status"][3] == FrameStatus.FLAT.code
    assert np.delete(corner_errors(found, series), 3, axis=0).max() < 0.1
    between = measured(series.frames, "rigid", solve={"interpolate": "linear"})
    assert between["frame_status"][3] == FrameStatus.INTERPOLATED.code
    assert float(between["frame_rotation"][3]) == pytest.approx(1.2, abs=0.05)
    assert float(between["frame_rotation_std"][3]) > float(between["frame_rotation_std"][4])


def test_noise_without_a_scene_is_told_no_motion():
    frames = np.random.default_rng(3).normal(size=(6, 96, 96))
    found = measured(frames, "rigid")
    unknown = ~np.isfinite(found["frame_shift"]).all("axis")
    assert np.isnan(found["frame_linear"][unknown.to_numpy()]).all()
    assert found.attrs["verdict"] != "good"


def test_what_it_does_not_do_is_told_before_work_starts():
    series = turned_series(count=3)
    with pytest.raises(InputError, match=r"motion\.model"):
        measured(series.frames, "elastic")
    with pytest.raises(InputError, match=r"solve\.refine 1 to 0"):
        measured(series.frames, "rigid", solve={"refine": 1})
    with pytest.raises(InputError, match="is for 2-D frames, but these have 3 axes"):
        measured(np.zeros((3, 12, 32, 32)), "rigid", max_shift=3)
