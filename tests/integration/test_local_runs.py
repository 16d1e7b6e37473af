"""Runs of frames whose parts move by themselves: on disk, corrected, measured again, exported."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import zarr
from scipy.interpolate import RegularGridInterpolator

import steadystack
from steadystack import stages
from steadystack.checks import PROBES
from steadystack.dataset import load_shifts, read_frames
from steadystack.model import LocalStatus
from steadystack.outputs import write_stack
from steadystack.quality import widen_errors
from steadystack.solve.gaps import interpolate_missing
from support.local import bent_series
from support.moved_points import Scene06
from support.settings import config_of

pytestmark = pytest.mark.xdist_group("local runs")  # what they share is made once

SERIES = bent_series(7, count=6, shape=(96, 104), size=1.5)
FRAMES = np.clip(20000 + 4000 * SERIES.frames, 0, 65535).astype("u2")
SECTIONS = {
    "mask": {"defects": None, "parts": None},
    "register": {"max_shift": 12},
    "motion": {"model": "local"},
}


def config(folder, **sections):
    output = {name: str(folder / f"{name}.zarr") for name in ("shifts", "corrected")}
    output |= {"report": str(folder / "page.html"), "mean": str(folder / "mean.npy")}
    return config_of(folder, **SECTIONS | {"output": output} | sections)


def read_field_at(shifts, frame, place):
    """The shift at a place, as the docs say: cubic splines between the nodes."""
    nodes = shifts["node_y"].to_numpy(), shifts["node_x"].to_numpy()
    local = shifts["frame_local_shift"].to_numpy()[frame]
    return RegularGridInterpolator(nodes, local, method="cubic")(place)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, and its shifts."""
    folder = tmp_path_factory.mktemp("bent")
    write_stack(folder / "stack.zarr", FRAMES, pixel_size=(0.5, 0.25))
    return folder, stages.run(config(folder))


def test_the_stack_on_disk_is_that_of_arrays_and_a_run_is_done_once(run):
    folder, shifts = run
    stored = zarr.open_group(folder / "corrected.zarr", mode="r")
    np.testing.assert_array_equal(stored["0"][:], steadystack.correct(FRAMES, shifts))
    mean = steadystack.mean(FRAMES, shifts)["mean"].to_numpy()
    np.testing.assert_allclose(np.load(folder / "mean.npy"), mean, rtol=1e-4)
    loaded = load_shifts(str(folder / "shifts.zarr"))
    np.testing.assert_array_equal(loaded["frame_local_shift"], shifts["frame_local_shift"])
    assert stages.run(config(folder)).attrs["created"] == shifts.attrs["created"]


@pytest.mark.usefixtures("unchecked")
def test_corrected_and_measured_again_little_is_left(run):
    folder, shifts = run
    truth = SERIES.at_nodes(shifts)
    before = np.abs(shifts["frame_shift"].to_numpy()[:, None, None] - truth)
    stored = zarr.open_group(folder / "corrected.zarr", mode="r")
    again = steadystack.estimate_shifts(
        stored["0"][:], mask=stored["valid"][:], max_shift=8, parts=None, defects=None,
        motion={"model": "local", "grid": [5, 5]},
    )  # fmt: skip
    left = np.abs(again["frame_local_shift"].to_numpy())
    seen = again["frame_local_status"].to_numpy() == LocalStatus.OK.code
    assert left[seen].max(initial=0) < 0.2
    assert left.max() < 0.25 * before.max()


def test_borders_planes_and_labels_are_moved_alike(run):
    _, shifts = run
    whole = steadystack.correct(FRAMES, shifts)
    crop, expand = (steadystack.correct(FRAMES, shifts, border=each) for each in ("crop", "expand"))
    y, x = (round(float(crop[axis][0])) for axis in "yx")
    height, width = crop.shape[1:]
    np.testing.assert_array_equal(crop, whole[:, y : y + height, x : x + width])
    assert (crop > 0).all()  # none of it is unknown
    y, x = (round(-float(expand[axis][0])) for axis in "yx")
    inside = expand[:, y : y + FRAMES.shape[1], x : x + FRAMES.shape[2]].to_numpy()
    np.testing.assert_array_equal(inside, whole)
    labels = (FRAMES > 20000).astype("i4") * 7
    moved = steadystack.correct(labels, shifts, interpolation="nearest").to_numpy()
    assert set(np.unique(moved)) == {0, 7}
    known = whole.to_numpy() > 0
    agree = (moved[5] == labels[0])[known[5]].mean()
    assert agree > (labels[5] == labels[0])[known[5]].mean() + 0.08


