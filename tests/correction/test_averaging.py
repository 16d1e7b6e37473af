"""Means on disk: against direct summation, however they are cut, and what goes wrong on the way."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from scipy import ndimage

import steadystack
from steadystack.config import CorrectSection
from steadystack.correction import averaging, moments, plan_mean, write_mean
from steadystack.model import FrameStatus, InputError, OutputError
from steadystack.outputs import write_stack
from steadystack.readers import locate_stack
from steadystack.validity import ArrayMask, Validity
from support.corrected import MEMORY, TRUTH, frames_of, shifts_of
from support.scenes import Scene

IMAGES = ("mean", "sum", "std", "count", "maximum")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


def planned(path, source, shifts=None, memory=MEMORY, weights=None, **how):
    validity, channel = how.pop("validity", Validity()), how.pop("channel", None)
    return plan_mean(
        str(path), locate_stack(str(source), channel=0), shifts_of() if shifts is None else shifts,
        CorrectSection(**how), validity, channel, memory, weights,
    )  # fmt: skip


def images_of(path):
    group = zarr.open_group(path, mode="r")
    return {name: group["0" if name == "mean" else name][:] for name in IMAGES}


def made(path, source, **how):
    again = how.pop("overwrite", False)
    mean = planned(path, source, **how)
    write_mean(mean, None, overwrite=again)
    return mean, images_of(path)


def summed(frames, shifts, weights=None, valid=None):
    """The slow, obvious way: every frame moved by splines of scipy, one after the other."""
    weights = np.ones(len(frames)) if weights is None else weights
    moved, known = [], []
    for frame, image in enumerate(frames.astype(float)):
        whole = np.floor(shifts[frame] + 0.5).astype(int)
        mask = np.ones(image.shape, bool) if valid is None else valid[frame]
        known.append(ndimage.shift(mask.astype(np.uint8), whole, order=0, cval=0).astype(bool))
        moved.append(ndimage.shift(image, shifts[frame], order=3, mode="reflect"))
    pixels, seen = np.array(moved), np.array(known)
    each = seen * weights.reshape(-1, *(1,) * (frames.ndim - 1))
    total = each.sum(axis=0)
    mean = (each * pixels).sum(axis=0) / np.where(total, total, np.nan)
    spread = (each * (pixels - mean) ** 2).sum(axis=0)
    count = seen[weights > 0].sum(axis=0)
    highest = np.where(each > 0, pixels, -np.inf).max(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        std = np.sqrt(spread / (total - (each**2).sum(axis=0) / total))
    return {
        "mean": mean,
        "sum": np.where(count, (each * pixels).sum(axis=0), np.nan),
        "std": np.where(count > 1, std, np.nan),
        "count": count,
        "maximum": np.where(count, highest, np.nan),
    }


def assert_close(found, expected, tolerance=0.05):
    np.testing.assert_array_equal(found["count"], expected["count"])
    for name in ("mean", "sum", "std", "maximum"):
        np.testing.assert_allclose(
            found[name], expected[name], atol=tolerance * (9 if name == "sum" else 1), rtol=1e-6,
            err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("weights", [None, np.array([1, 0.5, 3, 0, 2, 7])])
def test_it_is_the_sum_over_frames_moved_by_scipy(frames, tmp_path, weights):
    write_stack(tmp_path / "stack.zarr", frames, pixel_size=(0.5, 0.25))
    mean, found = made(tmp_path / "mean.zarr", tmp_path / "stack.zarr", weights=weights)
    expected = summed(frames, TRUTH, weights)
    assert_close(found, expected)  # counts of 20000; single precision
    assert mean.counted == (6 if weights is None else 5)
    attributes = dict(zarr.open_group(tmp_path / "mean.zarr", mode="r").attrs)
    (multiscale,) = attributes["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["y", "x"]
    (scale,) = multiscale["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [0.5, 0.25]
    assert attributes["steadystack"]["left_out"] == ([] if weights is None else [3])


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "fourier"])
@pytest.mark.parametrize("border", ["same", "crop", "expand"])
def test_it_is_the_mean_of_the_corrected_stack_before_rounding(
    frames, tmp_path, interpolation, border
):
    frames = frames.astype(np.float64)  # which nothing rounds
    write_stack(tmp_path / "stack.zarr", frames)
    _, found = made(
        tmp_path / "mean.zarr", tmp_path / "stack.zarr", interpolation=interpolation, border=border
    )
    steady = steadystack.correct(frames, shifts_of(), interpolation=interpolation, border=border)
    steady = steady.compute()  # the maxima of dask ignore warnings of NaN in one thread at a time
    np.testing.assert_allclose(found["mean"], steady.mean("t"), rtol=1e-13)
    np.testing.assert_allclose(found["sum"], steady.sum("t", min_count=1), rtol=1e-13)
    np.testing.assert_allclose(found["maximum"], steady.max("t"), rtol=0)
    np.testing.assert_array_equal(found["count"], steady.notnull().sum("t"))


def test_invalid_pixels_do_not_count_and_touch_no_others(frames, tmp_path):
    valid = np.ones(frames.shape, bool)
    valid[:, 20:33, 30:41] = False
    valid[2, 50:, :] = False
    spoilt = np.where(valid, frames, 65535).astype("u2")
    write_stack(tmp_path / "stack.zarr", spoilt)
    validity = Validity((ArrayMask(valid, per_frame=True),))
    found = made(tmp_path / "a.zarr", tmp_path / "stack.zarr", validity=validity)[1]
    expected = summed(spoilt, TRUTH, valid=valid)
    np.testing.assert_array_equal(found["count"], expected["count"])
    steady = steadystack.correct(spoilt.astype(np.float32), shifts_of(), mask=valid)
    np.testing.assert_allclose(found["mean"], steady.mean("t"), rtol=1e-6)
    assert np.nanmax(found["maximum"]) < 40000
    # Whatever the corrected stack writes there.
    kept = made(tmp_path / "b.zarr", tmp_path / "stack.zarr", validity=validity, invalid="keep")[1]
    np.testing.assert_array_equal(found["mean"], kept["mean"])


@pytest.mark.parametrize("weights", [None, np.array([1, 0.5, 3, 0, 2, 7])])
def test_boxes_and_batches_change_nothing(tmp_path, monkeypatch, weights):
    world = Scene(3, detail=2.5)
    large = np.stack([20000 + 3000 * world.view((300, 260), o) for o in TRUTH]).astype("u2")
    write_stack(tmp_path / "stack.zarr", large)
    mean, whole = made(tmp_path / "a.zarr", tmp_path / "stack.zarr", weights=weights)
    assert (len(mean.work.boxes), len(mean.work.batches)) == (1, 1)
    monkeypatch.setattr(averaging, "LEAST_FRAMES", 2)
    how = {"chunks": (64, 64), "levels": 2, "weights": weights}
    cut = planned(tmp_path / "b.zarr", tmp_path / "stack.zarr", memory=34 * 2**20, **how)
    assert len(cut.work.boxes) > 2
    assert len(cut.work.batches) == 3
    assert cut.task_bytes <= 34 * 2**20
    write_mean(cut, None)
    for name, image in images_of(tmp_path / "b.zarr").items():
        np.testing.assert_allclose(image, whole[name], rtol=1e-6, atol=0.02, err_msg=name)
    level = zarr.open_group(tmp_path / "b.zarr", mode="r")["1"][:]
    np.testing.assert_allclose(
        level[10:20, 10:20], whole["mean"][20:40, 20:40].reshape(10, 2, 10, 2).mean((1, 3)),
        rtol=1e-6,
    )  # fmt: skip


def test_all_channels_and_planes_in_every_format(frames, tmp_path):
    planes = np.stack([frames, frames // 2, 65535 - frames], axis=1)[:, None]
    planes = np.concatenate([planes, planes // 3], axis=1)  # t c z y x
    write_stack(tmp_path / "stack.zarr", planes, axes="tczyx", pixel_size=(3.0, 0.5, 0.5))
    shifts = shifts_of(np.concatenate([np.full((6, 1), 1.0), TRUTH], axis=1))  # along z, too
    source = tmp_path / "stack.zarr"
    found = made(tmp_path / "mean.zarr", source, shifts=shifts)[1]
    steady = steadystack.correct(
        xr.DataArray(planes.astype(np.float64), dims=list("tczyx")), shifts
    ).compute()
    expected = {"count": steady.notnull().sum("t"), "sum": steady.sum("t", min_count=1)}
    expected |= {"mean": steady.mean("t"), "maximum": steady.max("t")}
    with warnings.catch_warnings(
        action="ignore", category=RuntimeWarning
    ):  # one frame has no deviation
        expected["std"] = steady.std("t", ddof=1)
    assert_close(found, expected)
    flat = made(tmp_path / "flat.zarr", source)[1]  # shifts along y and x: planes are moved alike
    for c, z in np.ndindex(2, 3):
        one = {name: image[c, z] for name, image in flat.items()}
        assert_close(one, summed(planes[:, c, z], TRUTH))
    for name in ("mean.ome.tif", "mean.npy"):
        write_mean(planned(tmp_path / name, source, shifts=shifts), None)
    np.testing.assert_array_equal(np.load(tmp_path / "mean.npy"), found["mean"])
    with tifffile.TiffFile(tmp_path / "mean.ome.tif") as file:
        assert [series.name for series in file.series] == list(IMAGES)
        assert {series.axes for series in file.series} == {"CZYX"}
        for series in file.series:
            np.testing.assert_array_equal(series.asarray(), found[series.name])
        assert file.ome_metadata.count('PhysicalSizeZ="3.0"') == len(IMAGES)
    spec = locate_stack(str(tmp_path / "stack.zarr"), channel=0)
    assert spec.pixel_size == (3.0, 0.5, 0.5)


def test_frames_that_are_not_ok_are_left_out_and_not_read(frames, tmp_path, monkeypatch):
    codes = [FrameStatus.OK.code] * 6
    codes[1], codes[4] = FrameStatus.INTERPOLATED.code, FrameStatus.DISSIMILAR.code
    values = TRUTH.copy()
    values[5] = np.nan
    shifts = shifts_of(values, frame_status=codes)
    write_stack(tmp_path / "stack.zarr", frames)
    (tmp_path / "stack.zarr" / "0" / "c" / "5" / "0" / "0").write_bytes(b"torn")
    how = {"unusable": "unmoved", "interpolated": "unmoved"}  # of the corrected stack alone
    mean, found = made(tmp_path / "mean.zarr", tmp_path / "stack.zarr", shifts=shifts, **how)
    used = [0, 2, 3]
    assert_close(found, summed(frames[used], TRUTH[used]))
    assert mean.counted == 3
    assert mean.attributes["steadystack"]["left_out"] == [1, 4, 5]


def test_a_boolean_stack_gives_the_share_of_frames(frames, tmp_path):
    bright = frames > 20000
    write_stack(tmp_path / "stack.zarr", bright)
    _, found = made(tmp_path / "mean.zarr", tmp_path / "stack.zarr")
    total, count = np.zeros(frames.shape[1:]), np.zeros(frames.shape[1:])
    for image, shift in zip(bright, TRUTH, strict=True):
        whole = np.floor(shift + 0.5)
        total += ndimage.shift(image.astype(float), whole, order=0)
        count += ndimage.shift(np.ones(image.shape), whole, order=0)
    np.testing.assert_allclose(found["mean"], total / count, rtol=1e-6)


def test_a_mean_that_was_stopped_is_gone_on_with(frames, tmp_path, monkeypatch):
    write_stack(tmp_path / "stack.zarr", np.tile(frames, (1, 4, 4)))
    how = {"chunks": (128, 128), "memory": 34 * 2**20}
    whole = planned(tmp_path / "a.zarr", tmp_path / "stack.zarr", **how)
    write_mean(whole, None)
    write_box, written = averaging.write_box, []

    def failing(part, work):
        if len(written) == 2:
            raise OSError(28, "no space left on device")
        written.append(part[0])
        return write_box(part, work)

    monkeypatch.setattr(averaging, "write_box", failing)
    begun = planned(tmp_path / "b.zarr", tmp_path / "stack.zarr", **how)
    assert len(begun.work.boxes) > 3
    with pytest.raises(OutputError):
        write_mean(begun, None)
    assert not (tmp_path / "b.zarr").exists()
    monkeypatch.setattr(averaging, "write_box", write_box)
    told = []
    write_mean(begun, None, progress=lambda done, count: told.append(done))
    assert told[0] == 3
    for name, image in images_of(tmp_path / "b.zarr").items():
        np.testing.assert_array_equal(image, images_of(tmp_path / "a.zarr")[name])


@pytest.mark.parametrize("name", ["mean.zarr", "mean.ome.tif", "mean.npy"])
def test_one_that_is_there_stays_unless_asked(frames, tmp_path, monkeypatch, name):
    write_stack(tmp_path / "stack.zarr", frames)
    source = tmp_path / "stack.zarr"
    write_mean(planned(tmp_path / name, source), None)

    def unneeded(*arguments):
        raise AssertionError("it was done")

    with monkeypatch.context() as context:
        context.setattr(moments, "move_region", unneeded)
        write_mean(planned(tmp_path / name, source), None)
    other = planned(tmp_path / name, source, weights=np.array([1, 1, 1, 1, 1, 0.5]))
    with pytest.raises(InputError, match=r"--overwrite.*another output\.mean"):
        write_mean(other, None)
    write_mean(other, None, overwrite=True)
    write_mean(other, None)
    with pytest.raises(InputError, match=r"--overwrite.*another output\.mean"):
        write_mean(planned(tmp_path / name, source), None)


@pytest.mark.parametrize("name", ["mean.zarr", "mean.ome.tif", "mean.npy"])
def test_what_was_not_made_here_is_never_replaced(frames, tmp_path, name):
    write_stack(tmp_path / "stack.zarr", frames)
    if name.endswith(".npy"):
        np.save(tmp_path / name, np.zeros((4, 4)))
    elif name.endswith(".tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((4, 4), np.float32))
    else:
        write_stack(tmp_path / name, frames[:2])
    mean = planned(tmp_path / name, tmp_path / "stack.zarr")
    with pytest.raises(InputError, match="it will not be overwritten"):
        write_mean(mean, None, overwrite=True)


def test_a_mean_edited_by_somebody_is_theirs(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    mean = planned(tmp_path / "mean.npy", tmp_path / "stack.zarr")
    write_mean(mean, None)
    np.save(tmp_path / "mean.npy", np.load(tmp_path / "mean.npy") + 1)
    with pytest.raises(InputError, match="was not made by steadystack"):
        write_mean(mean, None, overwrite=True)


def test_a_corrected_stack_is_no_mean_and_labels_have_none(frames, tmp_path):
    from support.corrected import made as corrected

    write_stack(tmp_path / "stack.zarr", frames)
    corrected(tmp_path / "steady.zarr", tmp_path / "stack.zarr")
    mean = planned(tmp_path / "steady.zarr", tmp_path / "stack.zarr")
    with pytest.raises(InputError, match="is not a mean of a corrected series"):
        write_mean(mean, None, overwrite=True)
    made(tmp_path / "mean.zarr", tmp_path / "stack.zarr")
    with pytest.raises(InputError, match="is not a corrected stack"):
        corrected(tmp_path / "mean.zarr", tmp_path / "stack.zarr", overwrite=True)
    with pytest.raises(InputError, match="labels have no mean"):
        planned(tmp_path / "labels.zarr", tmp_path / "stack.zarr", labels=True)


def test_on_a_cluster_it_is_the_same_to_the_last_bit(frames, tmp_path, client, monkeypatch):
    monkeypatch.setattr(averaging, "LEAST_FRAMES", 2)
    write_stack(tmp_path / "stack.zarr", np.tile(frames, (1, 4, 4)))
    how = {"chunks": (128, 128), "memory": 37 * 2**20, "weights": np.array([1, 2, 3, 4, 5, 6.0])}
    for name, engine in (("here", None), ("there", client)):
        mean = planned(tmp_path / f"{name}.zarr", tmp_path / "stack.zarr", **how)
        assert len(mean.work.batches) == 3
        write_mean(mean, engine)
        tiff = replace(mean, path=str(tmp_path / f"{name}.ome.tif"))
        write_mean(tiff, engine)
    here, there = images_of(tmp_path / "here.zarr"), images_of(tmp_path / "there.zarr")
    for name in IMAGES:
        np.testing.assert_array_equal(here[name], there[name])
    with tifffile.TiffFile(tmp_path / "there.ome.tif") as file:
        assert [series.name for series in file.series] == ["there", *IMAGES[1:]]
        for name, series in zip(IMAGES, file.series, strict=True):
            np.testing.assert_array_equal(series.asarray(), here[name])
