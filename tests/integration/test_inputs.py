"""The whole way from plates and TIFF files; stacks that change while they are read."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
import yaml
import zarr

import steadystack
from steadystack.dataset import load_shifts
from steadystack.model import FrameStatus
from steadystack.outputs import write_stack
from steadystack.readers import StackFrames, locate_stack
from support import STORES
from support.members import slow_but
from support.scenes import Scene
from support.settings import write_run
from support.shell import shell

pytestmark = pytest.mark.usefixtures("unchecked")
SHIFTS = np.array([[0, 0], [1, -2], [2.5, -3], [4, -5.5], [6, -6], [7, -8]])


def drifting(count=6, shape=(48, 64)):
    """Frames of a scene that drifts by known, partly fractional pixels; uint16."""
    scene = Scene(3)
    return np.stack([scene.view(shape, shift) * 500 + 3000 for shift in SHIFTS[:count]]).astype(
        "u2"
    )


def whole_way(folder, stack, *options, **sections):
    """init, check and run of a stack from the shell; the shifts, and what check said."""
    made = shell("init", stack, *options)
    assert made.exit_code == 0, made.output
    settings = yaml.safe_load(made.stdout)
    settings["register"]["max_shift"] = 12
    settings["cluster"] = {"kind": "in-process"}
    settings["output"] = {"shifts": "shifts.zarr"}
    for name, keys in sections.items():
        settings.setdefault(name, {}).update(keys)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    checked = shell("check", folder / "run.yaml")
    assert checked.exit_code == 0, checked.output
    done = shell("run", folder / "run.yaml")
    assert done.exit_code == 0, done.output
    return steadystack.load_config(folder / "run.yaml"), checked.output


def assert_right(config):
    import xarray as xr

    with xr.open_zarr(config.output.shifts) as shifts:
        found = shifts["frame_shift"].to_numpy()
    np.testing.assert_allclose(found, SHIFTS[: len(found)], atol=0.05)


# Plates and collections


@pytest.fixture
def plate(tmp_path):
    """A plate of three wells; one is on its list and not there."""
    shutil.unpack_archive(STORES / "ome-zarr-py-05-plate.zip", tmp_path / "plate.zarr")
    return tmp_path / "plate.zarr"


def test_the_whole_way_from_a_position_of_a_plate(plate):
    image = plate / "B/03/0"
    shutil.rmtree(image)
    write_stack(image, drifting(), pixel_size=(0.5, 0.5))
    config, checked = whole_way(plate.parent, plate, "--position", "B/03/0")
    assert config.input.position == "B/03/0"
    assert "B/03/0 of 3; wells missing from the store: B/02" in checked
    assert_right(config)
    refused = shell("init", plate)
    assert refused.exit_code == 2
    assert "set input.position" in refused.stderr
    assert "--position" in refused.stderr


@pytest.mark.slow  # test_a_plate_has_a_dataset_and_a_page_for_every_well goes most of this way
def test_the_whole_way_from_all_positions_of_a_plate(plate, caplog):
    for name in ("A/01/0", "A/01/1", "B/03/0"):
        shutil.rmtree(plate / name)
        write_stack(plate / name, drifting())
    made = shell("init", plate, "--position", "all")
    assert "wells that it does not contain: B/02" in caplog.text
    settings = made.stdout.replace("max_shift: 12", "max_shift: 11") + "\n  workers: 1\n"
    (plate.parent / "run.yaml").write_text(settings)
    done = shell("run", plate.parent / "run.yaml")
    assert done.exit_code == 0, done.output
    for name in ("A-01-0", "A-01-1", "B-03-0"):
        shifts = load_shifts(str(plate.parent / f"plate-{name}-shifts.zarr"))
        assert np.abs(shifts["frame_shift"] - SHIFTS).max() < 0.1
        assert (plate.parent / f"plate-{name}-report.html").exists()


def test_the_whole_way_from_a_series_of_tiff_files(tmp_path):
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(drifting()):
        tifffile.imwrite(tmp_path / "frames" / f"t{index}.tif", frame)
    config, checked = whole_way(tmp_path, tmp_path / "frames" / "t*.tif")
    assert "6 TIFF files, t0.tif to t5.tif" in checked
    assert "MiB (decoded) in a run" in checked
    assert_right(config)
    exported = [*("export", config.output.shifts), tmp_path / "a.csv"]
    assert shell(*exported).exit_code == 0
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0].startswith("frame,file,status")
    assert [row.split(",")[1] for row in rows[1:]] == [f"t{index}.tif" for index in range(6)]
    tifffile.imwrite(tmp_path / "frames" / "t00.tif", drifting()[0])  # which frame is which now?
    assert shell(*exported, "--overwrite").exit_code == 0
    assert (tmp_path / "a.csv").read_text().startswith("frame,status")


@pytest.mark.slow
def test_a_real_series_of_tiff_files_moves_by_what_its_names_say(real_data, tmp_path):
    """Speckles, def_N.tif moved by N pixels along both axes; def_10 does not come after def_1."""
    path = real_data("dice_pixel_shift") / "def_*.tif"
    settings = write_run(
        tmp_path,
        input={"path": str(path)},
        register={"max_shift": 4},
        pairs={"strategy": "consecutive"},
    )
    shifts = steadystack.run(steadystack.load_config(settings))
    expected = -np.arange(15)[:, None] * np.ones(2)
    np.testing.assert_allclose(shifts["frame_shift"], expected, atol=0.02)


def growing_zarr(path, count):
    array = zarr.open_array(path, mode="a") if path.exists() else zarr.create_array(
        path, shape=(count, 48, 64), chunks=(1, 48, 64), dtype="u2", dimension_names=["t", "y", "x"]
    )  # fmt: skip
    array.resize((count, 48, 64))
    array[...] = drifting(count)


def growing_folder(path, count):
    path.mkdir(exist_ok=True)
    for index, frame in enumerate(drifting(count)):
        tifffile.imwrite(path / f"f{index}.tif", frame)


@pytest.mark.parametrize("grow", slow_but([growing_folder], [growing_zarr, growing_folder]))
def test_a_stack_that_grows_while_it_is_read(tmp_path, grow):
    """A run keeps to the frames that it found; the next one goes on with those that are new."""
    path = tmp_path / "stack"
    grow(path, 4)
    frames = StackFrames(locate_stack(str(path)))
    grow(path, 6)
    assert frames.frame_count == 4
    for index in range(4):
        np.testing.assert_array_equal(frames.read(index).image, drifting(4)[index])

    write_run(tmp_path, input={"path": "stack"}, register={"max_shift": 12})
    if path.is_dir() and not (path / "zarr.json").exists():
        for index in (4, 5):
            (path / f"f{index}.tif").unlink()
    else:
        growing_zarr(path, 4)
    assert shell("run", tmp_path / "run.yaml").exit_code == 0
    before = load_shifts(str(tmp_path / "shifts.zarr"))
    grow(path, 6)
    told = shell("run", tmp_path / "run.yaml")
    assert told.exit_code == 0
    assert "6 of 15 pairs are already measured" in told.stderr
    after = load_shifts(str(tmp_path / "shifts.zarr"))
    pairs = [
        [*zip(shifts["pair_reference"].values, shifts["pair_moving"].values, strict=True)]
        for shifts in (before, after)
    ]
    rows = [pairs[1].index(pair) for pair in pairs[0]]
    np.testing.assert_array_equal(after["pair_shift"][rows], before["pair_shift"])
    np.testing.assert_allclose(after["frame_shift"][:4], before["frame_shift"], atol=0.05)
    assert shell("run", tmp_path / "run.yaml", "--overwrite").exit_code == 0


def test_files_that_are_others_than_when_the_run_began(tmp_path):
    growing_folder(tmp_path / "stack", 3)
    frames = StackFrames(locate_stack(str(tmp_path / "stack")))
    tifffile.imwrite(tmp_path / "stack" / "a.tif", drifting(1)[0])  # before the others
    found = frames.read(1)
    assert found.status is FrameStatus.UNREADABLE
    assert "have changed since the run began" in found.reason


def test_a_stack_that_became_another_one(tmp_path):
    growing_zarr(tmp_path / "a.zarr", 4)
    frames = StackFrames(locate_stack(str(tmp_path / "a.zarr")))
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 40, 64), dtype="u2", overwrite=True)
    found = frames.read(1)
    assert found.status is FrameStatus.UNREADABLE
    assert "changed its shape from (4, 48, 64) to (4, 40, 64)" in found.reason


def test_a_chunk_that_cannot_be_decoded_costs_its_frame_and_is_reported(tmp_path):
    write_stack(tmp_path / "a.zarr", drifting(), pixel_size=(0.5, 0.5))
    torn = tmp_path / "a.zarr/0/c/3/0/0"
    torn.write_bytes(torn.read_bytes()[:40])
    shell("run", write_run(tmp_path, input={"path": "a.zarr"}, register={"max_shift": 12}))
    import xarray as xr

    with xr.open_zarr(tmp_path / "shifts.zarr") as shifts:
        status = shifts["frame_status"].to_numpy()
        found = shifts["frame_shift"].to_numpy()
    assert [FrameStatus.from_code(code) for code in status][3] is FrameStatus.UNREADABLE
    kept = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(found[kept], SHIFTS[kept], atol=0.05)
