"""Points are moved as napari, multiview-stitcher and biahub move them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import ndimage

from steadystack.exports import (
    make_affine_list,
    make_biahub_settings,
    make_motions,
    make_napari_layers,
)
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import locate_stack
from support.exported import APART, COUNT, UNKNOWN, add_offsets, lay_point, make_shifts
from support.scenes import Scene

KNOWN = [frame for frame in range(COUNT) if frame not in (UNKNOWN, APART)]
POINT, SIZE = np.array([9.0, 31.0]), np.array([0.5, 0.25])


BOTH = pytest.mark.parametrize(
    ("axes", "linear"), [("yx", True), ("yx", False), ("zyx", True), ("zyx", False)]
)


@BOTH
def test_layers_are_moved_as_napari_does(axes, linear):
    size, point = np.array([2.0, *SIZE])[-len(axes) :], np.array([5.0, *POINT])[-len(axes) :]
    shifts = make_shifts(axes, linear=linear, size=size)
    layers = json.loads(json.dumps(make_napari_layers(make_motions(shifts, None))))
    assert [layer["frame"] for layer in layers] == KNOWN
    for layer in layers:
        assert ("affine" in layer) == linear
        world = np.array([0, *point]) * layer["scale"] + layer["translate"]
        affine = np.array(layer.get("affine", np.eye(len(axes) + 2)))
        world = (affine @ [*world, 1])[:-1]
        assert world[0] == layer["frame"]
        np.testing.assert_allclose(world[1:] / size, lay_point(shifts, layer["frame"], point))


@BOTH
def test_listed_matrices_lay_points_in_units(axes, linear):
    size = [2.0, *SIZE][-len(axes) :]
    shifts = make_shifts(axes, linear=linear, size=size)
    told = json.loads(json.dumps(make_affine_list(make_motions(shifts, None))))
    assert (told["axes"], told["unit"], told["frames"]) == (
        list(axes), "micrometer", list(range(COUNT)),
    )  # fmt: skip
    point = np.array([5.0, *POINT])[-len(axes) :]
    for frame, matrix in enumerate(told["affine"]):
        if frame not in KNOWN:
            assert matrix is None
            continue
        laid = np.array(matrix) @ [*(point * size), 1]
        np.testing.assert_allclose(laid[:-1] / size, lay_point(shifts, frame, point))
    assert make_affine_list(make_motions(make_shifts(axes, linear=False), None))["unit"] == "pixel"


@BOTH
def test_each_channel_is_moved_by_its_offset_besides(axes, linear, caplog):
    size, point = np.array([2.0, *SIZE])[-len(axes) :], np.array([5.0, *POINT])[-len(axes) :]
    offsets = np.array([[0, 0, 0], [0.5, 1.25, -3.5]])[:, -len(axes) :]
    shifts = add_offsets(make_shifts(axes, linear=linear, size=size), offsets)
    motions = make_motions(shifts, None)
    layers = json.loads(json.dumps(make_napari_layers(motions)))
    assert [(layer["channel"], layer["frame"]) for layer in layers] == [
        (channel, frame) for channel in (1, 0) for frame in KNOWN
    ]
    told = json.loads(json.dumps(make_affine_list(motions)))
    assert told["channels"] == [1, 0]
    for layer in layers:
        assert layer["name"] == f"frame {layer['frame']}, channel {layer['channel']}"
        number = told["channels"].index(layer["channel"])
        expected = lay_point(shifts, layer["frame"], point) + offsets[number]
        world = np.array([0, *point]) * layer["scale"] + layer["translate"]
        world = (np.array(layer.get("affine", np.eye(len(axes) + 2))) @ [*world, 1])[1:-1]
        np.testing.assert_allclose(world / size, expected)
        laid = (np.array(told["affine"][layer["frame"]]) @ [*(point * size), 1])[:-1]
        laid += told["channel_offset"][number]
        np.testing.assert_allclose(laid / size, expected)
    assert not caplog.records
    make_biahub_settings(motions, None)
    assert "biahub moves all channels alike" in caplog.text
    unknown = add_offsets(shifts, [[0] * len(axes), [np.nan] * len(axes)])
    assert "channels" not in make_affine_list(make_motions(unknown, None))


@BOTH
def test_biahub_pulls_points_back_to_where_they_were_seen(axes, linear):
    shifts = make_shifts(axes, linear=linear, numbers=[0, 2, 3, 5, 6])
    told = yaml.safe_load(yaml.safe_dump(make_biahub_settings(make_motions(shifts, None), None)))
    assert told["stabilization_type"] == ("affine" if linear else "xy" if axes == "yx" else "xyz")
    assert told["time_indices"] == [0, 2, 5]
    matrices = np.array(told["affine_transform_zyx_list"])
    assert matrices.shape == (7, 4, 4)
    assert np.isnan(matrices[[1, 3, 4, 6]]).all()
    point = np.array([5.0, *POINT])[-len(axes) :]
    for frame in KNOWN:
        steady = np.zeros(3)
        steady[-len(axes) :] = lay_point(shifts, frame, point)
        seen = matrices[shifts["frame"].to_numpy()[frame]] @ [*steady, 1]
        np.testing.assert_allclose(seen[3 - len(axes) : 3], point, atol=1e-9)
        np.testing.assert_allclose(seen[: 3 - len(axes)], 0)


def test_an_image_that_is_pulled_by_the_matrices_stands_still():
    shifts, scene = make_shifts(), Scene(3, detail=4)
    matrix = np.array(
        make_biahub_settings(make_motions(shifts, None), None)["affine_transform_zyx_list"]
    )[3]
    places = np.moveaxis(np.indices((40, 60)), 0, -1).reshape(-1, 2)
    seen = scene.look(np.stack([lay_point(shifts, 3, place) for place in places]))
    # the rule of ANTs and scipy: positions of the result go to those of the image
    moved = ndimage.affine_transform(seen.reshape(1, 40, 60), matrix, order=3, cval=np.nan)[0]
    expected = scene.look(places.astype(float)).reshape(40, 60)
    inside = np.isfinite(moved)
    assert inside.mean() > 0.5
    inner = ndimage.binary_erosion(inside, iterations=3)
    assert np.abs(moved - expected)[inner].max() < 0.05 * expected.std()


def test_biahub_is_told_of_the_whole_stack(tmp_path):
    write_stack(tmp_path / "stack.zarr", np.zeros((5, 2, 1, 40, 60), "u1"), axes="tczyx")
    spec = locate_stack(str(tmp_path / "stack.zarr"), channel=1, frames="0:5:4")
    motions = make_motions(make_shifts(numbers=[0, 1, 2, 3, 4], size=SIZE), spec)
    named = replace(spec, uncut=replace(spec.uncut, channel_names=("GFP", "RFP")))
    told = make_biahub_settings(motions, named)
    assert told["stabilization_channels"] == ["GFP", "RFP"]
    assert told["stabilization_estimation_channel"] == "RFP"
    assert told["output_voxel_size"] == [1, 1, 1, 0.5, 0.25]
    assert len(told["affine_transform_zyx_list"]) == 5
    whole = replace(
        motions, affine=np.tile(np.eye(3), (5, 1, 1)), known=np.ones(5, bool), is_linear=False
    )
    assert make_biahub_settings(whole, named)["time_indices"] == "all"
    coarse = make_motions(make_shifts(settings={"level": 1}), None)
    with pytest.raises(InputError, match=r"input.level 1 was measured: export .affines.json"):
        make_biahub_settings(coarse, None)


@pytest.mark.parametrize(
    ("unit", "expected"), [("micrometer", 2), ("nanometer", 2000), ("", 1), ("parsec", 1)]
)
def test_the_step_between_planes_is_given_for_stacks_of_single_planes(tmp_path, unit, expected):
    frames = np.zeros((5, 1, 1, 40, 60), "u1")
    write_stack(tmp_path / "stack.zarr", frames, axes="tczyx", pixel_size=(2, 0.5, 0.25))
    motions = replace(make_motions(make_shifts(size=SIZE), None), unit=unit)
    told = make_biahub_settings(motions, locate_stack(str(tmp_path / "stack.zarr")))
    assert told["output_voxel_size"] == [1, 1, expected, 0.5, 0.25]
    np.save(tmp_path / "plain.npy", frames[:, 0, 0])
    plain = make_biahub_settings(motions, locate_stack(str(tmp_path / "plain.npy"), axes="tyx"))
    assert plain["output_voxel_size"] == [1, 1, 1, 0.5, 0.25]
