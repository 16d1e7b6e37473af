"""The linear motion of series, beside the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from steadystack import FrameStatus, InputError, estimate_shifts
from steadystack.warp import compute_rotation_vector
from support.scenes import ellipse
from support.turning import corner_errors, turn, turned_series, turned_volumes

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


def as_stack(series, pixel_size):
    """The volumes with the places of their planes, lines and columns, micrometers."""
    places = {
        axis: (axis, np.arange(count) * size, {"units": "um"})
        for axis, count, size in zip("zyx", series.frames.shape[1:], pixel_size, strict=True)
    }
    return xr.DataArray(series.frames, places, ("t", "z", "y", "x"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["similarity", "rigid", "affine"])
@pytest.mark.usefixtures("unchecked")
def test_volumes_turn_about_all_axes_whatever_the_size_of_their_voxels(model):
    step, voxel = (0.5, -0.4, 0.3), (2.5, 1.0, 1.0)
    scale = 0.0 if model == "rigid" else 0.002
    series = turned_volumes(count=5, step=step, scale=scale, pixel_size=voxel)
    series.frames[2] = 1.0  # flat
    found = measured(as_stack(series, voxel), model, max_shift=6, solve={"interpolate": "linear"})
    known = [0, 1, 3, 4]
    assert corner_errors(found, series)[known].max() < 0.1
    truth = compute_rotation_vector(series.linear, voxel)
    np.testing.assert_allclose(found["frame_rotation_vector"], truth, atol=0.1)
    std = found["frame_rotation_vector_std"].to_numpy()
    assert (std[1:] > 0).all()
    assert (std[2] > std[1]).all()
    assert np.isnan(found["frame_rotation"]).all()
    if model != "rigid":
        np.testing.assert_allclose(found["frame_scale"], 1.002 ** np.arange(5), atol=1e-3)
    rigid = np.linalg.svd(np.diag(voxel) @ found["frame_linear"][4].to_numpy() / voxel)[1]
    assert model != "rigid" or np.ptp(rigid) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("planes", "noise"), [(24, 0.7), (10, 0.1)])
def test_errors_of_volumes_are_as_large_as_stated(planes, noise):
    off = []
    for seed in range(6):
        series = turned_volumes(seed, count=6, shape=(planes, 56, 60), scale=0.001, noise=noise)
        found = measured(series.frames, "similarity", max_shift=6)
        turn = found["frame_rotation_vector"] - compute_rotation_vector(series.linear)
        off.append((turn / found["frame_rotation_vector_std"])[1:].to_numpy())
        off.append(
            ((found["frame_shift"] - series.shift) / found["frame_shift_std"])[1:].to_numpy()
        )
    assert 0.7 < np.sqrt(np.mean(np.square(off))) < 1.5


@pytest.mark.usefixtures("unchecked")
def test_residuals_know_of_the_turn():
    series = turned_series(count=8, step=0.3)
    residual = measured(series.frames, "rigid")["pair_residual"]
    assert np.sqrt(np.nanmean(residual**2)) < 0.1


@pytest.mark.usefixtures("unchecked")
def test_with_translation_nothing_is_said_of_it_and_nothing_changes():
    series = turned_series(count=5, step=0.0)
    plain, told = estimate_shifts(series.frames, **SETTINGS), measured(series.frames, "translation")
    np.testing.assert_array_equal(plain["frame_shift"], told["frame_shift"])
    assert json.loads(plain.attrs["motion"])["model"] == "translation"
    for name in ("linear", "rotation", "rotation_vector", "scale", "linear_std", "rotation_std",
                 "rotation_vector_std", "scale_std"):  # fmt: skip
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


def test_noise_without_a_scene_is_given_no_motion():
    frames = np.random.default_rng(3).normal(size=(6, 96, 96))
    found = measured(frames, "rigid")
    unknown = ~np.isfinite(found["frame_shift"]).all("axis")
    assert np.isnan(found["frame_linear"][unknown.to_numpy()]).all()
    assert found.attrs["verdict"] != "good"


def test_what_it_does_not_do_is_reported_before_work_starts():
    series = turned_series(count=3)
    with pytest.raises(InputError, match=r"motion\.model"):
        measured(series.frames, "elastic")
    with pytest.raises(InputError, match=r"solve\.refine 1 to 0"):
        measured(series.frames, "rigid", solve={"refine": 1})
    with pytest.raises(InputError, match="at least 8 pixels along each of two or three axes"):
        measured(np.zeros((3, 7, 32, 32)), "rigid", max_shift=3)
