"""Stacks on disk: what is understood, and what is told of the rest."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
import zarr

import steadystack
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import StackFrames, get_coordinates, locate_stack
from support.framed import SHAPE
from support.stores import FRAMES, ome_04


def test_channels_that_are_not_there(tmp_path):
    write_stack(tmp_path / "a.zarr", np.zeros((2, *SHAPE), "u1"))
    with pytest.raises(InputError, match="has one channel, without a name: leave it out"):
        locate_stack(str(tmp_path / "a.zarr"), channel="DAPI")
    frames = np.zeros((2, 3, *SHAPE), "u1")
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata={"axes": "TCYX"})
    with pytest.raises(InputError, match="has 3 channels, without names: 0 to 2"):
        locate_stack(str(tmp_path / "a.ome.tif"), channel="DAPI")
    about = {"axes": "TCYX", "Channel": {"Name": ["DAPI", "GFP", "RFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata=about)
    with pytest.raises(InputError, match=r"3 channels: DAPI, GFP, RFP; did you mean GFP\?"):
        locate_stack(str(tmp_path / "a.ome.tif"), channel="GPF")


def test_an_empty_path_is_not_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for frame in range(3):
        tifffile.imwrite(f"{frame}.tif", FRAMES[frame, 0])
    assert locate_stack(".").frame_count == 3
    with pytest.raises(InputError, match="path of the stack is empty: give that of a file"):
        locate_stack("")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", [None, "tyx", "ytx", "xyt"])
def test_plain_arrays_of_any_order(tmp_path, zarr_format, axes):
    frames = FRAMES[:, 0]
    order = ["tyx".index(axis) for axis in axes or "tyx"]
    zarr.create_array(tmp_path / "a.zarr", data=frames.transpose(order), zarr_format=zarr_format)
    spec = locate_stack(str(tmp_path / "a.zarr"), axes=axes)
    for index in range(3):
        np.testing.assert_array_equal(StackFrames(spec).read(index).image, frames[index])


def test_sharded_arrays(tmp_path):
    data = FRAMES[:, 0]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 4, 7), shards=(1, 12, 14), dtype="f4"
    )
    array[...] = data
    spec = locate_stack(str(tmp_path / "a.zarr"))
    assert spec.chunks == (1, 4, 7)
    assert steadystack.open_stack(str(tmp_path / "a.zarr")).coords["valid"].all()
    np.testing.assert_array_equal(StackFrames(spec).read(1).image, data[1])


def test_one_plane_along_z_is_no_axis(tmp_path):
    write_stack(tmp_path / "a.zarr", FRAMES[:, :1], axes="tzyx")
    spec = locate_stack(str(tmp_path / "a.zarr"))
    assert spec.spatial == ("y", "x")
    np.testing.assert_array_equal(StackFrames(spec).read(1).image, FRAMES[1, 0])


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
        ("none.zarr", {}, "does not exist"),
        ("text.zarr", {}, "is not a Zarr store"),
        ("torn.zarr", {}, "cannot be opened as Zarr"),
        ("ome.zarr", {}, "2 channel.*DAPI, GFP.*choose one"),
        ("ome.zarr", {"channel": 2}, "input.channel 2 is out of range.*DAPI, GFP"),
        ("ome.zarr", {"channel": "RFP"}, "'RFP' is not a channel of .*2 channels: DAPI, GFP"),
        ("ome.zarr", {"channel": 0, "level": 2}, "levels are 0 to 1"),
        ("ome.zarr", {"axes": "tyx"}, "input.axes names 3 axes.*4 dimensions"),
        ("ome.zarr", {"axes": "ttyx"}, "occurs twice"),
        ("ome.zarr", {"axes": "tczy"}, "needs y and x"),
        ("gone.zarr", {"channel": 0, "level": 1}, "array '1', which does not exist"),
        ("plain4d.zarr", {}, "4 dimensions without names: set input.axes"),
        ("complex.zarr", {}, "real numbers are needed"),
        ("static.zarr", {"channel": 0}, "no t: a time-lapse is needed"),
        ("two.zarr", {}, "set input.variable.*a, b"),
        ("two.zarr", {"variable": "c"}, "set input.variable.*a, b"),
    ]


def test_wrong_inputs_are_reported(tmp_path):
    for name, keys, words in table_of_wrong_inputs(tmp_path):
        with pytest.raises(InputError, match=words):
            locate_stack(str(tmp_path / name), **keys)


def test_another_pixel_size_leaves_the_origin_as_far_in_pixels(tmp_path):
    """The store's origin is in its own unit, nanometers."""
    path = tmp_path / "a.zarr"
    write_stack(path, np.zeros((2, 8, 9), "u1"), pixel_size=(0.5, 0.5))
    group = zarr.open_group(path)
    ome = json.loads(json.dumps(dict(group.attrs)["ome"]))
    for axis in ome["multiscales"][0]["axes"][-2:]:
        axis["unit"] = "nanometer"
    ome["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [1.0, 500.0, 500.0]},
        {"type": "translation", "translation": [0.0, 50_000.0, 1000.0]},
    ]
    group.attrs["ome"] = ome
    for size, origin in ((None, (50_000.0, 1000.0)), (0.5, (50.0, 1.0)), (1.0, (100.0, 2.0))):
        found = get_coordinates(locate_stack(str(path), pixel_size=size))
        assert (found.origin["y"], found.origin["x"]) == pytest.approx(origin)
