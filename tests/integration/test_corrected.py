"""Corrected stacks at the end of a run, from Python and from the shell."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import product

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.config import make_config
from steadystack.dataset import load_shifts
from steadystack.model import InputError
from steadystack.outputs import read_origin, write_image, write_stack
from support.corrected import SIZE, TRUTH, frames_of, run_of
from support.members import slow_but
from support.scenes import Scene


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


@pytest.mark.parametrize(
    ("border", "interpolation"),
    slow_but(
        [("crop", "fourier"), ("expand", "cubic")],
        product(["same", "crop", "expand"], ["cubic", "fourier"]),
    ),
)
def test_corrected_and_measured_again_nothing_is_left(frames, tmp_path, interpolation, border):
    write_stack(tmp_path / "stack.zarr", frames)
    config = run_of(tmp_path, correct={"interpolation": interpolation, "border": border})
    shifts = stages.run(config)
    steady = steadystack.open_stack(config.output.corrected)
    valid = zarr.open_group(config.output.corrected, mode="r")["valid"][:]
    again = steadystack.estimate_shifts(steady, mask=valid, max_shift=8)
    assert np.abs(shifts["frame_shift"] - TRUTH).max() < 0.02
    assert np.abs(again["frame_shift"]).max() < 0.05
    if border == "crop":
        assert valid.all()
    if border == "expand":
        assert (valid.sum(axis=(1, 2)) == np.prod(SIZE)).all()


def fingerprint_of(image):
    return read_origin(str(image)).fingerprint


@pytest.mark.parametrize("command", slow_but(["run"], ["correct", "run"]))
def test_an_image_that_another_run_is_writing_is_left_alone(frames, tmp_path, command):
    """Two runs with shifts of their own that name one image: its frames would be of both."""
    write_stack(tmp_path / "a.zarr", frames)
    write_stack(tmp_path / "b.zarr", frames[::-1])
    image, told = tmp_path / "steady.ome.zarr", []
    names = {"corrected": str(image), "report": str(tmp_path / "report.png")}
    first, second = (
        run_of(
            tmp_path,
            input={"path": str(tmp_path / f"{name}.zarr")},
            cluster={"kind": "in-process", "task_memory": "30 MiB"},
            output={"shifts": str(tmp_path / f"{name}-shifts.zarr"), **names},
        )
        for name in "ab"
    )
    for config in (first, second):
        stages.measure(config)
        stages.solve(config)

    def progress(done, total):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError) as refusal:
            getattr(stages, command)(second, overwrite=True)
        told.append(str(refusal.value))
        assert [path for path in sorted(tmp_path.rglob("*")) if "lock" not in path.name] == [
            path for path in before if "lock" not in path.name
        ]

    (tmp_path / ".steady.ome.zarr.lock").write_text("{}")  # of a run that was killed
    stages.correct(first, progress=progress)
    assert told
    for line in told:
        assert line.startswith(f"{image} is being written by another run (process ")
        assert line.endswith("wait for it, stop it, or set another output.corrected")
    assert fingerprint_of(image) == load_shifts(first.output.shifts).attrs["fingerprint"]
    assert not (tmp_path / ".steady.ome.zarr.lock").exists()
    stages.correct(second, overwrite=True)
    assert fingerprint_of(image) == load_shifts(second.output.shifts).attrs["fingerprint"]


@pytest.mark.parametrize(
    ("corrected", "mean"), [("steady.ome.zarr", "mean.npy"), ("steady.ome.tif", "mean.ome.zarr")]
)
def test_images_of_another_stack_stay_unless_it_is_another(frames, tmp_path, corrected, mean):
    """One of its frames cannot be read for a while; what an earlier version wrote tells of none."""
    write_stack(tmp_path / "stack.zarr", frames)
    write_stack(tmp_path / "other.zarr", frames)
    output = {"corrected": str(tmp_path / corrected), "mean": str(tmp_path / mean)}
    config = run_of(tmp_path, correct={"stack": str(tmp_path / "other.zarr")}, output=output)
    stages.run(config)
    written = {path: read_origin(path).digest for path in output.values()}
    assert all(digest.count("x") == 3 for digest in written.values())
    done = []
    chunk = next(path for path in (tmp_path / "other.zarr").rglob("0/0/0") if path.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(b"torn")
    stages.correct(config, progress=lambda *_: done.append(1))
    chunk.write_bytes(whole)
    for path, digest in written.items():
        if path.endswith(".zarr"):
            group = zarr.open_group(path, mode="r+")
            own = dict(group.attrs)["steadystack"]
            group.attrs["steadystack"] = own | {"digest": digest.split("_")[0]}
    stages.correct(config, progress=lambda *_: done.append(1))
    assert not done
    for path, digest in written.items():
        known = digest.split("_")[0] if path.endswith(".zarr") else digest
        assert read_origin(path).digest == known
    stages.correct(config, overwrite=True)
    assert {path: read_origin(path).digest for path in output.values()} == written
    write_stack(tmp_path / "other.zarr", frames[::-1])
    with pytest.raises(InputError, match="--overwrite"):
        stages.correct(config)


def test_a_frame_with_an_invalid_area_keeps_exactly_that_moved(frames, tmp_path):
    hole = np.ones(SIZE, bool)
    hole[20:33, 30:41] = hole[50, 60] = False
    pixels = np.where(hole, frames, 0)
    pixels[:, 50, 60] = 65535
    write_stack(tmp_path / "stack.zarr", pixels)
    write_image(tmp_path / "mask.zarr", hole)
    config = run_of(
        tmp_path,
        mask={"path": str(tmp_path / "mask.zarr")},
        correct={"interpolation": "cubic", "border": "expand"},
    )
    shifts = stages.run(config)
    group = zarr.open_group(config.output.corrected, mode="r")
    about = dict(group.attrs)["steadystack"]["box"]
    whole = np.floor(shifts["frame_shift"].to_numpy() + 0.5).astype(int)
    for frame in range(len(frames)):
        y, x = whole[frame] - about["first"]
        expected = np.zeros(about["shape"], bool)
        expected[y : y + SIZE[0], x : x + SIZE[1]] = hole
        np.testing.assert_array_equal(group["valid"][frame], expected)
        known = group["0"][frame][expected]
        assert 5000 < known.min() < known.max() < 35000
        assert (group["0"][frame][~expected] == 0).all()
    assert group["valid_fraction"][0] == pytest.approx(hole.sum() / np.prod(about["shape"]))


def test_labels_of_the_same_frames_stay_labels(frames, tmp_path):
    labels = np.zeros(frames.shape, "i4")
    for frame, (y, x) in enumerate(np.round(-TRUTH).astype(int)):
        labels[frame, 30 + y : 40 + y, 30 + x : 45 + x] = 70001
    write_stack(tmp_path / "stack.zarr", frames)
    write_stack(tmp_path / "labels.zarr", labels)
    config = run_of(
        tmp_path,
        correct={
            "stack": str(tmp_path / "labels.zarr"),
            "labels": True,
            "levels": 2,
            "interpolation": "cubic",
        },
        mask={"invalid_values": [0]},  # of the stack that is measured
    )
    stages.run(config)
    group = zarr.open_group(config.output.corrected, mode="r")
    assert set(np.unique(group["0"][:])) == {0, 70001}
    assert set(np.unique(group["1"][:])) == {0, 70001}
    inside = group["0"][:, 31:39, 31:44]
    assert (inside == 70001).all()
    assert group["0"].dtype == np.int32
    assert group["valid"][0].all()

    stages.correct(config)  # there is nothing to do
    write_stack(tmp_path / "labels.zarr", labels // 70001)
    for command in (stages.correct, stages.run):
        with pytest.raises(steadystack.InputError, match="made with other shifts or settings"):
            command(config)
    assert set(np.unique(group["0"][:])) == {0, 70001}
    stages.correct(config, overwrite=True)
    assert set(np.unique(zarr.open_group(config.output.corrected, mode="r")["0"][:])) == {0, 1}
    write_stack(tmp_path / "labels.zarr", labels[:4])
    with pytest.raises(
        steadystack.InputError, match=r"correct.stack: .*number and size of the frames must agree"
    ):
        stages.correct(config)


def test_the_units_of_a_tiff_are_spelled_as_formats_want_them(frames, tmp_path):
    about = {"axes": "TYX", "unit": "micron", "finterval": 2.0}
    tifffile.imwrite(tmp_path / "a.tif", frames, imagej=True, resolution=(4, 2), metadata=about)
    output = {"shifts": "shifts.zarr", "corrected": "steady.ome.tif"}
    stages.run(run_of(tmp_path, input={"path": "a.tif"}, output=output))
    with tifffile.TiffFile(tmp_path / "steady.ome.tif") as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [pixels[f"PhysicalSize{axis}"] for axis in "XY"] == [0.25, 0.5]
    assert pixels["PhysicalSizeXUnit"] == "µm"
    output["corrected"] = "steady.zarr"
    stages.correct(run_of(tmp_path, input={"path": "a.tif"}, output=output))
    attributes = dict(zarr.open_group(tmp_path / "steady.zarr", mode="r").attrs)
    axes = attributes["ome"]["multiscales"][0]["axes"]
    assert [axis["unit"] for axis in axes] == ["second", "micrometer", "micrometer"]


def test_all_planes_are_moved_of_which_a_projection_was_measured(frames, tmp_path):
    """The projection is stored as most writers do: as volumes of a single plane."""
    planes = np.stack([frames, frames // 2, frames // 3], axis=1)
    write_stack(tmp_path / "stack.zarr", frames[:, None], axes="tzyx")
    write_stack(tmp_path / "planes.zarr", planes, axes="tzyx")
    config = run_of(tmp_path, correct={"stack": str(tmp_path / "planes.zarr")})
    shifts = stages.run(config)
    written = zarr.open_group(config.output.corrected, mode="r")["0"]
    assert written.shape == planes.shape
    moved = steadystack.correct(frames // 3, shifts)
    np.testing.assert_array_equal(written[:, 2], moved.values)


def test_a_disk_that_really_is_full(tmp_path, small_disk):
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 60000, (360, 160)).astype("u2")  # no codec makes less of it
    write_stack(tmp_path / "stack.zarr", scene + rng.integers(0, 99, (6, 360, 160)).astype("u2"))
    config = run_of(
        tmp_path,
        mask={"defects": None, "parts": None},
        register={"max_shift": 4},
        pairs={"strategy": "consecutive"},
        output={
            "shifts": str(tmp_path / "shifts.zarr"),
            "corrected": str(small_disk / "steady.zarr"),
        },
    )
    (tmp_path / "run.yaml").write_text(json.dumps(config.dump()))
    stages.measure(config)
    stages.solve(config)
    told = CliRunner().invoke(main, ["correct", str(tmp_path / "run.yaml")])
    assert told.exit_code == 1
    assert "no space left on the disk" in told.stderr
    assert not (small_disk / "steady.zarr").exists()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = CliRunner().invoke(main, ["correct", str(tmp_path / "run.yaml")])
    assert again.exit_code == 0, again.output
    assert (small_disk / "steady.zarr").exists()


MEASURED = {
    "input": {"path": "stack.zarr"},
    "register": {"max_shift": 12},
    "cluster": {"kind": "in-process"},
}


@pytest.fixture(scope="module")
def solved(frames, tmp_path_factory):
    """A folder with a stack and its shifts."""
    folder = tmp_path_factory.mktemp("solved")
    write_stack(folder / "stack.zarr", frames)
    stages.run(make_config(MEASURED, folder))
    return folder


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"output": {"corrected": "{}/stack.zarr/in.zarr"}},
            "overlap: neither may lie inside the other",
        ),
        ({"output": {"corrected": "{}/stack.zarr"}}, "overlap: neither may lie inside the other"),
        (
            {"output": {"corrected": "{}/shifts.zarr/in.zarr"}},
            "overlap: neither may lie inside the other",
        ),
        ({"output": {"corrected": "{}/steady.png"}}, "must end in .zarr or .ome.tif"),
        ({"output": {"corrected": "https://server/a.zarr"}}, "cannot be written"),
        ({"output": {}}, "none of output.corrected, output.mean"),
        ({"correct": {"interpolation": "quintic"}}, "correct.interpolation"),
        ({"correct": {"fill_value": -1}}, "fill_value -1.0 cannot be stored as uint16"),
        ({"correct": {"chunks": [1, 2, 3]}}, "correct.chunks has 3 values for the axes y, x"),
        ({"correct": {"chunks": 32, "shards": 33}}, "33 along y is not a multiple"),
        ({"correct": {"shards": 99, "format": "0.4"}}, "0.4 has no shards"),
        ({"correct": {"levels": 12}}, "lower it"),
        ({"correct": {"stack": "{}/nothing.zarr"}}, "correct.stack: .*nothing.zarr does not exist"),
    ],
)
def test_bad_settings_are_reported_in_a_line(solved, sections, words):
    text = json.dumps(sections).replace("{}/", f"{solved}/")
    given = {**MEASURED, "output": {}, **json.loads(text)}
    if sections.get("output") != {}:
        given["output"] = {"corrected": str(solved / "steady.zarr")} | given["output"]
    path = solved / "run.yaml"
    path.write_text(json.dumps(given))
    files = {one.name for one in solved.iterdir()}
    told = CliRunner().invoke(main, ["correct", str(path)])
    assert told.exit_code == 2, told.output
    assert len(told.stderr.splitlines()) == 1
    assert re.search(words, told.stderr)
    assert {one.name for one in solved.iterdir()} == files


def test_from_the_shell_with_tiff_and_tables(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames, pixel_size=(0.5, 0.5), frame_interval=2.0)
    config = run_of(
        tmp_path,
        correct={"border": "expand"},
        output={
            "shifts": str(tmp_path / "shifts.zarr"),
            "corrected": str(tmp_path / "steady.ome.tif"),
        },
    )
    (tmp_path / "run.yaml").write_text(json.dumps(config.dump()))
    runner = CliRunner()
    told = runner.invoke(main, ["run", str(tmp_path / "run.yaml")])
    assert told.exit_code == 0, told.output
    shifts = load_shifts(str(tmp_path / "shifts.zarr"))
    with tifffile.TiffFile(tmp_path / "steady.ome.tif") as file:
        assert file.is_ome
        series = file.series[0]
        assert series.axes == "TYX"
        expected = steadystack.correct(frames, shifts, border="expand")
        np.testing.assert_array_equal(series.asarray(), expected.values)
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        assert 'TimeIncrement="2.0"' in file.ome_metadata
    made = (tmp_path / "steady.ome.tif").stat().st_mtime_ns
    for command in ("run", "correct"):  # it is done already
        told = runner.invoke(main, [command, str(tmp_path / "run.yaml")])
        assert told.exit_code == 0, told.output
        assert (tmp_path / "steady.ome.tif").stat().st_mtime_ns == made
    other = config.dump() | {"correct": {"border": "crop"}}
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    told = runner.invoke(main, ["correct", str(tmp_path / "other.yaml")])
    assert told.exit_code == 2
    assert "does not belong to these shifts and settings" in told.stderr
    again = runner.invoke(main, ["correct", str(tmp_path / "run.yaml"), "--overwrite"])
    assert again.exit_code == 0
    assert "6 frames" in again.output

    export = ["export", str(tmp_path / "shifts.zarr")]
    told = runner.invoke(main, [*export, str(tmp_path / "a.csv")])
    assert told.exit_code == 0, told.output
    assert "every good frame shows" in told.output
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0].startswith("frame,time,status,component,shift_y,shift_x,")
    fourth = dict(zip(rows[0].split(","), rows[4].split(","), strict=True))
    assert float(fourth["shift_x"]) == pytest.approx(4.1, abs=0.02)
    assert float(fourth["translate_x"]) == pytest.approx(2.05, abs=0.01)
    assert (fourth["first_x"], fourth["stop_x"]) == ("4", "84")
    assert runner.invoke(main, [*export, str(tmp_path / "a.csv")]).exit_code == 2
    assert runner.invoke(main, [*export, str(tmp_path / "a.txt")]).exit_code == 2
    for store in ("shifts.zarr", "stack.zarr"):
        told = runner.invoke(main, [*export, str(tmp_path / store / "a.csv")])
        assert told.exit_code == 2
        assert "nothing is written into stores that hold something else" in told.stderr
        assert not (tmp_path / store / "a.csv").exists()
    nothing = runner.invoke(main, ["export", str(tmp_path / "steady.ome.tif"), "b.csv"])
    assert nothing.exit_code == 2
    assert nothing.output.count("\n") == 1
    assert "steady.ome.tif is not a shifts dataset" in nothing.stderr
    assert runner.invoke(main, [*export, str(tmp_path / "a.nc")]).exit_code == 0
    assert runner.invoke(main, [*export, str(tmp_path / "a.json")]).exit_code == 0
    layers = json.loads((tmp_path / "a.json").read_text())
    assert layers[3]["scale"] == [1, 0.5, 0.5]
    np.testing.assert_allclose(layers[3]["translate"], [3, 1.65, 2.05], atol=0.02)


def test_tiff_refuses_what_it_cannot_hold(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames.astype("i8"))
    config = run_of(
        tmp_path,
        output={
            "shifts": str(tmp_path / "shifts.zarr"),
            "corrected": str(tmp_path / "steady.ome.tif"),
        },
    )
    with pytest.raises(steadystack.InputError, match="OME-TIFF cannot hold int64"):
        stages.run(config)


def test_a_series_without_a_shift_has_its_report_and_no_corrected_stack(tmp_path):
    noise = np.random.default_rng(0).normal(1000, 100, (6, 48, 52)).astype("u2")
    write_stack(tmp_path / "stack.zarr", noise)
    settings = {
        "input": {"path": "stack.zarr"},
        "register": {"max_shift": 6},
        "output": {"report": "report.html", "corrected": "steady.zarr"},
        "cluster": {"kind": "in-process"},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    told = CliRunner().invoke(main, ["run", str(tmp_path / "run.yaml")])
    assert told.exit_code == 3, told.output
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "steady.zarr").exists()
