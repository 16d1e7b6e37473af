"""What init sees in a stack, and the settings that it writes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile
import yaml

from steadystack import guide
from steadystack.config import load_config, make_config
from steadystack.outputs import write_stack
from support import STORES
from support.framed import SHAPE, scenes
from support.shell import shell
from support.tiff_files import PIXELS


def framed(count, width):
    frames = scenes(count)
    outside = np.ones(SHAPE, bool)
    outside[width:-width, width:-width] = False
    return np.where(outside, 222, frames).astype("u1")


def test_init_and_check_ask_about_a_border(tmp_path):
    write_stack(tmp_path / "a.zarr", framed(3, 4))
    made = shell("init", tmp_path / "a.zarr").stdout
    assert re.search(r"# invalid_values: \[222\].*: .*the middle frame is .*222", made)
    assert re.search(r"  border: 0 .*; 4 wide in the middle frame", made)
    (tmp_path / "run.yaml").write_text(made)
    question = (
        "a border of 222, up to 4 pixels wide: no data? then set mask.border: 4, or "
        "mask.invalid_values: [222]"
    )
    assert shell("check", tmp_path / "run.yaml").output.count(question) == 3
    for left_out in ("border: 4", "invalid_values: [222]"):
        (tmp_path / "run.yaml").write_text(made.replace("border: 0", left_out))
        assert "no data?" not in shell("check", tmp_path / "run.yaml").output


def test_init_of_a_real_series_sees_its_border(real_data):
    made = guide.init(str(real_data("dice_pixel_shift") / "def_*.tif"))
    assert "# invalid_values: [222]" in made
    assert "; 9 wide in the middle frame" in made


@pytest.mark.parametrize("axes", ["tyx", "tzyx"])
def test_every_line_of_init_can_be_uncommented(tmp_path, axes):
    """Key by key, as one does by hand; the settings stay settings."""
    shape = (3, *SHAPE) if axes == "tyx" else (3, 8, *SHAPE)
    write_stack(tmp_path / "a.zarr", np.random.default_rng(0).random(shape, "f4"), axes=axes)
    made = guide.init(str(tmp_path / "a.zarr")).splitlines()
    keys = [i for i, line in enumerate(made) if re.match(r"  # +(\w+:|- )", line)]
    names = [made[i].split("#")[1].split(":")[0].strip() for i in keys]
    assert {"path", "rois", "invalid_values", "saturation", "fixed_pattern", "high_pass"} <= set(
        names
    )
    assert {"corrected", "interpolation", "border"} <= set(names)
    for index in keys:
        lines = list(made)
        lines[index] = lines[index].replace("# ", "", 1)
        if "- {" in lines[index]:
            lines[index] = "  rois:\n" + lines[index]
        elif "rois:" in lines[index]:
            continue
        make_config(yaml.safe_load("\n".join(lines)))


def test_the_search_that_init_begins_with(tmp_path):
    frames = np.random.default_rng(0).normal(size=(6, 160, 160))
    write_stack(tmp_path / "a.zarr", np.cumsum(np.cumsum(frames, axis=1), axis=2)[[0] * 6])
    made = guide.init(str(tmp_path / "a.zarr"))
    (tmp_path / "run.yaml").write_text(made)
    config = load_config(tmp_path / "run.yaml")
    assert config.register_.max_shift == "auto"
    assert config.output.report.endswith("a-report.html")
    assert "search: within 32 x 32 px, as" in made


def test_init_names_outputs_after_the_input(tmp_path):
    (tmp_path / "frames").mkdir()
    for index in range(2):
        tifffile.imwrite(tmp_path / "frames" / f"t{index}.tif", PIXELS[index, 0])
    shutil.unpack_archive(STORES / "ome-zarr-py-05-plate.zip", tmp_path / "plate.zarr")
    for words, name in (
        (("frames",), "frames-shifts.zarr"),
        (("frames/t*.tif",), "frames-shifts.zarr"),
        (("plate.zarr", "--position", "B/03/0", "--channel", "GFP"), "plate-B-03-0-shifts.zarr"),
    ):
        made = shell("init", tmp_path / words[0], *words[1:])
        assert yaml.safe_load(made.stdout)["output"]["shifts"] == name


def test_stacks_of_one_folder_have_outputs_of_their_own(tmp_path):
    frames = scenes(2).astype("f4")
    for name in ("a.b.ome.zarr", "a.c.ome.zarr", ".d.zarr"):
        write_stack(tmp_path / name, frames)
    for name in ("a.b.h5", "a.e.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["entry/data"] = frames
    for name in ("v1.0", "v1.1"):
        (tmp_path / name).mkdir()
        for index in range(2):
            tifffile.imwrite(tmp_path / name / f"t{index}.tif", frames[index])
    for name, stem in (
        ("a.b.ome.zarr", "a.b"),
        ("a.c.ome.zarr", "a.c"),
        (".d.zarr", "d"),
        ("a.b.h5:/entry/data", "a.b-entry-data"),
        ("a.e.h5:/entry/data", "a.e-entry-data"),
        ("v1.0", "v1.0"),
        ("v1.1/t*.tif", "v1.1"),
    ):
        axes = "tyx" if "h5" in name else None
        settings = yaml.safe_load(guide.init(str(tmp_path / name), axes=axes))
        assert settings["output"] == {
            "shifts": f"{stem}-shifts.zarr", "report": f"{stem}-report.html"
        }  # fmt: skip


def test_a_pattern_that_gives_one_frame(tmp_path):
    tifffile.imwrite(tmp_path / "t0.tif", PIXELS[0, 0])
    tifffile.imwrite(tmp_path / "t0.tiff", PIXELS[0, 0])
    told = shell("init", tmp_path / "t*.tif")
    assert told.exit_code == 2
    assert "has one frame (1 TIFF file, t0.tif, no other matches): a time-lapse" in told.stderr
    told = shell("init", tmp_path / "t0.tif", tmp_path / "t0.tiff")  # as a shell expands it
    assert told.exit_code == 2
    assert "t0.tiff, but init takes one: put a pattern in quotes" in told.stderr


def test_init_and_check_say_what_they_understood(tmp_path):
    shutil.unpack_archive(STORES / "ngff-zarr-05-sharded.zip", tmp_path / "a.zarr")
    said = shell("init", tmp_path / "a.zarr", "--channel", "1").output
    for words in ("axes: t 3, c 2, y 24, x 20", "pixel size: 0.4 x 0.3 micrometer",
                  "frame times: 0 to 5 second", "(3, 2, 12, 12) in shards of (3, 2, 24, 24)",
                  "levels: (3, 2, 24, 20), (3, 2, 12, 10)"):  # fmt: skip
        assert words in said


@pytest.mark.parametrize(
    "name",
    ["img #1", "{a}", "[a]", "a: b", "*a", "%s", "'x' \"y\"", "two\nlines", "😀", "-", "$x$"],
)
def test_init_and_run_take_every_name(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    np.save(folder / f"{name}.npy", scenes(4).astype("f4"))
    monkeypatch.chdir(folder)
    made = shell("init", f"./{name}.npy", "--axes", "tyx").stdout
    settings = yaml.safe_load(made)
    assert settings["input"]["path"] == str(folder / f"{name}.npy")
    assert settings["output"]["shifts"] == f"{name}-shifts.zarr"
    uncommented = made.replace("# corrected:", "corrected:")
    assert yaml.safe_load(uncommented)["output"]["corrected"] == f"{name}-corrected.ome.zarr"
    (folder / "run.yaml").write_text(made)
    assert shell("check", folder / "run.yaml").exit_code == 0


def test_settings_beside_the_stack_name_it_as_it_was_typed(tmp_path, monkeypatch):
    """They can then be moved together; settings that are written elsewhere have the whole path."""
    here, away = tmp_path / "here", tmp_path / "away"
    (here / "data").mkdir(parents=True)
    np.save(here / "data" / "a.npy", scenes(4).astype("f4"))
    (here / "mine.py").write_text(
        "import numpy as np\n\ndef read(path):\n    return np.load(path)\n"
    )
    command = [sys.executable, "-m", "steadystack", "init", "data/a.npy"]
    for target in ("run.yaml", "../run.yaml"):
        with (here / target).open("w") as file:
            given = [*command, "--axes", "tyx", "--reader", "mine.py:read"]
            subprocess.run(given, cwd=here, stdout=file, check=True)
    section = yaml.safe_load((tmp_path / "run.yaml").read_text())["input"]
    assert section["path"] == f"{here}/data/a.npy"
    assert section["reader"] == f"{here}/mine.py:read"
    monkeypatch.chdir(here)
    for typed in ("../here/data/a.npy", f"{here}/data/a.npy"):
        made = yaml.safe_load(guide.init(typed, is_here=True, axes="tyx"))
        assert made["input"]["path"] == f"{here}/data/a.npy"
    monkeypatch.chdir(tmp_path)
    here.rename(away)
    section = yaml.safe_load((away / "run.yaml").read_text())["input"]
    assert (section["path"], section["reader"]) == ("data/a.npy", "mine.py:read")
    config = load_config(away / "run.yaml")
    assert config.input.path == f"{away}/data/a.npy"
    assert config.input.reader == f"{away}/mine.py:read"


def test_a_long_name_of_an_input_leaves_room_for_those_of_the_outputs(tmp_path):
    name = "µ" * 120
    np.save(tmp_path / f"{name}.npy", scenes(3).astype("f4"))
    made = guide.init(str(tmp_path / f"{name}.npy"))
    assert yaml.safe_load(made)["output"]["shifts"] == "µ" * 80 + "-shifts.zarr"
