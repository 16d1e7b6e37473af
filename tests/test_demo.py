"""The embedded example, as the README shows it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from steadystack import guide
from steadystack.cli import main
from steadystack.example import drifting_series
from steadystack.guide import embedded_scene
from steadystack.model import FrameStatus

ROOT = Path(__file__).parents[1]


def test_the_demo_leaves_shifts_and_pictures(tmp_path):
    done = CliRunner().invoke(main, ["demo", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    error = float(re.search(r"known drift: ([\d.]+) px", done.output)[1])
    assert error < 0.1
    for picture in ("drift.png", "pairs.png"):
        assert str(tmp_path / "out" / picture) in done.output
        assert (tmp_path / "out" / picture).stat().st_size > 20_000
    with xr.open_zarr(tmp_path / "out" / "shifts.zarr") as shifts:
        known = np.isfinite(shifts["shift"].to_numpy()).all(axis=1)
        status = shifts["frame_status"].to_numpy()
    truth = drifting_series(embedded_scene())
    assert np.flatnonzero(~known).tolist() == list(truth.dark)
    assert (status[~known] == FrameStatus.UNCONNECTED.code).all()
    again = CliRunner().invoke(main, ["run", str(tmp_path / "out" / "demo.yaml")])
    assert again.exit_code == 0


def test_the_series_is_as_described():
    series = drifting_series(embedded_scene(), frame_count=9, size=96)
    assert series.frames.shape == (9, 96, 96)
    zeros = (series.frames == 0).mean()
    assert 0.24 < zeros < 0.27
    assert len(series.dark) == 2
    assert np.isnan(series.shift[list(series.dark)]).all()


def readme_blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    guide.demo(tmp_path / "steadystack-demo")
    monkeypatch.chdir(tmp_path)
    blocks = readme_blocks("python")
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert np.isfinite(names["shifts"]["shift"].to_numpy()).any()


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself_and_is_in_the_readme(command):
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output) > 60
    assert f"steadystack {command}" in (ROOT / "README.md").read_text()


def test_the_readme_names_the_commands_and_the_whole_floor_plan():
    text = (ROOT / "README.md").read_text()
    assert "bash scripts/demo" in text
    assert "bash scripts/test" in text
    rooms = {path.stem for path in (ROOT / "pipeline" / "steadystack").iterdir()}
    for room in rooms - {"__init__", "__main__", "__pycache__", "data", "py"}:
        assert f"`{room}`" in text, room


def test_the_demo_overwrites_nothing_but_itself(tmp_path):
    (tmp_path / "stack.ome.zarr").mkdir()
    done = CliRunner().invoke(main, ["demo", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds something else" in done.output
    assert list((tmp_path / "stack.ome.zarr").iterdir()) == []
