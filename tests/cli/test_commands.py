"""The shell: what it says, and its exit codes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from steadystack import run_log, stages
from steadystack.config import load_config
from steadystack.outputs import write_image, write_stack
from support.framed import SHAPE, scenes
from support.runs import SIZE, write_settings
from support.scenes import Scene, ellipse
from support.settings import write_run
from support.shell import shell


def run_settings(folder, **sections):
    usual = {
        "input": {"path": "a.zarr"},
        "register": {"max_shift": 4},
        "output": {"shifts": "s.zarr"},
    }
    return write_run(folder, **usual | sections)


@pytest.mark.parametrize("command", ["run", "measure"])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_run_warns_of_a_mask_that_looks_inverted(tmp_path, caplog, command, inverted):
    inside = ellipse(SHAPE, 0.7)
    noise = np.random.default_rng(0).normal(3, 1, (3, *SHAPE))
    write_stack(tmp_path / "a.zarr", np.where(inside, scenes(3), noise).clip(0).astype("u2"))
    write_image(tmp_path / "m.zarr", inside)
    mask = {"path": "m.zarr", "invert": inverted}
    shell(command, run_settings(tmp_path, mask=mask))
    warning = "frame 1: the mask looks inverted"
    assert (warning in caplog.text) == inverted
    assert (f"WARNING {warning}" in (tmp_path / "run.log").read_text()) == inverted


def test_a_run_names_all_that_it_wrote(tmp_path):
    write_stack(tmp_path / "a.zarr", np.stack([scenes(1)[0]] * 3).astype("u2"))
    output = {"shifts": "s.zarr", "report": "r.png", "corrected": "c.zarr"}
    done = shell("run", run_settings(tmp_path, output=output | {"summary": "all.csv"}))
    lines = done.stdout.splitlines()
    assert "output.summary: not written, as there is one input" in done.stderr
    assert not (tmp_path / "all.csv").exists()
    assert lines[0] == f"report -> {tmp_path / 'r.png'}"
    assert lines[1] == f"corrected stack -> {tmp_path / 'c.zarr'}"
    assert lines[2].startswith("3 frames, 3 of 3 pairs usable")
    assert f"-> {tmp_path / 's.zarr'}: " in lines[2]
    again = shell("run", run_settings(tmp_path, output=output | {"summary": "summary.csv"}))
    assert "output.summary" not in again.output


def test_the_shell_says_what_was_done(folder):
    path = write_settings(folder, output={"report": "drift.png"})
    done = shell("run", path)
    assert done.exit_code == 0, done.output
    assert "12 frames, 45 of 45 pairs usable" in done.output
    assert done.output.strip().endswith("good")
    assert f"report -> {folder / 'drift.png'}" in done.output.splitlines()[:-1]
    assert (folder / "drift.png").read_bytes().startswith(b"\x89PNG")
    assert shell("report", path).output.strip() == str(folder / "drift.png")
    planned = shell("plan", path).output
    for words in ("12 of (64, 72)", "45", "MiB"):
        assert words in planned
    assert shell("measure", path).output.startswith("45 of 45 pairs usable")
    assert "good" in shell("solve", path).output


def test_init_check_and_run_are_a_way_in(folder):
    written = shell("init", folder / "stack.zarr", "--level", 0)
    assert written.exit_code == 0
    assert "kind: local" in written.stdout
    here = written.stdout.replace("kind: local", "kind: in-process")  # the tutorials start workers
    (folder / "new.yaml").write_text(here)
    config = load_config(folder / "new.yaml")
    assert config.register_.max_shift == "auto"
    checked = shell("check", folder / "new.yaml")
    assert checked.exit_code == 0
    for words in ("OME-Zarr 0.5", "12 of (64, 72) uint16", "0.5 x 0.5 micrometer", "100% valid"):
        assert words in checked.output
    assert shell("run", folder / "new.yaml").exit_code == 0
    assert (folder / "stack-shifts.zarr").exists()


def test_init_of_a_volume_runs(tmp_path):
    world = Scene(7, ndim=3)
    volumes = np.stack([world.view((8, 32, 36), (0, i, -i)) for i in range(3)]).astype("f4")
    write_stack(tmp_path / "volume.zarr", volumes, axes="tzyx")
    (tmp_path / "new.yaml").write_text(shell("init", tmp_path / "volume.zarr").stdout)
    assert load_config(tmp_path / "new.yaml").register_.max_shift == "auto"
    planned = shell("plan", tmp_path / "new.yaml")
    assert planned.exit_code == 0
    assert "at most (auto" in planned.output


def test_check_asks_what_a_person_would(folder, frames):
    lost = np.random.default_rng(0).random(frames.shape) < 0.2
    write_stack(folder / "stack.zarr", np.where(lost, 0, frames))
    write_image(folder / "inverted.zarr", ~ellipse(SIZE, 1.1))
    path = write_settings(folder, mask={"path": "inverted.zarr"})
    assert "no data? then set mask.invalid_values" in shell("check", path).output
    path = write_settings(folder, mask={"border": [29, 33]})
    assert "is the mask inverted?" in shell("check", path).output


def test_the_schema_is_json():
    assert json.loads(shell("schema").output)["required"] == ["input"]


WRONG = {
    "no file": (None, "cannot be read"),
    "a missing path": ({"input": {"path": "none.zarr"}}, "does not exist"),
    "an axis that does not exist": (
        {"input": {"path": "stack.zarr", "axes": "tcyx"}},
        "input.axes names 4 axes",
    ),
    "a channel out of range": (
        {"input": {"path": "stack.zarr", "channel": 3}},
        "input.channel 3 is out of range",
    ),
    "a mask of another shape": ({"mask": {"path": "other.zarr"}}, "mask.path: the mask"),
    "a mask of nothing": ({"mask": {"path": "nothing.zarr"}}, "has no valid pixel"),
    "a tile per wrong axes": (
        {"register": {"fft_tile": [64]}},
        "register.fft_tile has 1 values for 2",
    ),
    "a border of everything": ({"mask": {"border": 40}}, "leaves no pixel of frames"),
    "a flat field of another shape": ({"preprocess": {"flat_field": "other.zarr"}}, "flat_field"),
    "a stack of one frame": ({"input": {"path": "one.zarr"}}, "one.zarr has one frame"),
    "max_shift beyond the frame": (
        {"register": {"max_shift": 64}},
        "register.max_shift 64 along y",
    ),
    "max_shift per wrong axes": ({"register": {"max_shift": [1, 2, 3]}}, "3 values for 2 axes"),
    "an anchor that is no frame": ({"solve": {"anchor": 12}}, "solve.anchor 12 is not a frame"),
    "no memory for a pair": (
        {"cluster": {"task_memory": "200 KiB"}},
        "MiB that one pair of frames",
    ),
    "an unknown key": ({"register": {"max_shft": 3}}, "did you mean max_shift?"),
    "a wrong type": ({"register": {"max_shift": [1.5, 2]}}, "register.max_shift"),
    "an output on the input": (
        {"output": {"shifts": "stack.zarr"}},
        "overlap: neither may lie inside the other",
    ),
    "an output inside the input": (
        {"output": {"report": "stack.zarr/a.png"}},
        "overlap: neither may lie inside the other",
    ),
    "a scheduler that does not exist": (
        {"cluster": {"kind": "address", "address": "tcp://127.0.0.1:1"}},
        "cluster.address tcp://127.0.0.1:1 does not answer",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_a_clear_line_and_exit_code_2(folder, name, monkeypatch):
    change, words = WRONG[name]
    write_image(folder / "other.zarr", np.ones((5, 5), bool))
    write_image(folder / "nothing.zarr", np.zeros(SIZE, bool))
    write_stack(folder / "one.zarr", np.ones((1, 64, 72), "u1"))
    path = str(folder / "none.yaml") if change is None else write_settings(folder, **change)

    def no_pixel_is_read(self, frame, region=None):
        raise AssertionError("a frame was read")

    monkeypatch.setattr("steadystack.readers.frames.StackFrames.read", no_pixel_is_read)
    monkeypatch.setattr("steadystack.cluster.kinds.CONNECT_TIMEOUT_S", 1.0)
    done = shell("run", path)
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert all(line.startswith("error: ") for line in done.output.splitlines())


@pytest.mark.parametrize(
    ("output", "lacking", "words"),
    [
        ({"report": "drift.png"}, "matplotlib", "install steadystack[report]"),
        ({"shifts": "shifts.nc"}, "h5py", "install steadystack[netcdf]"),
        ({"shifts": "run.yaml/shifts.zarr"}, None, "overlap: neither may lie inside the other"),
    ],
)
def test_what_cannot_be_written_is_reported_before_work_starts(
    folder, monkeypatch, output, lacking, words
):
    for module in ("report.figures", "dataset.stored"):
        monkeypatch.setattr(
            f"steadystack.{module}.find_spec", lambda name: None if name == lacking else "there"
        )
    monkeypatch.setattr("steadystack.stages.measuring.measure_pairs", None)
    done = shell("run", write_settings(folder, output=output))
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert done.output.count("error: ") == 1


def test_an_interrupted_run_says_how_to_go_on(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "run", interrupted)
    done = shell("run", write_settings(folder))
    assert done.exit_code == 130
    assert "stopped by Ctrl-C; `steadystack run /" in done.output
    assert "run.yaml` continues from there" in done.output


def test_an_untrustworthy_result_is_exit_code_3(tmp_path):
    write_stack(tmp_path / "stack.zarr", np.zeros((3, 64, 72), "u1"))
    done = shell("run", write_settings(tmp_path))
    assert done.exit_code == 3
    assert "3 of 3 frames have no shift: 3 flat" in done.output


def test_init_and_check_say_when_they_try_pairs_and_how_far_they_are(folder, monkeypatch):
    """On standard error: what they print can be read by programs."""
    told = "pilot: trying a few pairs, as a run does before measuring"
    drafted = shell("init", folder / "stack.zarr")
    assert drafted.stderr.splitlines() == [told]
    assert told not in drafted.stdout
    (folder / "new.yaml").write_text(drafted.stdout)
    monkeypatch.setattr(run_log, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(run_log, "ELAPSED_FRACTION", 0.0)
    checked = shell("check", folder / "new.yaml")
    lines = checked.stderr.splitlines()
    assert told in lines
    assert re.search(r"^pilot, measuring: [1-8] of 8 pairs \(", "\n".join(lines), re.MULTILINE)
    assert not [line for line in checked.stdout.splitlines() if line in lines]
    assert not run_log.meter_log.handlers
