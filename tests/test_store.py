"""Stacks, masks and shifts on disk: what is understood, and what is not there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

import steadystack
from helpers import rough
from steadystack.dataset import (
    check_replaceable,
    load_shifts,
    read_pairs,
    save_shifts,
    shifts_dataset,
)
from steadystack.model import FrameStatus, InputError, PairTable
from steadystack.outputs import write_image, write_stack
from steadystack.readers import ArrayFrames, MaskedFrames, StackFrames, locate, locate_mask

FRAMES = np.stack([rough(seed, (2, 12, 14)) for seed in range(3)]).astype("f4")  # t, c, y, x


def ome_04(path, axes="tcyx", array=FRAMES, labels=("DAPI", "GFP"), units=True):
    group = zarr.create_group(path, zarr_format=2)
    stored = group.create_array("0", shape=array.shape, chunks=(1,) * (array.ndim - 2) + (5, 6),
                                dtype=array.dtype)  # fmt: skip
    stored[...] = array
    half = array[..., ::2, ::2]
    group.create_array("1", data=half)
    kinds = {"t": "time", "c": "channel"}
    unit = {"t": "second", "y": "micrometer", "x": "micrometer"} if units else {}
    entries = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for entry in entries:
        if entry["name"] in unit:
            entry["unit"] = unit[entry["name"]]
    scale = [{"t": 2.5, "c": 1.0, "z": 1.0, "y": 0.4, "x": 0.3}[a] for a in axes]
    coarse = [s * (2 if a in "yx" else 1) for a, s in zip(axes, scale, strict=True)]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": entries,
            "datasets": [
                {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": s}]}
                for i, s in enumerate((scale, coarse))
            ],
        }
    ]
    group.attrs["omero"] = {"channels": [{"label": label} for label in labels]}
    return str(path)


def test_ome_zarr_04_with_everything(tmp_path):
    path = ome_04(tmp_path / "a.zarr")
    spec = locate(path, channel="GFP")
    assert (spec.axes, spec.frame_count, spec.frame_shape) == (("t", "c", "y", "x"), 3, (12, 14))
    assert (spec.channel, spec.channel_names) == (1, ("DAPI", "GFP"))
    assert (spec.pixel_size, spec.unit) == ((0.4, 0.3), "micrometer")
    assert spec.time == ((0.0, 2.5, 5.0), "second")
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, FRAMES[2, 1])
    coarse = locate(path, channel=0, level=1)
    assert (coarse.frame_shape, coarse.pixel_size) == ((6, 7), (0.8, 0.6))
    np.testing.assert_array_equal(StackFrames(coarse).read(1).image, FRAMES[1, 0, ::2, ::2])


def test_ome_zarr_05_that_we_write(tmp_path):
    volume = rough(1, (4, 3, 10, 11)).astype("f4")
    write_stack(
        tmp_path / "a.zarr", volume, axes="tzyx", pixel_size=(2, 0.5, 0.5), frame_interval=9
    )
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    assert stack.dims == ("t", "z", "y", "x")
    assert stack.chunks == ((1,) * 4, (3,), (10,), (11,))
    np.testing.assert_array_equal(stack, volume)
    assert ArrayFrames.checked(stack).pixel_size == ((2.0, 0.5, 0.5), "micrometer")
    assert ArrayFrames.checked(stack.isel(z=1)).pixel_size == ((0.5, 0.5), "micrometer")
    assert ArrayFrames.checked(stack).time == ((0.0, 9.0, 18.0, 27.0), "second")
    assert stack["t"].to_numpy().tolist() == [0, 9, 18, 27]
    assert stack["z"].to_numpy().tolist() == [0, 2, 4]
    assert "valid" not in stack.coords


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", [None, "tyx", "ytx", "xyt"])
def test_plain_arrays_of_any_order(tmp_path, zarr_format, axes):
    frames = FRAMES[:, 0]
    order = ["tyx".index(axis) for axis in axes or "tyx"]
    zarr.create_array(tmp_path / "a.zarr", data=frames.transpose(order), zarr_format=zarr_format)
    spec = locate(str(tmp_path / "a.zarr"), axes=axes)
    for index in range(3):
        np.testing.assert_array_equal(StackFrames(spec).read(index).image, frames[index])


def test_sharded_arrays(tmp_path):
    data = FRAMES[:, 0]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 4, 7), shards=(1, 12, 14), dtype="f4"
    )
    array[...] = data
    spec = locate(str(tmp_path / "a.zarr"))
    assert spec.chunks == (1, 4, 7)
    assert steadystack.open_stack(str(tmp_path / "a.zarr")).coords["valid"].all()
    np.testing.assert_array_equal(StackFrames(spec).read(1).image, data[1])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_groups(tmp_path, zarr_format):
    dataset = xr.Dataset(
        {"signal": (("time", "y", "x"), FRAMES[:, 0]), "flag": (("time",), np.arange(3))},
        {
            "time": ("time", [0.0, 0.5, 2.0], {"units": "hours since 2020-01-01"}),
            "y": ("y", 10 - 0.2 * np.arange(12), {"units": "mm"}),
            "x": ("x", 0.1 * np.arange(14), {"units": "mm"}),
        },
    )
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=False)
    spec = locate(str(tmp_path / "a.zarr"))
    assert (str(spec.array), spec.axes) == ("signal", ("t", "y", "x"))
    np.testing.assert_allclose(spec.pixel_size, (0.2, 0.1))
    assert (spec.unit, spec.time) == ("mm", ((0.0, 0.5, 2.0), "hours since 2020-01-01"))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, FRAMES[2, 0])


def test_one_plane_along_z_is_no_axis(tmp_path):
    write_stack(tmp_path / "a.zarr", FRAMES[:, :1], axes="tzyx")
    spec = locate(str(tmp_path / "a.zarr"))
    assert spec.spatial == ("y", "x")
    np.testing.assert_array_equal(StackFrames(spec).read(1).image, FRAMES[1, 0])


# Stores written by others


@pytest.mark.parametrize(
    ("name", "keys", "frames", "shape"),
    [
        ("v04/images/test_image_tyx.zarr", {}, "t", ("y", "x")),
        ("v05/images/test_image_tyx.zarr", {}, "t", ("y", "x")),
        ("v04/images/test_image_tcyx.zarr", {"channel": 0}, "t", ("y", "x")),
        ("v05/images/test_image_tcyx.zarr", {"channel": 1}, "t", ("y", "x")),
        ("v04/images/test_image_tzyx.zarr", {}, "t", ("z", "y", "x")),
        ("v05/images/test_image_tzyx.zarr", {}, "t", ("z", "y", "x")),
        ("v04/images/test_image_tczyx.zarr", {"channel": 0}, "t", ("z", "y", "x")),
        ("v05/images/test_image_tczyx.zarr", {"channel": 0, "level": 1}, "t", ("z", "y", "x")),
    ],
)
def test_layouts_written_by_others(real_data, name, keys, frames, shape):
    path = real_data("omezarr_ngio") / "tests" / "data" / name
    spec = locate(str(path), **keys)
    group = zarr.open_group(path, mode="r")
    array = group[str(keys.get("level", 0))]
    axes = name.split("_")[-1].removesuffix(".zarr")
    sizes = dict(zip(axes, array.shape, strict=True))
    assert spec.frame_count == sizes[frames]
    assert spec.frame_shape == tuple(sizes[axis] for axis in shape)
    assert StackFrames(spec).read(0).image.shape == spec.frame_shape


def test_missing_chunks_of_a_real_plate(real_data):
    """Level 0 of this image has no chunks: Zarr reads zeros, here nothing is valid."""
    folder = real_data("omezarr_fractal") / "v04"
    path = str(next(folder.glob("*.zarr")))
    lost = StackFrames(locate(path, axes="tzyx")).read(0)
    assert lost.status is FrameStatus.MISSING
    assert not lost.valid.any()
    whole = StackFrames(locate(path, axes="tzyx", level=1)).read(0)
    assert whole.status is FrameStatus.OK
    assert whole.valid.all()
    assert whole.image.std() > 0
    trusted = StackFrames(locate(path, axes="tzyx", missing_chunks="fill")).read(0)
    assert trusted.valid.all()


# What is not there, or cannot be read


def chunk_file(path, zarr_format, *index):
    key = ".".join(map(str, index)) if zarr_format == 2 else "c/" + "/".join(map(str, index))
    return path / key


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill_value", [0, 7])
def test_a_missing_chunk_is_not_valid(tmp_path, zarr_format, fill_value):
    data = np.full((3, 8, 10), fill_value, "u2")  # dark, but there
    data[:, 2:6, 2:8] = 50
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 4, 5), dtype="u2",
        zarr_format=zarr_format, fill_value=fill_value, config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = data
    array[2] = fill_value
    chunk_file(tmp_path / "a.zarr", zarr_format, 1, 0, 1).unlink()
    frames = StackFrames(locate(str(tmp_path / "a.zarr")))
    assert frames.read(0).valid.all()
    assert frames.read(2).valid.all()  # all fill value, and stored so
    found = frames.read(1)
    assert found.status is FrameStatus.INCOMPLETE
    assert not found.valid[:4, 5:].any()
    assert found.valid.sum() == 60
    trusted = StackFrames(locate(str(tmp_path / "a.zarr"), missing_chunks="fill")).read(1)
    assert trusted.valid.all()
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(stack.coords["valid"][1], found.valid)
    assert ArrayFrames.checked(stack.isel(t=[0, 1])).read(1).valid.sum() == 60


def test_a_missing_inner_chunk_of_a_shard_is_not_valid(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(2, 8, 8), chunks=(1, 4, 4), shards=(1, 8, 8), dtype="i2"
    )
    array[0] = 1
    array[1, :4] = 1  # the lower inner chunks are never written
    found = StackFrames(locate(str(tmp_path / "a.zarr"))).read(1)
    assert found.status is FrameStatus.INCOMPLETE
    assert found.valid[:4].all()
    assert not found.valid[4:].any()
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(stack.coords["valid"][1], found.valid)


def test_a_missing_chunk_of_an_array_filled_with_nan(tmp_path):
    data = rough(1, (2, 8, 8)).astype("f4")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 4, 8), dtype="f4", fill_value=np.nan
    )
    array[...] = data
    array[0, :4] = np.nan  # measured as unknown, but there
    chunk_file(tmp_path / "a.zarr", 3, 1, 0, 0).unlink()
    frames = StackFrames(locate(str(tmp_path / "a.zarr")))
    assert frames.read(1).status is FrameStatus.INCOMPLETE
    chunk_file(tmp_path / "a.zarr", 3, 1, 1, 0).unlink()
    assert frames.read(1).status is FrameStatus.MISSING


def test_channels_whose_names_are_numbers(tmp_path):
    path = ome_04(tmp_path / "a.zarr", labels=("488", "561"))
    assert locate(path, channel="561").channel == 1
    assert locate(path, channel="1").channel == 1
    assert locate(path, channel=0).channel == 0


def test_units_that_differ_become_one(tmp_path):
    path = ome_04(tmp_path / "a.zarr")
    group = zarr.open_group(path)
    multiscales = group.attrs["multiscales"]
    multiscales[0]["axes"][2]["unit"] = "nanometer"
    group.attrs["multiscales"] = multiscales
    spec = locate(path, channel=0)
    assert spec.unit == "micrometer"
    np.testing.assert_allclose(spec.pixel_size, (0.0004, 0.3))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_truncated_chunk_is_unreadable(tmp_path, zarr_format):
    data = np.arange(3 * 64 * 64, dtype="u4").reshape(3, 64, 64)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 32, 64), dtype="u4",
        zarr_format=zarr_format,
    )  # fmt: skip
    array[...] = data
    torn = chunk_file(tmp_path / "a.zarr", zarr_format, 1, 1, 0)
    torn.write_bytes(torn.read_bytes()[:40])
    frames = StackFrames(locate(str(tmp_path / "a.zarr")))
    found = frames.read(1)
    assert found.status is FrameStatus.UNREADABLE
    assert not found.valid.any()
    assert frames.read(2).status is FrameStatus.OK
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    with pytest.raises(OSError, match="cannot be decoded"):
        stack.isel(t=1).compute()
    assert ArrayFrames.checked(stack).read(1).status is FrameStatus.UNREADABLE


def table_of_wrong_inputs(folder):
    ome_04(folder / "ome.zarr")
    zarr.create_array(folder / "plain4d.zarr", data=FRAMES)
    zarr.create_array(folder / "complex.zarr", data=FRAMES[:, 0].astype("c8"))
    write_stack(folder / "static.zarr", FRAMES[0], axes="cyx")
    group = zarr.create_group(folder / "two.zarr")
    group.create_array("a", data=FRAMES[:, 0])
    group.create_array("b", data=FRAMES[:, 0])
    (folder / "text.zarr").mkdir()
    torn = folder / "torn.zarr"
    shutil.copytree(folder / "two.zarr", torn)
    (torn / "zarr.json").write_text("{")
    gone = ome_04(folder / "gone.zarr")
    shutil.rmtree(f"{gone}/1")
    return [
        ("none.zarr", {}, "is not there"),
        ("text.zarr", {}, "is no Zarr store"),
        ("torn.zarr", {}, "cannot be opened as Zarr"),
        ("ome.zarr", {}, "2 channel.*DAPI, GFP.*choose one"),
        ("ome.zarr", {"channel": 2}, "input.channel 2 is out of range.*DAPI, GFP"),
        ("ome.zarr", {"channel": "RFP"}, "'RFP' is no channel of .*2 channels: DAPI, GFP"),
        ("ome.zarr", {"channel": 0, "level": 2}, "levels are 0 to 1"),
        ("ome.zarr", {"axes": "tyx"}, "input.axes names 3 axes.*4 dimensions"),
        ("ome.zarr", {"axes": "ttyx"}, "occurs twice"),
        ("ome.zarr", {"axes": "tczy"}, "needs y and x"),
        ("gone.zarr", {"channel": 0, "level": 1}, "array '1', which is not there"),
        ("plain4d.zarr", {}, "4 dimensions without names: set input.axes"),
        ("complex.zarr", {}, "real numbers are needed"),
        ("static.zarr", {"channel": 0}, "no t: a time-lapse is needed"),
        ("two.zarr", {}, "set input.variable.*a, b"),
        ("two.zarr", {"variable": "c"}, "set input.variable.*a, b"),
    ]


def test_wrong_inputs_are_told(tmp_path):
    for name, keys, words in table_of_wrong_inputs(tmp_path):
        with pytest.raises(InputError, match=words):
            locate(str(tmp_path / name), **keys)


# Masks


def test_masks_static_and_per_frame(tmp_path):
    frames = FRAMES[:, 0]
    write_stack(tmp_path / "a.zarr", frames)
    source = StackFrames(locate(str(tmp_path / "a.zarr")))
    static, moving = frames[0] > 0, frames > 0.1
    write_image(tmp_path / "static.zarr", static.astype("u1") * 255)
    write_image(tmp_path / "moving.zarr", moving)
    write_stack(tmp_path / "ome.zarr", static[None].astype("u1"))
    for name, expected in (
        ("static", [static] * 3),
        ("moving", moving),
        ("ome", [static] * 3),
    ):
        mask = locate_mask(str(tmp_path / f"{name}.zarr"), 3, (12, 14))
        joined = MaskedFrames(source, mask)
        for index in range(3):
            np.testing.assert_array_equal(joined.read(index).valid, expected[index])


def test_a_mask_with_named_dims_may_have_them_in_any_order(tmp_path):
    mask = np.random.default_rng(0).random((3, 9, 9)) < 0.5
    zarr.create_array(tmp_path / "s.zarr", data=mask[0].T, dimension_names=["x", "y"])
    zarr.create_array(
        tmp_path / "m.zarr", data=mask.transpose(2, 0, 1), dimension_names=["x", "time", "y"]
    )
    static, moving = (locate_mask(str(tmp_path / f"{n}.zarr"), 3, (9, 9)) for n in "sm")
    for index in range(3):
        np.testing.assert_array_equal(static.read(index, (9, 9)), mask[0])
        np.testing.assert_array_equal(moving.read(index, (9, 9)), mask[index])


def test_a_missing_chunk_of_a_mask_means_its_fill_value(tmp_path):
    array = zarr.create_array(tmp_path / "m.zarr", shape=(8, 8), chunks=(4, 4), dtype=bool)
    array[:4, :4] = True  # Zarr leaves the empty chunks out
    mask = locate_mask(str(tmp_path / "m.zarr"), 3, (8, 8)).read(0, (8, 8))
    assert mask.sum() == 16


def test_a_mask_of_another_shape_is_refused(tmp_path):
    for shape in ((12, 13), (4, 12, 14), (3, 14, 12), (12,)):
        write_image(tmp_path / "m.zarr", np.ones(shape, bool))
        with pytest.raises(InputError, match="must be that of a frame"):
            locate_mask(str(tmp_path / "m.zarr"), 3, (12, 14))


def test_a_mask_that_cannot_be_decoded_makes_its_frame_unreadable(tmp_path):
    write_stack(tmp_path / "a.zarr", FRAMES[:, 0])
    array = zarr.create_array(
        tmp_path / "m.zarr", shape=(3, 12, 14), chunks=(1, 12, 14), dtype="u1"
    )
    array[...] = np.random.default_rng(0).integers(0, 2, (3, 12, 14))
    torn = chunk_file(tmp_path / "m.zarr", 3, 1, 0, 0)
    torn.write_bytes(torn.read_bytes()[:5])
    source = StackFrames(locate(str(tmp_path / "a.zarr")))
    joined = MaskedFrames(source, locate_mask(str(tmp_path / "m.zarr"), 3, (12, 14)))
    assert joined.read(1).status is FrameStatus.UNREADABLE
    assert joined.read(2).status is FrameStatus.OK


# The shifts dataset


@pytest.fixture
def dataset():
    pairs = PairTable.unmeasured(np.array([[0, 1], [1, 2]]), 3, 2)
    return shifts_dataset(
        pairs,
        axes=("y", "x"),
        pixel_size=(0.5, 0.5),
        unit="micrometer",
        time=((0.0, 2.0, 4.0), "second"),
        attributes={"configuration": json.dumps({"a": 1})},
    )


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
def test_the_dataset_on_disk_is_the_one_in_memory(tmp_path, dataset, name):
    path = str(tmp_path / name)
    save_shifts(dataset, path)
    save_shifts(dataset.assign(shift=dataset["shift"].fillna(3)), path)
    found = load_shifts(path)
    xr.testing.assert_equal(found, dataset.assign(shift=dataset["shift"].fillna(3)))
    assert found.attrs == dataset.attrs
    assert found["pair_status"].attrs["flag_meanings"].startswith("unmeasured ok")
    assert (read_pairs(found).status == 0).all()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_any_xarray_opens_it(tmp_path, dataset):
    save_shifts(dataset, str(tmp_path / "s.zarr"))
    with xr.open_zarr(tmp_path / "s.zarr") as found:  # warnings are errors here
        assert found["shift"].dims == ("frame", "axis")
        assert found["axis"].to_numpy().tolist() == ["y", "x"]
        assert found["pixel_size"].attrs["units"] == "micrometer"


def test_only_shifts_datasets_are_overwritten(tmp_path, dataset):
    for name in ("s.zarr", "s.nc", "none.zarr"):
        if name != "none.zarr":
            save_shifts(dataset, str(tmp_path / name))
        check_replaceable(str(tmp_path / name))
    write_stack(tmp_path / "a.zarr", FRAMES[:, 0])
    (tmp_path / "notes.nc").write_text("mine")
    for name in ("a.zarr", "notes.nc"):
        with pytest.raises(InputError, match=r"(a|no) shifts dataset"):
            check_replaceable(str(tmp_path / name))


def test_a_path_that_holds_no_shifts(tmp_path):
    with pytest.raises(InputError, match="run `steadystack measure` first"):
        load_shifts(str(tmp_path / "none.zarr"))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="is no shifts dataset"):
        load_shifts(str(tmp_path / "empty.zarr"))
