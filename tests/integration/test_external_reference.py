"""Shifts relative to an image from outside: of another session, or the mean of another run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import steadystack
from steadystack import stages
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from support import settings
from support.members import slow_but
from support.scenes import Scene, assert_same_numbers

pytestmark = pytest.mark.usefixtures("no_look_at_what_stands_still")

SIZE = (80, 88)
JUMP = np.array([7.3, -11.6])
# Nothing for a pilot to find.
FILTERS = {"low_pass": None, "high_pass": None}
AS_IT_IS = {"defects": None, "parts": None, "preprocess": FILTERS}


def config_of(folder, **sections):
    usual = {"mask": {"defects": None, "parts": None}, "preprocess": FILTERS}
    return settings.config_of(folder, **usual | sections)


def session(seed, count=12, noise=0.5, origin=(0, 0)):
    """Frames of a scene, and the true shift of each onto the first pixel of the scene."""
    rng, world = np.random.default_rng(seed + 100), Scene(seed)
    truth = np.cumsum(rng.normal(0, 0.7, (count, 2)), axis=0) + origin
    frames = np.stack([world.view(SIZE, shift) for shift in truth])
    return (frames + rng.normal(0, noise, frames.shape)).astype("f4"), truth


def other_session(seed, shape=(104, 78), noise=0.4):
    """One image of the scene, of another size, gain, sharpness and noise, begun elsewhere."""
    image = ndimage.gaussian_filter(Scene(seed).view(shape, -JUMP), 0.8)
    return 3 * (image + np.random.default_rng(seed).normal(0, noise, shape)) + 50


def fit_of(shifts):
    return json.loads(shifts.attrs["external_reference"])["fits"][0]


def solved(frames, image, max_shift=8):
    return steadystack.estimate_shifts(
        frames, max_shift=max_shift, external_reference=image, **AS_IT_IS
    )


@pytest.mark.parametrize("seeds", slow_but([6], [6, 30]))
@pytest.mark.parametrize(("noise", "of_image"), slow_but([(1.5, 0.2)], [(0.5, 0.4), (1.5, 0.2)]))
def test_errors_against_the_truth_are_as_stated(noise, of_image, seeds):
    ratio = []
    for seed in range(seeds):
        frames, truth = session(seed, noise=noise)
        shifts = solved(frames, other_session(seed, noise=of_image))
        assert fit_of(shifts)["status"] == "ok"
        error = shifts["frame_shift"].to_numpy() - (truth + JUMP)
        ratio.append(error / shifts["frame_shift_std"].to_numpy())
    assert 0.7 < np.sqrt(np.mean(np.square(ratio))) < 1.5


def test_what_differs_between_frames_stays():
    frames, _ = session(1)
    before, after = solved(frames, None), solved(frames, other_session(1))
    fit = fit_of(after)
    assert "external_reference" not in before.attrs
    moved = (after["frame_shift"] - before["frame_shift"]).to_numpy()
    np.testing.assert_allclose(moved, np.tile(fit["offset"], (len(frames), 1)), atol=1e-9)
    assert (after["frame_shift_std"].to_numpy() >= fit["std"]).all()
    np.testing.assert_array_equal(before["pair_residual"], after["pair_residual"])


@pytest.mark.parametrize("kind", slow_but(["another scene"], ["another scene", "noise", "shading"]))
def test_an_image_of_something_else_is_reported_and_not_used(kind):
    frames, _ = session(2)
    rng = np.random.default_rng(5)
    image = Scene(77).view(SIZE, (0, 0)) + rng.normal(0, 0.3, SIZE)
    if kind == "noise":
        image = rng.normal(0, 1, SIZE)
    if kind == "shading":
        place = np.indices(SIZE) / np.reshape(SIZE, (2, 1, 1)) - 0.5
        shading = 1 / (1 + 6 * (place**2).sum(axis=0))
        frames, image = (frames + 8) * shading, (image + 8) * shading
    before, after = solved(frames, None), solved(frames, image)
    fit = fit_of(after)
    assert fit["status"] != "ok"
    assert fit["offset"] == fit["std"] == []
    np.testing.assert_array_equal(before["frame_shift"], after["frame_shift"])
    np.testing.assert_array_equal(before["frame_shift_std"], after["frame_shift_std"])
    assert after.attrs["verdict"] == "unreliable"
    codes = [finding["code"] for finding in json.loads(after.attrs["verdict_reasons"])]
    assert "reference_not_found" in codes


@pytest.mark.parametrize("suffix", slow_but([".ome.tif"], [".zarr", ".ome.tif", ".npy"]))
def test_two_sessions_lie_in_the_frame_of_the_mean_of_one(tmp_path, suffix):
    first, truth = session(3)
    second, other_truth = session(3, origin=(5, -4))
    second = 2 * second + 9
    write_stack(tmp_path / "first.zarr", first, pixel_size=(0.5, 0.5))
    write_stack(tmp_path / "second.zarr", second, pixel_size=(0.5, 0.5))
    usual = {"register": {"max_shift": 8}}
    mean = {"shifts": "first-shifts.zarr", "mean": f"mean{suffix}"}
    stages.run(config_of(tmp_path, input={"path": "first.zarr"}, output=mean, **usual))
    relative = usual | {"external_reference": {"path": f"mean{suffix}"}}
    given = {"input": {"path": "second.zarr"}, "output": {"shifts": "second-shifts.zarr"}}
    shifts = stages.run(config_of(tmp_path, **given, **relative))
    assert fit_of(shifts)["status"] == "ok"
    error = shifts["frame_shift"].to_numpy() - (other_truth - truth[0])
    assert np.abs(error).max() < 0.15
    # solved again where the image is another one, and only then
    assert (
        stages.run(config_of(tmp_path, **given, **relative)).attrs["created"]
        == (shifts.attrs["created"])
    )
    without = stages.run(config_of(tmp_path, **given, **usual))
    assert "external_reference" not in without.attrs
    moved = (shifts["frame_shift"] - without["frame_shift"]).to_numpy()
    np.testing.assert_allclose(moved, np.tile(fit_of(shifts)["offset"], (12, 1)), atol=1e-9)


def test_a_region_counts_as_in_the_whole_image(tmp_path):
    frames, truth = session(4)
    write_stack(tmp_path / "stack.zarr", frames)
    write_image(tmp_path / "image.zarr", Scene(4).view(SIZE, (0, 0)))
    shifts = stages.run(
        config_of(
            tmp_path,
            input={"path": "stack.zarr", "region": [[10, 74], [20, 84]]},
            register={"max_shift": 8},
            external_reference={"path": "image.zarr"},
        )
    )
    assert np.abs(shifts["frame_shift"].to_numpy() - truth).max() < 0.2


def test_what_cannot_be_compared_is_refused(tmp_path):
    frames, _ = session(5)
    write_stack(tmp_path / "stack.zarr", frames, pixel_size=(0.5, 0.5))
    write_stack(tmp_path / "coarse.zarr", frames[:1], pixel_size=(1.0, 1.0))
    np.save(tmp_path / "nothing.npy", np.full(SIZE, np.nan))
    for path, words in [
        ("coarse.zarr", "pixels of 1 um, and the stack of 0.5 um"),
        ("stack.zarr", "holds 12 frames: one image is needed"),
        ("nothing.npy", "no pixel of the image is valid"),
        ("not-there.npy", r"external_reference\.path"),
    ]:
        with pytest.raises(InputError, match=words):
            stages.plan(config_of(tmp_path, external_reference={"path": path}))
    with pytest.raises(InputError, match=r"set motion\.model to translation"):
        config_of(tmp_path, external_reference={"path": "a.npy"}, motion={"model": "rigid"})
    with pytest.raises(InputError, match="axes y, x"):
        solved(frames, np.zeros((3, *SIZE)))
    stack, image = (
        xr.DataArray(
            values,
            {
                axis: (axis, step * np.arange(n), {"units": "um"})
                for axis, n in zip("yx", SIZE, strict=True)
            },
            dims=dims,
        )
        for values, dims, step in ((frames, ("t", "y", "x"), 0.5), (frames[0], ("y", "x"), 0.51))
    )
    with pytest.raises(InputError, match=r"external_reference has pixels of 0\.51 um"):
        solved(stack, image)


def test_volumes_are_related_to_a_volume():
    rng, world, shape = np.random.default_rng(6), Scene(6, ndim=3), (8, 48, 52)
    truth = np.cumsum(rng.normal(0, 0.4, (8, 3)), axis=0)
    frames = np.stack([world.view(shape, shift) for shift in truth])
    frames = (frames + 0.3 * rng.normal(size=frames.shape)).astype("f4")
    jump = np.array([1.3, 4.7, -6.2])
    image = world.view((9, 60, 50), -jump)
    image = image + 0.3 * rng.normal(size=image.shape)
    shifts = solved(frames, image, max_shift=(3, 8, 8))
    assert fit_of(shifts)["status"] == "ok"
    error = shifts["frame_shift"].to_numpy() - (truth + jump)
    assert np.sqrt(np.mean(np.square(error / shifts["frame_shift_std"].to_numpy()))) < 1.6


def test_a_mask_leaves_out_what_is_wrong_in_the_image(tmp_path):
    frames, truth = session(7)
    image = Scene(7).view(SIZE, (0, 0))
    image[20:60, 20:50] = 30 * Scene(8).view((40, 30), (0, 0))
    mask = np.ones(SIZE, bool)
    mask[18:62, 18:52] = False
    write_stack(tmp_path / "stack.zarr", frames)
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "mask.npy", mask)
    reference = {"path": "image.npy", "mask": "mask.npy"}
    given = {"register": {"max_shift": 8}, "external_reference": reference}
    shifts = stages.run(config_of(tmp_path, input={"path": "stack.zarr"}, **given))
    assert np.abs(shifts["frame_shift"].to_numpy() - truth).max() < 0.2


def test_parts_that_are_found_are_one_and_a_part_that_is_not_is_left_out():
    strangers, _ = session(40, count=4)  # the anchor is one of them
    early, truth = session(13, count=5)
    late, truth_late = session(13, count=5, origin=(20, -22))  # further than pairs are searched
    frames = np.concatenate([strangers, early, late])
    truth = np.concatenate([truth, truth_late]) + JUMP
    shifts = solved(frames, other_session(13, shape=(120, 130)))
    fits = json.loads(shifts.attrs["external_reference"])["fits"]
    assert [(fit["anchor"], fit["status"] == "ok") for fit in fits] == [
        (0, False), (4, True), (9, True)
    ]  # fmt: skip
    assert json.loads(shifts.attrs["anchors"]) == [4, 0]
    assert shifts["component"].to_numpy().tolist() == [1] * 4 + [0] * 10
    ratio = (shifts["frame_shift"][4:] - truth) / shifts["frame_shift_std"][4:]
    assert np.sqrt(np.mean(np.square(ratio.to_numpy()))) < 1.6
    before = solved(frames, None)
    np.testing.assert_array_equal(before["frame_shift"][:4], shifts["frame_shift"][:4])
    steady = steadystack.correct(frames, shifts).to_numpy()
    assert np.isnan(steady[:4]).all()
    scene = Scene(13).view(SIZE, -JUMP)  # as in the image
    for frame in steady[4:]:
        shown = np.isfinite(frame)
        assert np.corrcoef(frame[shown], scene[shown])[0, 1] > 0.85
    reasons = json.loads(shifts.attrs["verdict_reasons"])
    words = {reason["code"]: reason["words"] for reason in reasons}
    assert "1 of 3 parts of the series were not found" in words["reference_not_found"]
    assert "so they are not corrected" in words["reference_not_found"]
    assert "falls into 2 parts" in words["parts"]
    assert "anchor" not in words  # nothing is relative to a frame


@pytest.mark.slow
def test_refined_shifts_and_those_of_a_cluster_are_related_alike(tmp_path):
    frames, truth = session(9)
    write_stack(tmp_path / "stack.zarr", frames)
    np.save(tmp_path / "image.npy", other_session(9))
    found = [
        stages.run(
            config_of(
                tmp_path,
                input={"path": "stack.zarr"},
                output={"shifts": f"{kind}.zarr"},
                register={"max_shift": 8},
                solve={"refine": 1},
                external_reference={"path": "image.npy"},
                cluster={"kind": kind} | ({"workers": 2} if kind == "local" else {}),
            )
        )
        for kind in ("in-process", "local")
    ]
    assert_same_numbers(*found)
    assert fit_of(found[0]) == fit_of(found[1])
    error = found[0]["frame_shift"].to_numpy() - (truth + JUMP)
    assert np.sqrt(np.mean(np.square(error / found[0]["frame_shift_std"].to_numpy()))) < 1.6
