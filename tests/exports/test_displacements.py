"""Points are moved by displacements as OME-Zarr 0.6 does, in units and from the image's origin."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from scipy.interpolate import RegularGridInterpolator

from steadystack.exports import make_displacements
from steadystack.model import InputError
from steadystack.outputs import write_fields, write_stack
from steadystack.readers import locate_stack
from steadystack.warp import make_nodes
from support.exported import APART, COUNT, UNKNOWN, lay_point, make_shifts
from support.moved_points import Scene06

KNOWN = [frame for frame in range(COUNT) if frame not in (UNKNOWN, APART)]
ORIGIN = {"t": 600.0, "z": -7.0, "y": 5e4, "x": -30.0}
STEP = {"t": 30.0, "z": 2.0, "y": 500.0, "x": 0.25}
UNIT = {"t": "second", "z": "micrometer", "y": "nanometer", "x": "micrometer"}


def write_placed(path, frames, axes):
    """A stack with an origin, whose axes have units of their own."""
    write_stack(path, frames, axes=axes, pixel_size=(1.0,) * (len(axes) - 1 - axes.count("c")))
    group = zarr.open_group(path, mode="r+")
    ome = group.attrs["ome"]
    (multiscale,) = ome["multiscales"]
    for axis in multiscale["axes"]:
        if axis["name"] != "c":
            axis["unit"] = UNIT[axis["name"]]
    multiscale["datasets"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [STEP.get(axis, 1.0) for axis in axes]},
        {"type": "translation", "translation": [ORIGIN.get(axis, 0.0) for axis in axes]},
    ]
    group.attrs["ome"] = ome
    return path


def write_scene(shifts, spec, target) -> Scene06:
    made = make_displacements(shifts, spec, str(target), str(target.parent / "shifts.zarr"))
    write_fields(target, made.attributes, made.about, made.fields)
    return Scene06(target)


def in_units(axes, point) -> np.ndarray:
    return np.array([ORIGIN[a] + STEP[a] * at for a, at in zip(axes, point, strict=True)])


@pytest.mark.parametrize(
    ("axes", "linear", "region"),
    [
        ("yx", True, True),
        ("yx", True, False),
        ("yx", False, True),
        ("zyx", False, False),
        ("zyx", True, False),
    ],
)
def test_a_point_of_a_frame_comes_to_where_it_belongs_and_back(tmp_path, axes, linear, region):
    depth = (6,) if axes == "zyx" else (1,)
    path = write_placed(tmp_path / "a.zarr", np.zeros((12, 2, *depth, 70, 90), "u1"), "tczyx")
    choice = {"frames": "1:11:2"}
    choice |= {"region": [[10, 50], [20, 80]]} if region else {}
    spec = locate_stack(str(path), channel=1, **choice)
    numbers, first = range(1, 11, 2), np.array([10.0, 20.0] if region else 0.0)
    shape = (40, 60) if region else (6, 70, 90)[-len(axes) :]
    shifts = make_shifts(
        axes, linear=linear, shape=shape, numbers=numbers, size=(1.0,) * len(axes), settings=choice
    )
    scene = write_scene(shifts, spec, tmp_path / "out" / "a.displacements.ome.zarr")
    assert scene.about["unknown_frames"] == [numbers[UNKNOWN], numbers[APART]]
    assert (scene.path / scene.about["image"]).resolve() == path
    for told in scene.systems.values():
        assert [(axis["name"], axis["unit"]) for axis in told] == [
            (axis, UNIT[axis]) for axis in ("t", *axes)
        ]
    array, *_ = scene.read_field("frames", "steady")
    assert array.shape == (COUNT, 1 + len(axes), *(2,) * len(axes))
    corners = np.array([[0.0, 0, 0], [5, 69, 89], [3, 31.5, 8.25]])[:, -len(axes) :]
    for frame in range(COUNT):
        time = ORIGIN["t"] + STEP["t"] * numbers[frame]
        if frame not in KNOWN:
            assert np.isnan(array[frame]).all()
            continue
        for point in corners:
            start, end = (
                in_units(axes, point),
                in_units(axes, lay_point(shifts, frame, point, first)),
            )
            found = scene.move("frames", "steady", time, start)
            np.testing.assert_allclose(found, end, rtol=1e-12, atol=1e-8)
            back = scene.move("steady", "frames", time, end)
            np.testing.assert_allclose(back, start, rtol=1e-12, atol=1e-8)


def test_frames_that_were_not_measured_are_not_known(tmp_path):
    path = write_placed(tmp_path / "a.zarr", np.zeros((12, 40, 60), "u1"), "tyx")
    shifts = make_shifts(numbers=[1, 3, 5, 7, 11])
    scene = write_scene(shifts, locate_stack(str(path)), tmp_path / "a.displacements.ome.zarr")
    array, scale, origin = scene.read_field("frames", "steady")
    assert (scale[0], origin[0]) == (2 * STEP["t"], ORIGIN["t"] + STEP["t"])
    known = np.isfinite(array[:]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(known, [True, True, False, True, False, False])


def test_without_units_pixels_and_frames_are_counted(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((COUNT, 40, 60), "u1"))
    shifts = make_shifts()
    spec = locate_stack(str(tmp_path / "a.npy"))
    scene = write_scene(shifts, spec, tmp_path / "a.displacements.ome.zarr")
    assert all("unit" not in axis for axis in scene.systems["steady"])
    found = scene.move("frames", "steady", 3, [9.0, 31.0])
    np.testing.assert_allclose(found, lay_point(shifts, 3, np.array([9.0, 31.0])), atol=1e-10)


def make_local(shape, grid, size, seed=3):
    """Local shifts of known frames that bend by up to about `size` pixels on top of drift."""
    rng, shifts = np.random.default_rng(seed), make_shifts(linear=False, shape=shape)
    nodes = make_nodes(shape, grid)
    bent = rng.normal(0, size, (COUNT, *grid, 2))
    bent[0] = 0
    local = shifts["frame_shift"].to_numpy()[:, None, None] + bent
    dims = ("frame", "node_y", "node_x", "axis")
    return shifts.assign(frame_local_shift=(dims, local)).assign_coords(
        node_y=nodes[0], node_x=nodes[1]
    )


@pytest.mark.parametrize(
    ("shape", "grid", "size", "spacing"),
    [
        ((200, 260), (4, 5), 0.6, (1.5, 4)),
        ((44, 60), (5, 6), 0.25, (0.26, 0.9)),  # closer together than pixels
        ((64, 64), (2, 2), 2, (2, 20)),
    ],
)
def test_local_motion_is_followed_in_both_directions(tmp_path, shape, grid, size, spacing):
    first = (30, 12)
    frames = np.zeros((COUNT, shape[0] + 40, shape[1] + 40), "u1")
    path = write_placed(tmp_path / "a.zarr", frames, "tyx")
    region = [[low, low + side] for low, side in zip(first, shape, strict=True)]
    shifts = make_local(shape, grid, size)
    spec = locate_stack(str(path), region=region)
    scene = write_scene(shifts, spec, tmp_path / "a.displacements.ome.zarr")
    array, scale, _ = scene.read_field("frames", "steady")
    sizes = np.array([STEP["y"], STEP["x"]])
    found = scale[2:] / sizes
    assert ((found > spacing[0]) & (found < spacing[1])).all(), found
    rng, nodes = np.random.default_rng(0), (shifts["node_y"].data, shifts["node_x"].data)
    method = "linear" if grid == (2, 2) else "cubic"
    for frame in range(COUNT):
        if frame not in KNOWN:
            assert np.isnan(array[frame]).all()
            continue
        local = shifts["frame_local_shift"].data[frame]
        spline = RegularGridInterpolator(nodes, local, method=method)
        time, room = ORIGIN["t"] + STEP["t"] * frame, 14.0
        for steady in rng.uniform(room, np.array(shape) - 1 - room, (12, 2)):
            seen = steady - spline(steady)[0]  # what is shown there lies here
            here, there = in_units("yx", seen + first), in_units("yx", steady + first)
            moved = scene.move("frames", "steady", time, here)
            assert np.linalg.norm((moved - there) / sizes) < 0.01
            back = scene.move("steady", "frames", time, there)
            assert np.linalg.norm((back - here) / sizes) < 0.01


@pytest.mark.parametrize("model", ["shift", "linear", "local", "volume"])
@pytest.mark.filterwarnings("ignore")  # what another library warns of
def test_it_is_valid_and_another_program_reads_it(tmp_path, model):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    pytest.importorskip("jsonschema")
    if not hasattr(ngff_zarr, "NgffScene"):
        pytest.skip("this ngff-zarr knows no scenes")
    axes = "zyx" if model == "volume" else "yx"
    frames = np.zeros((COUNT, 6, 40, 60) if model == "volume" else (COUNT, 40, 60), "u1")
    path = write_placed(tmp_path / "a.zarr", frames, "t" + axes)
    shifts = make_shifts(axes, linear=model == "linear")
    if model == "local":
        shifts = make_local((40, 60), (4, 4), 0.5)
    target = tmp_path / "a.displacements.ome.zarr"
    write_scene(shifts, locate_stack(str(path)), target)
    attributes = json.loads((target / "zarr.json").read_text())["attributes"]
    ngff_zarr.validate(attributes, version="0.6", model="scene")
    scene = ngff_zarr.NgffScene.from_ome_zarr(str(target), validate=True)
    assert [move.type for move in scene.coordinateTransformations] == ["displacements"] * 2
    for move in scene.coordinateTransformations:
        attributes = json.loads((target / move.path / "zarr.json").read_text())["attributes"]
        ngff_zarr.validate(attributes, version="0.6", model="image", strict=True)
        (image,) = ngff_zarr.from_ome_zarr(str(target / move.path), validate=True).images
        assert tuple(image.dims) == ("t", "c", *axes)
        own, scale, origin = Scene06(target).read_field(move.input.name, move.output.name)
        assert [image.scale[axis] for axis in image.dims] == list(scale)
        assert [image.translation[axis] for axis in image.dims] == list(origin)
        np.testing.assert_array_equal(np.asarray(image.data), own[:])


def test_what_cannot_be_written_is_refused(tmp_path):
    path = write_placed(tmp_path / "a.zarr", np.zeros((COUNT, 40, 60), "u1"), "tyx")
    shifts, spec = make_shifts(), locate_stack(str(path))
    with pytest.raises(InputError, match="no longer there"):
        make_displacements(shifts, None, "b.displacements.ome.zarr", "shifts.zarr")
    with pytest.raises(InputError, match="choose a path beside it"):
        make_displacements(shifts, spec, str(path / "b.displacements.ome.zarr"), "shifts.zarr")
    remote = make_displacements(shifts, spec, "s3://bucket/b.displacements.ome.zarr", "shifts.zarr")
    assert remote.about["image"] == str(path)
