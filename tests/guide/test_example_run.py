"""The embedded example."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from steadystack.cli import main
from steadystack.example import make_drifting_series
from steadystack.guide import load_embedded_scene
from steadystack.model import FrameStatus
from support.demonstrated import demonstrate, make_smaller_series


@pytest.mark.xdist_group("demo")
def test_the_demo_leaves_shifts_and_pictures(demonstration):
    check_demo(*demonstration, make_smaller_series(load_embedded_scene()))


@pytest.mark.slow
def test_the_whole_demo_leaves_shifts_and_pictures(tmp_path):
    check_demo(*demonstrate(tmp_path), make_drifting_series(load_embedded_scene()))


def check_demo(folder, told, truth):
    error = float(re.search(r"known drift: ([\d.]+) px", told)[1])
    assert error < 0.1
    for picture in ("drift.png", "pairs.png"):
        assert str(folder / picture) in told
        assert (folder / picture).stat().st_size > 20_000
    with xr.open_zarr(folder / "shifts.zarr") as shifts:
        known = np.isfinite(shifts["frame_shift"].to_numpy()).all(axis=1)
        status = shifts["frame_status"].to_numpy()
    assert np.flatnonzero(~known).tolist() == list(truth.dark)
    assert (status[~known] == FrameStatus.DISCONNECTED.code).all()
    again = CliRunner().invoke(main, ["run", str(folder / "demo.yaml")])
    assert again.exit_code == 0


def test_the_series_is_as_described():
    series = make_drifting_series(load_embedded_scene(), frame_count=9, size=96)
    assert series.frames.shape == (9, 96, 96)
    zeros = (series.frames == 0).mean()
    assert 0.24 < zeros < 0.27
    assert len(series.dark) == 2
    assert np.isnan(series.shift[list(series.dark)]).all()


def test_the_demo_overwrites_nothing_but_itself(tmp_path):
    (tmp_path / "stack.ome.zarr").mkdir()
    done = CliRunner().invoke(main, ["demo", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds something else" in done.output
    assert list((tmp_path / "stack.ome.zarr").iterdir()) == []


@pytest.mark.parametrize("name", ["demo.yaml", "stack.ome.zarr/labels", "mask.zarr/notes.txt"])
def test_the_demo_overwrites_nothing_that_was_put_into_it(tmp_path, demonstration, name):
    folder = tmp_path / "demo"
    shutil.copytree(demonstration[0], folder)
    with (folder / name).open("a") as file:
        file.write("# mine")
    before = (folder / name).read_text()
    done = CliRunner().invoke(main, ["demo", str(folder)])
    assert done.exit_code == 2
    assert name in done.output.replace("\n", "")
    assert "give the demo another folder" in done.output
    assert (folder / name).read_text() == before
