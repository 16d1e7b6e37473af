"""Stores as this and other programs write them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

import steadystack
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import ArrayFrames, StackFrames, locate_stack
from support import STORES
from support.scenes import rough
from support.stores import FRAMES, ome_04
from support.tiff_files import PIXELS

MICROMETERS = ((0.4, 0.3), "micrometer")
TIMES = ((0.0, 2.5, 5.0), "second")


@pytest.mark.parametrize(
    ("name", "keys", "chunks", "shards", "labels"),
    [
        ("ome-zarr-py-04", {}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("ome-zarr-py-05", {}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("ome-zarr-py-04-plate", {"position": "A/01/1"}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("ome-zarr-py-05-plate", {"position": "B/03/0"}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("bioio-04", {}, (1, 1, 12, 10), None, ("DAPI", "GFP")),
        ("bioio-05", {}, (1, 1, 12, 10), None, ("DAPI", "GFP")),
        ("ngff-zarr-04", {}, (3, 2, 12, 12), None, ()),
        ("ngff-zarr-05-sharded", {}, (3, 2, 12, 12), (3, 2, 24, 24), ()),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_what_other_writers_write(tmp_path, name, keys, chunks, shards, labels, packed):
    path = STORES / f"{name}.zip"
    if not packed:
        shutil.unpack_archive(path, tmp_path / "a.zarr")
        path = tmp_path / "a.zarr"
    channel = "GFP" if labels else 1
    spec = locate_stack(str(path), channel=channel, **keys)
    assert spec.axes == ("t", "c", "y", "x")
    assert (spec.shape, spec.levels) == ((3, 2, 24, 20), ((3, 2, 24, 20), (3, 2, 12, 10)))
    assert (spec.channel_names, spec.channel) == (labels, 1)
    assert ((spec.pixel_size, spec.unit), spec.time) == (MICROMETERS, TIMES)
    assert (spec.chunks, spec.shards) == (chunks, shards)
    for frame in range(3):
        np.testing.assert_array_equal(StackFrames(spec).read(frame).image, PIXELS[frame, 1])
    coarse = locate_stack(str(path), channel=channel, level=1, **keys)
    assert (coarse.frame_shape, coarse.pixel_size) == ((12, 10), (0.8, 0.6))


NGIO, JAVA = "omezarr_ngio/tests/data", "omezarr_zarr_java"
GLANCER, FRACTAL = "omezarr_neuroglancer/zarr", "omezarr_fractal/v04"
PLATE = "20200812-CardiomyocyteDifferentiation14-Cycle1_B_03_mip.zarr"


@pytest.mark.parametrize(
    ("name", "keys", "shape", "axes", "labels", "size", "unit", "at", "value"),
    [
        (f"{NGIO}/v04/images/test_image_tcyx.zarr", {"channel": "channel_2"}, (4, 3, 64, 64),
         "tcyx",
         ("channel_0", "channel_1", "channel_2"), (0.5, 0.5), "micrometer", (0, 5, 6), 0),
        (f"{NGIO}/v05/images/test_image_tczyx.zarr", {"channel": 1}, (4, 2, 10, 64, 64), "tczyx",
         ("channel_0", "channel_1"), (1.0, 0.5, 0.5), "micrometer", (3, 9, 5, 6), 0),
        (f"{JAVA}/v0.4", {"channel": 1}, (1, 2, 8, 16, 16), "tczyx", (), (0.5, 0.5, 0.5),
         "micrometer", (0, 1, 2, 3), None),
        (f"{JAVA}/v0.5_hcs", {"channel": 0, "position": "A/1"}, (1, 2, 4, 8, 8), "tczyx", (),
         (1.0, 1.0, 1.0), "micrometer", (0, 1, 2, 3), None),
        (f"{FRACTAL}/{PLATE}", {"level": 1, "axes": "tzyx"}, None, "tzyx", ("DAPI",), None,
         "micrometer", (0, 700, 900), None),
        (f"{GLANCER}/ome_zarr/simple_0.4/scale0/image", {"axes": "ty", "bad": "needs y and x"},
         None, "", (), None, "", None, None),
        (f"{GLANCER}/zarr_v2/from_zarr-python/data.zarr/3d.chunked.mixed.i2.F", {}, (3, 3, 3),
         "tyx", (), (np.nan, np.nan), "", (1, 2, 0), None),
        (f"{GLANCER}/zarr_v3/from_zarrita/data.zarr/3d.chunked.compressed.sharded.i2", {},
         (4, 4, 4), "tyx", (), (np.nan, np.nan), "", (3, 2, 1), None),
        (f"{GLANCER}/ome_zarr/all_0.6/basic/scale.zarr", {"bad": "0.6.* is not supported"},
         None, "", (), None, "", None, None),
    ],
)  # fmt: skip
def test_what_lies_beside_the_project(
    real_data, name, keys, shape, axes, labels, size, unit, at, value
):
    top, rest = name.split("/", 1)
    path = real_data(top) / rest
    bad = keys.pop("bad", None)
    if bad:
        with pytest.raises(InputError, match=bad):
            locate_stack(str(path), **keys)
        return
    spec = locate_stack(str(path), **keys)
    assert "".join(spec.axes) == axes
    assert shape is None or spec.shape == shape
    assert spec.channel_names[: len(labels)] == labels
    if size is not None:
        np.testing.assert_array_equal(spec.pixel_size, size)
        assert spec.unit == unit
    array = zarr.open(path, mode="r")
    if isinstance(array, zarr.Group):
        inside = "A/1/0/0" if "position" in keys else str(keys.get("level", 0))
        array = array[inside]
    frame, *place = at
    index = dict(zip([a for a in spec.axes if a in spec.spatial], place, strict=True))
    index |= {"t": frame, "c": spec.channel or 0}
    expected = array[tuple(index.get(axis, 0) for axis in spec.axes)]
    assert StackFrames(spec).read(frame).image[tuple(place)] == expected
    assert value is None or expected == value


def test_npy_stacks(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS[:, 0])
    spec = locate_stack(str(tmp_path / "a.npy"))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 0])
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:200])
    with pytest.raises(InputError, match=r"b.npy: the .npy file cannot be read"):
        locate_stack(str(tmp_path / "b.npy"))


def unpacked(tmp_path, name="ome-zarr-py-05"):
    shutil.unpack_archive(STORES / f"{name}.zip", tmp_path / "a.zarr")
    return zarr.open_group(tmp_path / "a.zarr", mode="r+"), str(tmp_path / "a.zarr")


def test_a_level_whose_scale_does_not_fit(tmp_path):
    group, path = unpacked(tmp_path)
    ome = group.attrs["ome"]
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"] = [
        2.5,
        1,
        0.4,
        0.3,
    ]
    group.attrs["ome"] = ome
    assert locate_stack(path, channel=0).pixel_size == (0.4, 0.3)
    with pytest.raises(
        InputError, match=r"level 1 has \(3, 2, 12, 10\) pixels and states .*pixel_size"
    ):
        locate_stack(path, channel=0, level=1)
    spec = locate_stack(path, channel=0, level=1, pixel_size=(0.8, 0.6))
    assert (spec.pixel_size, spec.unit) == ((0.8, 0.6), "micrometer")
    assert locate_stack(path, channel=0, pixel_size=2).pixel_size == (2.0, 2.0)
    with pytest.raises(InputError, match="pixel_size has 3 values for the axes y, x"):
        locate_stack(path, channel=0, pixel_size=(1, 2, 3))
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"] = [1, 1]
    group.attrs["ome"] = ome
    with pytest.raises(InputError, match=r"has the scale \[1, 1\] for 4 axes"):
        locate_stack(path, channel=0, level=1)


def test_levels_of_odd_sizes_fit_whichever_way_they_were_rounded(tmp_path):
    for size, coarse in ((25, 12), (25, 13), (3, 1), (3, 2)):
        group = zarr.create_group(tmp_path / "a.zarr", overwrite=True)
        for name, side in (("0", size), ("1", coarse)):
            group.create_array(name, shape=(2, side, side), dtype="u1")
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{
            "axes": [{"name": axis} for axis in "tyx"],
            "datasets": [{"path": str(i), "coordinateTransformations": [
                {"type": "scale", "scale": [1, 1 + i, 1 + i]}]} for i in (0, 1)],
        }]}  # fmt: skip
        assert locate_stack(str(tmp_path / "a.zarr"), level=1).pixel_size == (2, 2)


def test_axes_in_an_unusual_order(tmp_path):
    order = ("x", "c", "t", "y")
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS.transpose(3, 1, 0, 2), dimension_names=order)
    spec = locate_stack(str(tmp_path / "a.zarr"), channel=1)
    assert (spec.axes, spec.frame_count, spec.frame_shape) == (order, 3, (24, 20))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"), channel=1)
    np.testing.assert_array_equal(ArrayFrames.checked(stack).read(1).image, PIXELS[1, 1])


def test_a_channel_name_that_occurs_twice(tmp_path):
    group, path = unpacked(tmp_path)
    ome = group.attrs["ome"]
    for channel in ome["omero"]["channels"]:
        channel["label"] = "GFP"
    group.attrs["ome"] = ome
    with pytest.raises(
        InputError, match=r"'GFP' is the name of 2 channels: choose by number \(0, 1"
    ):
        locate_stack(path, channel="GFP")
    assert locate_stack(path, channel=1).channel == 1


def test_ome_zarr_04_with_everything(tmp_path):
    path = ome_04(tmp_path / "a.zarr")
    spec = locate_stack(path, channel="GFP")
    assert (spec.axes, spec.frame_count, spec.frame_shape) == (("t", "c", "y", "x"), 3, (12, 14))
    assert (spec.channel, spec.channel_names) == (1, ("DAPI", "GFP"))
    assert (spec.pixel_size, spec.unit) == ((0.4, 0.3), "micrometer")
    assert spec.time == ((0.0, 2.5, 5.0), "second")
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, FRAMES[2, 1])
    coarse = locate_stack(path, channel=0, level=1)
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
    spec = locate_stack(str(tmp_path / "a.zarr"))
    assert (str(spec.array), spec.axes) == ("signal", ("t", "y", "x"))
    np.testing.assert_allclose(spec.pixel_size, (0.2, 0.1))
    assert (spec.unit, spec.time) == ("mm", ((0.0, 0.5, 2.0), "hours since 2020-01-01"))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, FRAMES[2, 0])


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
    spec = locate_stack(str(path), **keys)
    group = zarr.open_group(path, mode="r")
    array = group[str(keys.get("level", 0))]
    axes = name.split("_")[-1].removesuffix(".zarr")
    sizes = dict(zip(axes, array.shape, strict=True))
    assert spec.frame_count == sizes[frames]
    assert spec.frame_shape == tuple(sizes[axis] for axis in shape)
    assert StackFrames(spec).read(0).image.shape == spec.frame_shape


def test_channels_whose_names_are_numbers(tmp_path):
    path = ome_04(tmp_path / "a.zarr", labels=("488", "561"))
    assert locate_stack(path, channel="561").channel == 1
    assert locate_stack(path, channel="1").channel == 1
    assert locate_stack(path, channel=0).channel == 0


def test_units_that_differ_become_one(tmp_path):
    path = ome_04(tmp_path / "a.zarr")
    group = zarr.open_group(path)
    multiscales = group.attrs["multiscales"]
    multiscales[0]["axes"][2]["unit"] = "nanometer"
    group.attrs["multiscales"] = multiscales
    spec = locate_stack(path, channel=0)
    assert spec.unit == "micrometer"
    np.testing.assert_allclose(spec.pixel_size, (0.0004, 0.3))


def write_scale(path, scale, unit="micrometer"):
    """An OME-Zarr stack whose transformations are `scale`; without any for ()."""
    ome_04(path, "tyx", FRAMES[:, 0])
    group = zarr.open_group(path)
    multiscales = group.attrs["multiscales"]
    for axis in multiscales[0]["axes"][1:]:
        axis["unit"] = unit
    transformations = [{"type": "scale", "scale": scale}] if isinstance(scale, list) else scale
    multiscales[0]["datasets"][0]["coordinateTransformations"] = transformations
    group.attrs["multiscales"] = multiscales
    return str(path)


@pytest.mark.parametrize("unit", ["micrometer", None, "pixel"])
@pytest.mark.parametrize(
    "scale",
    [[0, 0, 0], [-1, -0.5, -0.5], [float("nan")] * 3, [float("inf")] * 3, [None] * 3,
     ["a", "b", "c"], None, (), 3, ({"type": "scale", "path": "s"},), ({"type": "scale"},)],
    ids=repr,
)  # fmt: skip
def test_pixel_sizes_that_are_none_are_not_known(tmp_path, scale, unit):
    path = write_scale(tmp_path / "a.zarr", scale, unit)
    spec = locate_stack(path)
    np.testing.assert_array_equal(spec.pixel_size, (np.nan, np.nan))
    assert (spec.unit, spec.time) == ("", None)
    stack = steadystack.open_stack(path)
    assert stack["y"].attrs["units"] == "pixel"
    with pytest.raises(InputError, match=r"'8 um' needs a pixel size .* the stack has none"):
        steadystack.estimate_shifts(stack, max_shift="8 um")
    assert locate_stack(path, pixel_size=np.float32(0.5)).pixel_size == (0.5, 0.5)
    with pytest.raises(InputError, match="pixel_size 0 is not a size"):
        locate_stack(path, pixel_size=0)


@pytest.mark.parametrize("axes", [True, 3, None, {}, {"name": "t"}, 0.5, [], ""])
def test_axes_that_are_none_are_reported(tmp_path, axes):
    path = write_scale(tmp_path / "a.zarr", [1, 0.5, 0.5])
    group = zarr.open_group(path)
    group.attrs["multiscales"] = [group.attrs["multiscales"][0] | {"axes": axes}]
    with pytest.raises(InputError, match=r"without axes is not supported .* input.axes"):
        locate_stack(path)


def test_a_unit_that_is_not_understood_is_named(tmp_path):
    path = write_scale(tmp_path / "a.zarr", [1, 0.5, 0.5], "furlong")
    assert locate_stack(path).unit == "furlong"
    with pytest.raises(InputError, match=r"in 'furlong', which is not understood"):
        steadystack.estimate_shifts(steadystack.open_stack(path), max_shift="8 um")


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"zarr_format": 2}'])
def test_a_level_that_is_not_read_may_be_damaged(tmp_path, content):
    path = ome_04(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "1" / ".zarray").write_text(content)
    spec = locate_stack(path, channel=1)
    assert spec.levels == (FRAMES.shape,)
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, FRAMES[2, 1])
    with pytest.raises(InputError, match=r"level 1.*set another input.level"):
        locate_stack(path, channel=1, level=1)


CODINGS = {
    "packed": {"dtype": "u2", "scale_factor": 0.01, "add_offset": 279.0, "_FillValue": 0},
    "missing": {"dtype": "i2", "missing_value": -9999, "_FillValue": -9999},
    "float": {"dtype": "f4", "_FillValue": -1.0},
    "plain": {"dtype": "f4"},
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("coding", CODINGS)
def test_coded_values_are_those_of_xarray(tmp_path, coding, zarr_format):
    values = 281 + np.random.default_rng(0).integers(0, 50, (3, 12, 14)).astype("f4")
    values[:, 2:5, 3:9] = values[1] = np.nan
    dataset = xr.Dataset({"bt": (("t", "y", "x"), values)}, {"t": ("t", [5, 7, 9])})
    dataset["t"].attrs["units"] = "hours since 2020-01-01"
    encoding = {"bt": CODINGS[coding] | {"chunks": (1, 12, 14)}}
    dataset.to_zarr(
        tmp_path / "a.zarr", zarr_format=zarr_format, consolidated=False, encoding=encoding
    )
    with xr.open_zarr(tmp_path / "a.zarr", consolidated=False, decode_times=False) as opened:
        expected = opened["bt"].load()
    for path in (tmp_path / "a.zarr", tmp_path / "a.zarr" / "bt"):
        stack = steadystack.open_stack(str(path))
        assert stack.dtype == expected.dtype
        np.testing.assert_array_equal(stack, expected)
    spec = locate_stack(str(tmp_path / "a.zarr"))
    assert spec.time == ((5.0, 7.0, 9.0), "hours since 2020-01-01")
    whole = StackFrames(spec).read(2)
    assert whole.valid.all() or coding == "plain"


def test_a_missing_chunk_of_coded_values(tmp_path):
    values = np.arange(3 * 8 * 8, dtype="f8").reshape(3, 8, 8) + 1
    values[1] = np.nan
    encoding = {"a": {"dtype": "u2", "scale_factor": 0.5, "_FillValue": 0, "chunks": (1, 4, 8)}}
    path = tmp_path / "a.zarr"
    dataset = xr.Dataset({"a": (("t", "y", "x"), values)})
    dataset.to_zarr(path, zarr_format=2, encoding=encoding, write_empty_chunks=True)
    (path / "a" / "2.0.0").unlink()
    frames = StackFrames(locate_stack(str(path)))
    assert [frames.read(number).valid.mean() for number in range(3)] == [1, 1, 0.5]
    assert np.isnan(frames.read(1).image).all()
    assert not frames.read(2).valid[:4].any()


def test_a_coordinate_that_is_damaged_is_not_known(tmp_path):
    y = ("y", 0.5 * np.arange(12), {"units": "um"})
    dataset = xr.Dataset({"a": (("t", "y", "x"), FRAMES[:, 0])}, {"y": y})
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    assert locate_stack(str(tmp_path / "a.zarr")).pixel_size[0] == 0.5
    (tmp_path / "a.zarr" / "y" / "0").write_bytes(b"torn")
    spec = locate_stack(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(spec.pixel_size, (np.nan, np.nan))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, FRAMES[2, 0])


@pytest.mark.parametrize("name", ["a.npy", "a.zarr"])
def test_a_level_of_what_has_none_is_refused(tmp_path, name):
    """It was left out without a word, and so was a wrong one."""
    path = str(tmp_path / name)
    frames = FRAMES[:, 0]
    np.save(path, frames) if name == "a.npy" else zarr.save_array(path, frames)
    assert locate_stack(path, axes="tyx", level=0).shape == frames.shape
    with pytest.raises(InputError, match=r"input\.level 1: .* has no levels \(.*\): leave it out"):
        locate_stack(path, axes="tyx", level=1)