def test_what_other_programs_read_is_reported(run, tmp_path):
    folder, shifts = run
    path = str(folder / "shifts.zarr")
    for name in ("frames.json", "frames.affines.json", "frames.yml", "frames.xml"):
        with pytest.raises(steadystack.InputError, match=r"move locally.*export \.nc"):
            stages.export(path, str(tmp_path / name))
    target = tmp_path / "frames.displacements.ome.zarr"
    stages.export(path, str(target))
    with pytest.raises(steadystack.InputError, match="exists: use --overwrite"):
        stages.export(path, str(target))
    point, size, scene = np.array([41.0, 62.0]), np.array([0.5, 0.25]), Scene06(target)
    for frame in range(len(FRAMES)):
        moved = scene.move("frames", "steady", frame, point * size) / size
        expected = point + SERIES.forward(frame, point)
        assert np.linalg.norm(moved - expected) < 0.5, (frame, moved, expected)
        field = read_field_at(shifts, frame, moved)
        np.testing.assert_allclose(moved - field, point, atol=0.01)  # what is shown there
    stages.export(path, str(tmp_path / "frames.csv"))
    rows = (tmp_path / "frames.csv").read_text().splitlines()
    assert len(rows) == 1 + len(FRAMES)
    assert "rotation" not in rows[0]
    with pytest.raises(steadystack.InputError, match=r"'fourier' is for shifts alone"):
        steadystack.correct(FRAMES, shifts, interpolation="fourier")
    with pytest.raises(steadystack.InputError, match="crop them afterwards"):
        steadystack.correct(FRAMES[:, :50], shifts, other_shape=True)


