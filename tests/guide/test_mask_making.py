"""Masks for a stack: by thresholds and from regions of ImageJ, to be used as they are written."""

from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest
import roifile
import yaml
from click.testing import CliRunner
from PIL import Image

import steadystack
from steadystack.cli import main
from steadystack.guide import make_mask
from steadystack.guide.mask_making import read_rois
from steadystack.model import InputError

INSIDE = np.hypot(*np.mgrid[-32:32, -40:40]) < 25  # behind a round stop


@pytest.fixture
def stack(tmp_path):
    """Eight frames of a drifting scene behind a stop, dark around it, bright in a corner."""
    rng = np.random.default_rng(1)
    scene = rng.normal(200, 40, (90, 100))
    frames = rng.normal(10, 1, (8, 64, 80))
    for number, frame in enumerate(frames):
        frame[INSIDE] = scene[number : number + 64, 2 * number : 2 * number + 80][INSIDE]
    frames[:, :5, :6] = 300
    np.save(tmp_path / "stack.npy", frames.astype(np.float32))
    return tmp_path / "stack.npy"


def run(*arguments):
    return CliRunner().invoke(main, ["mask", *map(str, arguments)])


def test_a_mask_by_threshold_finds_the_stop_and_serves_a_run(tmp_path, stack):
    done = run(stack, tmp_path / "mask.npy", "--largest", "--fill-holes", "--picture",
               tmp_path / "seen.png")  # fmt: skip
    assert done.exit_code == 0, done.output
    mask = np.load(tmp_path / "mask.npy")
    assert mask.dtype == bool
    assert (mask != INSIDE).sum() <= 2
    assert "8 of 8 looked at" in done.output
    assert "(Otsu)" in done.output
    assert (tmp_path / "seen.png").stat().st_size > 1000
    settings = {
        "input": {"path": str(stack)},
        "mask": {"path": str(tmp_path / "mask.npy")},
        "register": {"max_shift": 8},
        "cluster": {"kind": "in-process"},
        "output": {"shifts": "shifts.zarr"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    shifts = steadystack.run(steadystack.load_config(tmp_path / "run.yaml"))
    truth = np.outer(np.arange(8), [1, 2])
    np.testing.assert_allclose(shifts["frame_shift"], truth, atol=0.1)


def test_what_changes_is_found_by_the_deviation(tmp_path, stack):
    make_mask(str(stack), str(tmp_path / "mask.npy"), by="deviation", threshold=8.0)
    mask = np.load(tmp_path / "mask.npy")
    assert not mask[:5, :6].any()  # bright, but it stands still
    assert (mask & INSIDE).sum() > 0.97 * INSIDE.sum()
    assert not (mask & ~INSIDE).any()


def test_below_is_the_other_side(tmp_path, stack):
    make_mask(str(stack), str(tmp_path / "above.npy"), threshold=100.0)
    rows = make_mask(str(stack), str(tmp_path / "below.npy"), threshold=100.0, below=True)
    np.testing.assert_array_equal(np.load(tmp_path / "below.npy"), ~np.load(tmp_path / "above.npy"))
    assert ("valid", "mean not above 100") in rows


def test_regions_of_imagej_are_where_imagej_has_them(tmp_path, stack):
    """A rectangle of ImageJ holds the pixels from left to right - 1; a polygon goes by centres."""
    rectangle = roifile.ImagejRoi.frompoints([[10, 20], [30, 20], [30, 50], [10, 50]])
    oval = roifile.ImagejRoi()
    oval.roitype, oval.version = roifile.ROI_TYPE.OVAL, 227
    oval.top, oval.left, oval.bottom, oval.right = 4, 40, 24, 70
    roifile.roiwrite(tmp_path / "regions.zip", [rectangle, oval])
    done = run(stack, tmp_path / "mask.npy", "--rois", tmp_path / "regions.zip")
    assert done.exit_code == 0, done.output
    y, x = np.mgrid[:64, :80]
    expected = (y >= 20) & (y < 50) & (x >= 10) & (x < 30)
    expected |= ((y + 0.5 - 14) / 10) ** 2 + ((x + 0.5 - 55) / 15) ** 2 <= 1
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), expected)
    assert "inside 2 region(s)" in done.output


def test_a_region_without_an_inside_is_refused(tmp_path):
    line = roifile.ImagejRoi.frompoints([[1, 2], [30, 40]])
    line.roitype = roifile.ROI_TYPE.POLYLINE
    line.tofile(tmp_path / "line.roi")
    with pytest.raises(InputError, match="POLYLINE has no area"):
        read_rois(str(tmp_path / "line.roi"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{stack}", "mask.tif"], "in .npy"),
        (["{stack}", "none/mask.npy"], "its folder does not exist"),
        (["{stack}", "mask.npy", "--threshold", "1e9"], "no valid pixel"),
        (["{stack}", "mask.npy", "--rois", "none.roi"], "none.roi does not exist"),
        (["{stack}", "mask.npy", "--rois", "{stack}"], "holds no ImageJ regions"),
        (["flat.npy", "mask.npy"], "no threshold separates them"),
        (["none.npy", "mask.npy"], "none.npy"),
        (["{stack}", "mask.npy", "--picture", "seen.bmp"], "must end in .png"),
    ],
)
def test_what_cannot_be_done_is_reported_before_anything_is_written(
    tmp_path, stack, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    np.save("flat.npy", np.ones((3, 32, 32)))
    done = run(*(one.format(stack=stack) for one in arguments))
    assert done.exit_code == 2
    assert told in done.output
    assert not (tmp_path / "mask.npy").exists()


def test_a_file_that_is_there_is_not_replaced(tmp_path, stack):
    (tmp_path / "mask.npy").write_text("mine")
    done = run(stack, tmp_path / "mask.npy")
    assert done.exit_code == 2
    assert "it is not replaced" in done.output
    assert (tmp_path / "mask.npy").read_text() == "mine"


def test_a_picture_in_the_way_is_reported_before_the_mask_is_written(tmp_path, stack):
    (tmp_path / "seen.png").write_text("mine")
    told = run(stack, tmp_path / "mask.npy", "--picture", tmp_path / "seen.png")
    assert told.exit_code == 2
    assert "--picture" in told.output
    assert "seen.png exists and was not made by steadystack" in told.output
    assert not (tmp_path / "mask.npy").exists()


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(InputError, match=r"steadystack\[roi\]"):
        read_rois("regions.zip")


@pytest.mark.parametrize("path", ["pictures", "pictures/*.png"])
def test_a_picture_is_not_drawn_among_the_frames(tmp_path, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.fromarray(np.eye(20, dtype="u1") * 200).save(f"pictures/{number}.png")
    told = run(path, "mask.npy", "--picture", "pictures/seen.png")
    assert told.exit_code == 2
    assert "pictures/seen.png (--picture)" in told.output
    assert len(list((tmp_path / "pictures").iterdir())) == 3
    assert not (tmp_path / "mask.npy").exists()
    assert run(path, "mask.npy", "--picture", "seen.png").exit_code == 0


def test_a_mask_that_a_full_disk_does_not_take_is_reported(tmp_path, stack, monkeypatch):
    def open_full(path, mode):
        path.touch()
        return open("/dev/full", "wb")

    monkeypatch.setattr("pathlib.Path.open", open_full)
    told = run(stack, tmp_path / "mask.npy")
    assert told.exit_code == 1
    reason = os.strerror(errno.ENOSPC)
    assert told.output.splitlines()[-1] == (
        f"error: {tmp_path / 'mask.npy'} cannot be written: {reason}"
    )
    assert not (tmp_path / "mask.npy").exists()
