"""Points are moved as BigDataViewer moves them: x before y, the last transformation first."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from steadystack.exports import make_bigdataviewer_xml, make_motions
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import locate_stack
from support.exported import COUNT, add_offsets, lay_point, make_shifts

SIZE = (2.0, 0.5, 0.25)


def read_view(view: ET.Element) -> np.ndarray:
    """The matrix (4, 4) over x, y, z of a view's list, of which the first is applied last."""
    whole = np.eye(4)
    for transform in view.findall("ViewTransform"):
        assert transform.get("type") == "affine"
        numbers = np.array(transform.find("affine").text.split(), float).reshape(3, 4)
        whole = whole @ np.vstack([numbers, [0, 0, 0, 1]])
    return whole


@pytest.mark.parametrize(
    ("axes", "linear"), [("yx", True), ("yx", False), ("zyx", True), ("zyx", False)]
)
def test_every_view_lies_where_its_frame_belongs(tmp_path, axes, linear):
    depth, folder = (1 if axes == "yx" else 6), tmp_path / "stacks"
    folder.mkdir()
    frames = np.zeros((COUNT, 2, depth, 40, 60), "u1")
    write_stack(folder / "stack.ome.zarr", frames, axes="tczyx", pixel_size=SIZE)
    spec = locate_stack(str(folder / "stack.ome.zarr"), channel=1)
    size = SIZE[-len(axes) :]
    shifts = make_shifts(axes, linear=linear, size=size)
    target = tmp_path / "results" / "steady.xml"
    root = ET.fromstring(make_bigdataviewer_xml(make_motions(shifts, spec), spec, str(target)))
    assert root.find("SequenceDescription/Timepoints/integerpattern").text == "0, 1, 3"
    setups = root.findall("SequenceDescription/ViewSetups/ViewSetup")
    assert [setup.find("size").text for setup in setups] == [f"60 40 {depth}"] * 2
    assert {setup.find("voxelSize/size").text for setup in setups} == {"0.25 0.5 2.0"}
    loader = root.find("SequenceDescription/ImageLoader")
    assert (loader.get("format"), loader.get("version")) == ("bdv.multimg.zarr", "3.0")
    zarr = (target.parent / loader.find("zarr").text).resolve()
    calibration = root.find("ViewRegistrations/ViewRegistration/ViewTransform[last()]/affine")
    numbers = np.array(calibration.text.split(), float).reshape(3, 4)
    np.testing.assert_array_equal(numbers[:, :3], np.diag(SIZE[::-1]))
    point = np.array([3.0, 9.0, 31.0])[-len(axes) :]
    views = root.findall("ViewRegistrations/ViewRegistration")
    groups = loader.findall("zgroups/zgroup")
    assert len(views) == len(groups) == 3 * 2
    for view, group in zip(views, groups, strict=True):
        frame, channel = int(view.get("timepoint")), view.get("setup")
        assert (group.get("tp"), group.get("setup")) == (str(frame), channel)
        assert group.get("indicies") == f"{channel} {frame}"
        assert zarr / group.get("path") == folder / "stack.ome.zarr"
        pixel = np.zeros(3)
        pixel[: len(axes)] = point[::-1]
        world = (read_view(view) @ [*pixel, 1])[:3]
        expected = lay_point(shifts, frame, point) * size
        np.testing.assert_allclose(world[: len(axes)], expected[::-1], atol=1e-9)


def test_what_it_does_not_read_is_refused(tmp_path):
    write_stack(tmp_path / "flat.zarr", np.zeros((COUNT, 40, 60), "u1"))
    flat = locate_stack(str(tmp_path / "flat.zarr"))
    np.save(tmp_path / "plain.npy", np.zeros((COUNT, 40, 60), "u1"))
    plain = locate_stack(str(tmp_path / "plain.npy"))
    write_stack(tmp_path / "deep.zarr", np.zeros((COUNT, 1, 1, 40, 60), "u1"), axes="tczyx")
    deep = locate_stack(str(tmp_path / "deep.zarr"))
    motions = make_motions(make_shifts(), None)
    for spec, words in (
        (flat, "is one of t, y, x: export .affines.json"),
        (plain, "no OME-Zarr image"),
        (None, "is no longer there"),
        (replace(deep, path="s3://bucket/deep.zarr"), "on this machine"),
    ):
        with pytest.raises(InputError, match=words):
            make_bigdataviewer_xml(motions, spec, "a.xml")
    with pytest.raises(InputError, match="write it beside the stack"):
        make_bigdataviewer_xml(motions, deep, "s3://bucket/a.xml")
    coarse = replace(motions, level=2)
    with pytest.raises(InputError, match="pixels of level 0"):
        make_bigdataviewer_xml(coarse, deep, "a.xml")


def test_each_channel_has_its_offset(tmp_path):
    path = tmp_path / "stack.ome.zarr"
    write_stack(path, np.zeros((COUNT, 3, 1, 40, 60), "u1"), axes="tczyx", pixel_size=SIZE)
    spec, size = locate_stack(str(path), channel=[1, 0]), SIZE[-2:]
    shifts = add_offsets(make_shifts("yx", size=size), [(0, 0), (1.25, -3.5)])
    target = str(tmp_path / "steady.xml")
    root = ET.fromstring(make_bigdataviewer_xml(make_motions(shifts, spec), spec, target))
    point = np.array([9.0, 31.0])
    for view in root.findall("ViewRegistrations/ViewRegistration"):
        offset = {0: (1.25, -3.5)}.get(int(view.get("setup")), (0, 0))
        world = (read_view(view) @ [*point[::-1], 0, 1])[:2][::-1]
        laid = lay_point(shifts, int(view.get("timepoint")), point) + offset
        np.testing.assert_allclose(world / size, laid)
