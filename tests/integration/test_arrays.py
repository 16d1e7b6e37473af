"""Arrays in, arrays out: masks of `correct`, frames of another shape, and wrong things told."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import steadystack
from steadystack import plot
from steadystack.dataset import load_shifts, save_shifts
from steadystack.model import UNSOLVED, InputError
from support.scenes import Scene, ellipse

SIZE = (48, 56)
TRUTH = np.array([[0, 0], [2, -1], [-1.5, 0.5], [3, 4.25]])


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    world = Scene(3, detail=2.5)
    return np.stack([100 + 10 * world.view(SIZE, origin) for origin in TRUTH])


@pytest.fixture(scope="module")
def solved(frames) -> xr.Dataset:
    return steadystack.estimate_shifts(frames, max_shift=8)


def unsolved(solved: xr.Dataset) -> xr.Dataset:
    return solved.assign(
        component=xr.full_like(solved["component"], UNSOLVED),
        frame_shift=xr.full_like(solved["frame_shift"], np.nan),
    )


def shifts_of(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"frame_shift": (("frame", "axis"), values)}, {"axis": ["z", "y", "x"][-values.shape[1] :]}
    )


def hole(shape=SIZE) -> np.ndarray:
    mask = np.ones(shape, bool)
    mask[..., 10:19, 20:33] = mask[..., 21, 4] = False
    return mask


def lazily(mask):
    return da.from_array(mask, chunks=(1,) * (mask.ndim - 2) + (13, 17))


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "fourier"])
def test_what_is_masked_is_not_known_and_does_not_bleed(frames, interpolation):
    """As frames whose invalid pixels are NaN; and nothing depends on what stands there."""
    shifts, mask = shifts_of(TRUTH), hole()
    moved = steadystack.correct(frames, shifts, mask=mask, interpolation=interpolation)
    blank = steadystack.correct(np.where(mask, frames, np.nan), shifts, interpolation=interpolation)
    np.testing.assert_array_equal(moved, blank)
    wild = np.where(mask, frames, 1e6)
    other = steadystack.correct(wild, shifts, mask=mask, interpolation=interpolation)
    np.testing.assert_array_equal(moved, other)
    assert np.isnan(moved[0].to_numpy()[~mask]).all()
    assert np.isnan(moved[1].to_numpy()[12:21, 19:32]).all()  # by (2, -1)
    whole = steadystack.correct(frames.astype("u2"), shifts, mask=mask, interpolation="nearest")
    assert (whole[1].to_numpy()[12:21, 19:32] == 0).all()


@pytest.mark.parametrize("kind", ["numpy", "numbers", "dask", "DataArray", "lazy DataArray"])
@pytest.mark.parametrize("per_frame", [False, True])
def test_masks_of_every_kind(frames, kind, per_frame):
    mask = hole()
    if per_frame:
        mask = np.stack([np.roll(mask, frame, 1) for frame in range(len(frames))])
    dims = ("t", "y", "x")[3 - mask.ndim :]
    given = {
        "numpy": mask,
        "numbers": np.where(mask, 7.0, np.nan),
        "dask": lazily(mask),
        "DataArray": xr.DataArray(mask, {"y": np.arange(SIZE[0]) * 0.5}, dims).transpose(
            *dims[::-1]
        ),
        "lazy DataArray": xr.DataArray(lazily(mask), dims=dims),
    }[kind]
    stack = xr.DataArray(da.from_array(frames, chunks=(2, 16, 16)), dims=("t", "y", "x"))
    moved = steadystack.correct(stack, shifts_of(TRUTH), mask=given)
    assert moved.chunks is not None
    expected = steadystack.correct(np.where(mask, frames, np.nan), shifts_of(TRUTH))
    np.testing.assert_array_equal(moved, expected)


def test_masks_of_volumes_and_of_planes_that_move_alike():
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(3, 5, 24, 28))
    mask = hole((5, 24, 28))
    mask[2] = True
    by = np.array([[0, 0, 0], [1, 2, -1], [0.5, 0.25, 3]])
    moved = steadystack.correct(stack, shifts_of(by), mask=mask)
    np.testing.assert_array_equal(
        moved, steadystack.correct(np.where(mask, stack, np.nan), shifts_of(by))
    )
    for given in (mask, mask[0]):  # of shifts along y and x; one for all planes, too
        moved = steadystack.correct(stack, shifts_of(by[:, 1:]), mask=given)
        expected = steadystack.correct(np.where(given, stack, np.nan), shifts_of(by[:, 1:]))
        np.testing.assert_array_equal(moved, expected)


def test_masks_that_do_not_fit_are_refused(frames):
    shifts = shifts_of(TRUTH)
    for mask, words in (
        (np.ones((3, 4), bool), r"shape \(3, 4\), which must be the shape of a frame"),
        (np.zeros(SIZE, bool), "no valid pixel"),
        ("mask.zarr", "is a path"),
        (xr.Dataset({"mask": ("x", [1])}), "a Dataset is not a mask: give one of its arrays: mask"),
        (xr.DataArray(np.ones(SIZE), dims=("y", "q")), "its dims must be some of the stack's"),
        (xr.DataArray(np.ones((5, 5)), dims=("y", "x")), "its dims must be some of the stack's"),
    ):
        with pytest.raises(InputError, match=words):
            steadystack.correct(frames, shifts, mask=mask)
    cube = np.random.default_rng(0).normal(size=(4, 4, 20, 20))
    with pytest.raises(InputError, match="fits several"):
        steadystack.correct(cube, shifts, mask=np.ones((4, 20, 20), bool))
    with pytest.raises(InputError, match=r"mask.zarr is a path"):
        steadystack.estimate_shifts(frames, max_shift=8, mask="mask.zarr")
    for key, words in (("unusable", "unmoved, blank"), ("interpolated", "moved, unmoved, blank")):
        with pytest.raises(InputError, match=rf"{key} 'drop' is not one of {words}"):
            steadystack.correct(frames, shifts, **{key: "drop"})


def test_frames_of_another_shape_are_reported(frames, solved, tmp_path):
    save_shifts(solved, str(tmp_path / "shifts.zarr"))
    shifts = load_shifts(str(tmp_path / "shifts.zarr"))
    with pytest.raises(InputError, match=r"\(48, 30\).*measured on \(48, 56\): if it is cut from"):
        steadystack.correct(frames[:, :, :30], shifts)
    part = steadystack.correct(frames[:, :, :30], shifts, other_shape=True)
    assert part.shape == (4, 48, 30)
    binned = frames.reshape(4, 24, 2, 28, 2).mean(axis=(2, 4))
    with pytest.raises(InputError, match=r'shifts\["frame_shift"\] \* 1 / 2'):
        steadystack.correct(binned, shifts)
    scaled = steadystack.edit_shifts(shifts, shifts["frame_shift"] * 1 / 2)
    steady = steadystack.correct(binned, scaled, other_shape=True, interpolation="cubic")
    assert float(np.abs(steady[3] - steady[0]).mean()) < 0.1 * np.abs(binned[3] - binned[0]).mean()
    with pytest.raises(InputError, match=r"\* \[1 / 3, 1\]"):
        steadystack.correct(frames[:, ::3], shifts)
    with pytest.raises(InputError, match=r"\* 2\)"):
        steadystack.correct(np.repeat(np.repeat(frames, 2, 1), 2, 2), shifts)
    del shifts.attrs["frame_shape"]  # as an older dataset
    steadystack.correct(binned, shifts)


def test_complex_numbers_are_not_cut(frames, solved):
    with pytest.raises(InputError, match="complex64: real numbers are needed"):
        steadystack.correct(xr.DataArray(frames.astype("c8"), dims=("t", "y", "x")), solved)


def test_what_is_no_shifts_dataset_is_reported(frames, solved):
    stack = xr.DataArray(frames, dims=("t", "y", "x"))
    for given, words in (
        (solved["frame_shift"], "not its variable frame_shift"),
        (stack, "not a DataArray"),
        (TRUTH, "put your own shifts into one"),
        ("shifts.zarr", "is a path"),
        (solved.drop_vars("frame_shift"), "has no frame_shift"),
        (xr.Dataset({"frames": stack}), r"has no frame_shift.* \(it holds frames\)"),
        (xr.Dataset({"frame_shift": ("t", np.zeros(4))}), "its frame_shift has the dims"),
        (unsolved(solved), "not solved yet"),
        (None, "not a NoneType"),
    ):
        with pytest.raises(InputError, match=words):
            steadystack.correct(stack, given)
        if given is not TRUTH:
            for draw in (plot.drift, plot.path, plot.residuals):
                with pytest.raises(InputError, match=words):
                    draw(given, Figure().subplots())
    with pytest.raises(InputError, match=r"correct\(stack, shifts\)"):
        steadystack.correct(solved, stack)
    with pytest.raises(InputError, match="is a path"):
        steadystack.correct("stack.zarr", solved)
    with pytest.raises(InputError, match="has no frame_shift_std"):
        plot.drift(shifts_of(TRUTH), Figure().subplots())
    with pytest.raises(InputError, match="has no pair_reference"):
        plot.residuals(shifts_of(TRUTH), Figure().subplots())
    with pytest.raises(InputError, match="neither separation nor matrix"):
        plot.residuals(solved, Figure().subplots(), kind="map")
    assert plot.pairs(unsolved(solved), Figure().subplots()).has_data()


def test_what_is_no_image_is_reported(frames, solved):
    stack = xr.DataArray(frames, dims=("t", "y", "x"))
    both = tuple(Figure().subplots(1, 2))
    for given, words in (
        (solved, "expected .*, not a Dataset"),
        ("stack.zarr", "expected .*, not a str"),
        (frames, "two axes.*shape"),
    ):
        with pytest.raises(InputError, match=words):
            plot.before_after(stack, given, both)
    with pytest.raises(InputError, match="two axes"):
        plot.before_after(stack, stack, both[0])
    for given, words in ((solved, "expected "), (stack, "one line of the stack")):
        with pytest.raises(InputError, match=words):
            plot.kymograph(given, Figure().subplots())


def test_channels_are_not_taken_for_planes(frames):
    both = np.stack([frames, frames + 1], axis=1)
    for given, way_out in ((both, "stack[:, 0]"), (np.moveaxis(both, 1, 3), "stack[..., 0]")):
        with pytest.raises(InputError, match=r"2 entries along axis \d look like channels") as told:
            steadystack.estimate_shifts(given, max_shift=8)
        assert way_out in str(told.value)
    named = xr.DataArray(both, dims=("t", "channel", "y", "x"))
    with pytest.raises(InputError, match=r"stack.isel\(channel=0\)"):
        steadystack.estimate_shifts(named, max_shift=8)
    with pytest.raises(InputError, match=r"rename\(T='t', Y='y', X='x'\)"):
        steadystack.estimate_shifts(named.rename(t="T", y="Y", x="X"), max_shift=8)
    planes = xr.DataArray(np.repeat(both, 2, axis=1), dims=("t", "z", "y", "x"))
    assert list(steadystack.estimate_shifts(planes, max_shift=[1, 8, 8])["axis"]) == ["z", "y", "x"]
    with pytest.raises(InputError, match="not 5: a DataArray with named dims"):
        steadystack.estimate_shifts(both[:, :, None], max_shift=8)
    one = steadystack.estimate_shifts(both[:, :1], max_shift=8)  # a single plane is no plane
    assert list(one["axis"]) == ["y", "x"]
    moved = steadystack.correct(both, one)  # every channel alike
    np.testing.assert_array_equal(moved[:, 0], steadystack.correct(frames, one))


def test_an_array_of_dask_stays_lazy(frames):
    stack = da.from_array(frames, chunks=(1, *SIZE))
    shifts = steadystack.estimate_shifts(stack, max_shift=8, mask=ellipse(SIZE))
    assert shifts.attrs["frame_shape"] == "[48, 56]"
    assert steadystack.correct(stack, shifts).chunks is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"fixed_pattern": "estimat"},
            r"preprocess.fixed_pattern \(an image, or 'estimate', did you mean that",
        ),
        ({"flat_field": "w.tif"}, r"preprocess.flat_field \(an image, or 'median'\): w.tif"),
        ({"high_pas": 3}, "preprocess.high_pas: unknown key; did you mean high_pass"),
    ],
)
def test_wrong_settings_name_their_key(frames, given, words):
    with pytest.raises(InputError, match=words):
        steadystack.estimate_shifts(frames, max_shift=8, preprocess=given)