def test_the_page_states_the_worst_node_and_the_verdict_of_what_is_left(run):
    folder, shifts = run
    words = " ".join(re.sub("<[^>]*>", " ", (folder / "page.html").read_text()).split())
    told = re.search(r"up to (\S+) ± \S+ px from the shift of the frame: frame (\d)", words)
    off = shifts["frame_local_shift"] - shifts["frame_shift"]
    assert float(told[1]) == pytest.approx(np.linalg.norm(off, axis=-1).max(), abs=0.01)
    page = (folder / "page.html").read_text()
    for name, words in (("traces", "over time"), ("shifts", f"frame {told[2]}, .* mean")):
        assert re.search(f'id="figure-local-{name}" role="img" aria-label="[^"]*{words}', page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    alone = steadystack.estimate_shifts(FRAMES, max_shift=12, parts=None, defects=None)
    before, after = (json.loads(found.attrs["local_motion"]) for found in (alone, shifts))
    if before is not None:
        assert after["size"] < 0.5 * before["size"]


def test_shifts_that_are_edited_take_their_nodes_along(run):
    _, shifts = run
    wanted = shifts["frame_shift"].to_numpy() + 0
    wanted[2] += (3, -2)
    wanted[4] = np.nan
    edited = steadystack.edit_shifts(shifts, wanted)
    local, before = (each["frame_local_shift"].to_numpy() for each in (edited, shifts))
    np.testing.assert_allclose(local[2], before[2] + (3, -2))
    assert np.isnan(local[4]).all()
    np.testing.assert_array_equal(local[[0, 1, 3, 5]], before[[0, 1, 3, 5]])
    assert np.isnan(edited["frame_local_shift_std"][2]).all()
    assert (edited["frame_local_status"][4] == LocalStatus.UNKNOWN.code).all()


def test_errors_that_are_widened_widen_those_of_nodes(run):
    frames = read_frames(run[1])
    probes = {PROBES: json.dumps({"pairs": 9, "excess": 2.0})}
    wide = widen_errors(frames, probes)
    np.testing.assert_allclose(wide.shift_std, 2 * frames.shift_std)
    more = wide.local_shift_std**2 - frames.local_shift_std**2
    own = np.broadcast_to(3 * frames.shift_std[:, None, None] ** 2, more.shape)
    np.testing.assert_allclose(more, own, atol=1e-12)


def test_light_along_z_widens_the_errors_along_it_alone(run):
    frames = read_frames(run[1])
    probes = {"pairs": 9, "plane_pull": 0.2, "plane_excess": 3.0, "plane_light": 9.0}
    wide = widen_errors(frames, {PROBES: json.dumps(probes | {"plane_lacks": 0.5})})
    np.testing.assert_array_equal(wide.shift_std[:, 1:], frames.shift_std[:, 1:])
    before = frames.shift_std[:, 0]
    moved = frames.shift[:, 0] - frames.shift[frames.anchors[0], 0]
    pulled = np.where(before > 0, 0.2, 0)  # the anchor stays where it is
    expected = np.sqrt(before**2 + (0.5 * moved) ** 2 + pulled**2)
    np.testing.assert_allclose(wide.shift_std[:, 0], expected, atol=1e-12)
    assert widen_errors(frames, {PROBES: json.dumps(probes | {"plane_light": 3.0})}) is frames


def test_where_a_codec_puts_frames_is_in_the_errors_of_nodes_too(run):
    frames = read_frames(run[1])
    wide = widen_errors(frames, {"codec_std": 0.03})
    for name in ("shift_std", "local_shift_std"):
        before, after = getattr(frames, name), getattr(wide, name)
        expected = np.where(before > 0, 2 * 0.03**2, 0)
        np.testing.assert_allclose(after**2 - before**2, expected, atol=1e-12)


def test_a_frame_that_does_not_compare_is_given_no_local_shift(run):
    solved = read_frames(run[1])
    component = solved.component.copy()
    component[3] = 1
    local = solved.local_shift.copy()
    local[3] = np.nan
    status = solved.local_status.copy()
    status[3] = LocalStatus.UNKNOWN.code
    apart = replace(solved, component=component, local_shift=local, local_status=status)
    filled = interpolate_missing(apart, "linear")
    assert np.isnan(filled.local_shift[3]).all()
    assert (filled.local_status[3] == LocalStatus.UNKNOWN.code).all()


@pytest.mark.usefixtures("unchecked")
def test_volumes_are_measured_written_drawn_and_exported(tmp_path):
    series = bent_series(2, count=4, shape=(16, 60, 64), size=2.0, noise=0.1)
    volumes = np.clip(20000 + 4000 * series.frames, 0, 65535).astype("u2")
    write_stack(tmp_path / "stack.zarr", volumes, axes="tzyx", pixel_size=(1, 0.5, 0.25))
    found = stages.run(config(tmp_path, register={"max_shift": [3, 8, 8]}))
    loaded = load_shifts(str(tmp_path / "shifts.zarr"))
    np.testing.assert_array_equal(loaded["frame_local_shift"], found["frame_local_shift"])
    frames = read_frames(loaded)
    assert [len(nodes) for nodes in frames.nodes] == list(frames.local_shift.shape[1:-1])
    stored = zarr.open_group(tmp_path / "corrected.zarr", mode="r")
    whole = steadystack.correct(volumes, found)
    np.testing.assert_array_equal(stored["0"][:], whole)
    crop = steadystack.correct(volumes, found, border="crop")
    assert (crop > 0).all()
    words = " ".join(re.sub("<[^>]*>", " ", (tmp_path / "page.html").read_text()).split())
    off = np.linalg.norm(found["frame_local_shift"] - found["frame_shift"], axis=-1).max()
    told = re.search(
        r"up to (\S+) ± \S+ px .*? at z \d+, y \d+, x \d+, of (\d+ x \d+ x \d+)", words
    )
    assert float(told[1]) == pytest.approx(off, abs=0.01)
    assert "at z" in (tmp_path / "page.html").read_text()
    target = tmp_path / "frames.displacements.ome.zarr"
    stages.export(str(tmp_path / "shifts.zarr"), str(target))
    size, scene = np.array([1, 0.5, 0.25]), Scene06(target)
    for point in ([8.0, 25.0, 40.0], [9.0, 33.0, 21.0]):
        moved = scene.move("frames", "steady", 3, point * size) / size
        expected = point + series.forward(3, np.array(point))
        assert np.linalg.norm(moved - expected) < 0.7
        back = scene.move("steady", "frames", 3, moved * size) / size
        np.testing.assert_allclose(back, point, atol=0.02)
    wanted = found["frame_shift"].to_numpy() + 0
    wanted[2] += (1, 3, -2)
    edited = steadystack.edit_shifts(found, wanted)["frame_local_shift"]
    moved = edited[2] - found["frame_local_shift"][2]
    np.testing.assert_allclose(moved, np.broadcast_to([1.0, 3.0, -2.0], moved.shape))
