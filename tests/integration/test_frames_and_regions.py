"""Runs of some frames and a region of a stack, against runs of a stack that was cut by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.config import load_config
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from support.scenes import Scene
from support.settings import config_of, write_run

SIZE = (120, 130)
CHOICE = {"frames": "2:13:2", "region": [[10, 100], ["5 um", "30 um"]]}  # x: 20 to 120
FRAMES, PART = slice(2, 13, 2), (slice(10, 100), slice(20, 120))
NEAR = {"register": {"max_shift": 12}, "pairs": {"width": 2}}
NUMBERS = [2, 4, 6, 8, 10, 12]


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    world, steps = Scene(3, detail=2.5), np.random.default_rng(0).normal(0, 1, (14, 2))
    origins = np.cumsum(steps, axis=0)
    noise = np.random.default_rng(1).normal(0, 200, (14, *SIZE))
    views = np.stack([20000 + 3000 * world.view(SIZE, origin) for origin in origins])
    return (views + noise).astype("u2")


def write_both(folder, frames):
    size = (0.5, 0.25)
    write_stack(folder / "stack.zarr", frames, pixel_size=size, frame_interval=2.0)
    cut = frames[(FRAMES, *PART)]
    write_stack(folder / "cut.zarr", cut, pixel_size=size, frame_interval=4.0)
    return folder


@pytest.fixture
def folder(frames, tmp_path):
    return write_both(tmp_path, frames)


@pytest.fixture(scope="module")
def ran(frames, tmp_path_factory):
    """A folder in which both have run, and their datasets."""
    folder = write_both(tmp_path_factory.mktemp("ran"), frames)
    return folder, *both(folder)


def both(folder, cut=None, **sections):
    """The datasets of a run of the chosen frames and region, and of one of the stack cut by hand.

    `cut` are the sections of the second that differ.
    """
    usual = NEAR | sections
    outputs = [
        {name: f"{run}-{name}.zarr" for name in ("shifts", "corrected", "mean")}
        for run in ("chosen", "cut")
    ]
    chosen = {**usual, "input": {"path": "stack.zarr", **CHOICE}, "output": outputs[0]}
    by_hand = {**usual, **(cut or {}), "input": {"path": "cut.zarr"}, "output": outputs[1]}
    return [stages.run(config_of(folder, **given)) for given in (chosen, by_hand)]


def assert_same(chosen, by_hand):
    """Every column is the same to the last bit, and so are the pixels that were written."""
    for name in by_hand.data_vars:
        np.testing.assert_array_equal(
            chosen[name].to_numpy(), by_hand[name].to_numpy(), err_msg=str(name)
        )


def images_of(folder, run):
    corrected = zarr.open_group(folder / f"{run}-corrected.zarr", mode="r")
    mean = zarr.open_group(folder / f"{run}-mean.zarr", mode="r")
    return corrected["0"][:], corrected["valid"][:], mean["0"][:], mean["count"][:]


def test_it_is_the_run_of_a_stack_cut_by_hand_with_the_numbers_of_the_whole(ran):
    folder, chosen, by_hand = ran
    assert_same(chosen, by_hand)
    for found, expected in zip(images_of(folder, "chosen"), images_of(folder, "cut"), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert chosen["frame"].values.tolist() == NUMBERS
    np.testing.assert_array_equal(chosen["time"], np.array(NUMBERS) * 2.0)
    assert by_hand["frame"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert json.loads(chosen.attrs["frame_shape"]) == [90, 100]
    for name, axes in (("corrected", "tyx"), ("mean", "yx")):
        ome = dict(zarr.open_group(folder / f"chosen-{name}.zarr", mode="r").attrs)["ome"]
        level = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        scale, origin = {"t": 4.0, "y": 0.5, "x": 0.25}, {"t": 4.0, "y": 5.0, "x": 5.0}
        assert level[0]["scale"] == [scale[axis] for axis in axes]
        assert level[1]["translation"] == [origin[axis] for axis in axes]


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_what_is_given_for_the_whole_stack_is_cut_with_it(frames, folder):
    """Masks, drawn, static and per frame; camera images; positions; weights; another stack."""
    rng = np.random.default_rng(2)
    valid = np.ones(frames.shape, bool)
    valid[:, 40:52, 60:80] = False
    for frame in range(len(frames)):
        valid[frame, 20 + 3 * frame : 26 + 3 * frame, 30:60] = False
    flat = rng.uniform(0.9, 1.1, SIZE)
    write_image(folder / "mask.zarr", valid)
    write_image(folder / "mask-cut.zarr", valid[(FRAMES, *PART)])
    write_image(folder / "flat.zarr", flat)
    write_image(folder / "flat-cut.zarr", flat[PART])
    positions = rng.normal(0, 1, (14, 2))
    weights = rng.uniform(0.5, 2, 14)
    rows = np.column_stack([positions, weights])
    for name, table in (("all", rows), ("cut", rows[FRAMES])):
        lines = [",".join(map(repr, map(float, row))) for row in table]
        (folder / f"{name}.csv").write_text("\n".join(["y,x,w", *lines]))
    labels = (frames // 5000).astype("u1")
    write_stack(folder / "labels.zarr", labels)
    write_stack(folder / "labels-cut.zarr", labels[(FRAMES, *PART)])

    def given(end, table, centre):
        ellipse = {"ellipse": {"centre": centre, "radii": [9, 7]}, "valid": "outside"}
        return {
            "mask": {"path": f"mask{end}.zarr", "rois": [ellipse], "border": 3},
            "preprocess": {"flat_field": f"flat{end}.zarr"},
            "initial_shifts": {"path": f"{table}.csv"},
            "mean": {"weights": "column", "path": f"{table}.csv", "column": "w"},
            "correct": {"stack": f"labels{end}.zarr"},
        }

    chosen, by_hand = both(
        folder, given("-cut", "cut", [50, 20]), **given("", "all", [60, "10 um"])
    )
    assert_same(chosen, by_hand)
    for found, expected in zip(images_of(folder, "chosen"), images_of(folder, "cut"), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_shifts_of_an_earlier_run_are_found_by_the_number_of_the_frame(frames, folder):
    coarse = {"shifts": "coarse.zarr"}
    known = stages.run(config_of(folder, output=coarse, **NEAR))
    around = {
        "input": {"path": "stack.zarr", **CHOICE},
        "initial_shifts": {"path": "coarse.zarr"},
        "register": {"max_shift": 3},
        "pairs": {"width": 2},
    }
    found = stages.run(config_of(folder, **around, output={"shifts": "fine.zarr"}))
    moved = known["frame_shift"].values[NUMBERS] - known["frame_shift"].values[2]
    np.testing.assert_allclose(found["frame_shift"], moved, atol=0.15)
    # And that of the same frames again.
    around["initial_shifts"] = {"path": "fine.zarr"}
    again = stages.run(config_of(folder, **around, output={"shifts": "finer.zarr"}))
    np.testing.assert_allclose(again["frame_shift"], found["frame_shift"], atol=0.02)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_other_frames_are_another_run(folder):
    def run(**choice):
        given = {"path": "stack.zarr", **CHOICE, **choice}
        return stages.run(config_of(folder, input=given, **NEAR))

    first = run()
    again = run()
    assert first.attrs["run"] == again.attrs["run"]
    with pytest.raises(InputError, match=r"input\.frames '2:13:2' -> '2:12:2'|input\.frames"):
        run(frames="2:12:2")
    with pytest.raises(InputError, match=r"input\.region"):
        run(region=[[10, 100], None])


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_the_whole_by_other_words_is_the_whole(frames, folder):
    """A region of everything changes no digest of the stack, and no number."""
    whole = stages.run(config_of(folder, **NEAR))
    said = {"path": "stack.zarr", "frames": "0:14", "region": [[0, 120], None]}
    other = stages.run(config_of(folder, input=said, output={"shifts": "other.zarr"}, **NEAR))
    assert_same(other, whole)
    assert other["frame"].equals(whole["frame"])


def test_a_lazy_stack_of_them_lies_where_it_did_and_can_be_corrected(frames, ran):
    folder, chosen, _ = ran
    lazy = steadystack.open_stack(str(folder / "stack.zarr"), **CHOICE)
    np.testing.assert_array_equal(lazy, frames[(FRAMES, *PART)])
    np.testing.assert_array_equal(lazy["t"], np.array(NUMBERS) * 2.0)
    np.testing.assert_array_equal(lazy["y"], np.arange(10, 100) * 0.5)
    np.testing.assert_array_equal(lazy["x"], np.arange(20, 120) * 0.25)
    np.testing.assert_array_equal(
        steadystack.mean(lazy, chosen)["mean"], images_of(folder, "chosen")[2]
    )


@pytest.fixture
def settings(folder):
    return write_run(
        folder, input={"path": "stack.zarr", **CHOICE}, register={"max_shift": 12},
        output={"shifts": "shifts.zarr", "report": "page.html"},
    )  # fmt: skip


def test_commands_name_the_frames_of_the_whole_stack(folder, settings):
    runner = CliRunner()
    checked = runner.invoke(main, ["check", str(settings)])
    assert checked.exit_code == 0, checked.output
    assert "frames 2 to 12 in steps of 2 of 14, y 10 to 99 of 120, x 20 to 119 of 130" in (
        checked.output
    )
    for number in (2, 6, 12):
        assert f"\nframe {number} " in checked.output
    planned = runner.invoke(main, ["plan", str(settings)])
    assert planned.output.startswith("frames        6 of (90, 100)"), planned.output
    ran = runner.invoke(main, ["run", str(settings)])
    assert ran.exit_code == 0, ran.output
    assert "frame 12" in (folder / "page.html").read_text(encoding="utf-8")
    shifts = str(folder / "shifts.zarr")
    for name in ("frames.csv", "frames.json"):
        exported = runner.invoke(main, ["export", shifts, str(folder / name)])
        assert exported.exit_code == 0, exported.output
    rows = (folder / "frames.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == NUMBERS
    layers = json.loads((folder / "frames.json").read_text())
    assert [layer["frame"] for layer in layers] == NUMBERS


def test_init_writes_settings_of_them(folder):
    stack = str(folder / "stack.zarr")
    drafted = CliRunner().invoke(
        main, ["init", stack, "--frames", "2:13:2", "--region", "10:100, 5 um:30 um"]
    )
    assert drafted.exit_code == 0, drafted.output
    (folder / "drafted.yaml").write_text(drafted.stdout)
    config = load_config(folder / "drafted.yaml")
    assert config.input.frames == CHOICE["frames"]
    assert config.input.region == ((10, 100), ("5 um", "30 um"))
    assert "one for all frames, (120, 130)" in drafted.output  # masks are of whole frames
    refused = CliRunner().invoke(main, ["init", stack, "--region", "10:30"])
    assert refused.exit_code == 2
    assert "at least 2 items" in refused.output
    refused = CliRunner().invoke(main, ["init", stack, "--region", "10-100"])
    assert refused.exit_code == 2
    assert "is not first:stop" in refused.output


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"frames": "9:2"}, "input.frames '9:2' leaves 0 of the 14 frames"),
        ({"frames": "2:9:-1"}, "step is negative"),
        ({"frames": "155"}, "is not a slice start:stop:step"),
        ({"region": [[0, 10], None]}, "has 10 pixels: at least 16 are needed, of the frame's 120"),
        ({"region": [[100, 140], None]}, "is not inside the frame, whose pixels are 0 to 120"),
        ({"region": [[0, "9 miles"], None]}, "is neither pixels nor a length"),
        ({"region": [[0, 1]] * 3}, "input.region has 3 axes, but frames have y, x"),
        ({"region": [[0, 50]]}, "input.region"),
        ({"region": [[0, 50, 2], None]}, "input.region"),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_what_cannot_be_is_reported_before_work(folder, choice, words, command):
    path = write_run(folder, input={"path": "stack.zarr", **choice})
    told = CliRunner().invoke(main, [command, str(path)])
    assert told.exit_code == 2
    assert words in told.output
    assert not (folder / "shifts.zarr").exists()


def test_frames_without_quotes_in_yaml_are_a_text_or_reported(folder):
    for text, works in (("155:245:3", True), ("2:13:2", False)):
        path = folder / "a.yaml"
        path.write_text(f"input: {{path: stack.zarr, frames: {text}}}\n")
        if works:
            assert load_config(path).input.frames == text
        else:
            with pytest.raises(InputError, match=r"is text|in base 60"):
                load_config(path)


def test_a_volume_of_which_one_plane_is_used(frames, tmp_path):
    volume = np.stack([frames[:4], frames[4:8], frames[8:12]], axis=1)
    valid = np.ones((3, *SIZE), bool)
    valid[1, 30:40, 50:70] = False
    valid[0] = valid[2] = False
    write_stack(tmp_path / "stack.zarr", volume, axes="tzyx")
    write_stack(tmp_path / "cut.zarr", volume[:, 1])
    write_image(tmp_path / "mask.zarr", valid)
    write_image(tmp_path / "mask-cut.zarr", valid[1])
    register = {"max_shift": 12}
    chosen, by_hand = (
        stages.run(
            config_of(
                tmp_path, input=given, register=register, mask={"path": f"mask{end}.zarr"},
                output={"shifts": f"shifts{end}.zarr", "mean": f"mean{end}.zarr"},
            )
        )
        for given, end in (
            ({"path": "stack.zarr", "region": [[1, 2], None, None]}, ""),
            ({"path": "cut.zarr"}, "-cut"),
        )
    )  # fmt: skip
    assert_same(chosen, by_hand)
    found, expected = (
        zarr.open_group(tmp_path / f"mean{end}.zarr", mode="r")["0"][:] for end in ("", "-cut")
    )
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert xr.open_zarr(tmp_path / "shifts.zarr", consolidated=False).sizes["axis"] == 2
