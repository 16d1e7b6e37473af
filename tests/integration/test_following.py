"""`steadystack follow` in the shell: its lines, its ends, and kills of either side."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest

from steadystack import stages
from steadystack.config import load_config
from steadystack.dataset import load_shifts
from support import ROOT
from support.settings import write_run
from support.shell import shell
from support.written import append_zarr, begin_zarr, drifting

COUNT = 24
# A process that appends frames, from the first that is not whole on: kind, folder, seconds between.
WRITER = """
import sys, time
from pathlib import Path
from support.written import append_zarr, begin_zarr, drifting, write_tiff
kind, folder, pause, count = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
frames, _ = drifting(count)
if kind == "zarr" and not (folder / "stack.zarr" / "0" / "zarr.json").exists():
    begin_zarr(folder, overwrite=True)
first = len(list(folder.glob("stack.zarr/0/c/*"))) if kind == "zarr" else None
if kind == "tiff":
    first = len(list(folder.glob("stack/*.tif")))
for index in range(max(first - 1, 0), count):
    if kind == "zarr":
        append_zarr(folder, frames, index)
    else:
        write_tiff(folder, frames, index, 0.5)
        time.sleep(pause / 2)
        write_tiff(folder, frames, index)
    time.sleep(pause)
"""
SECTIONS = {
    "register": {"max_shift": 12},
    "preprocess": {"low_pass": 0.7, "high_pass": None},
    "mask": {"defects": None, "parts": None},
    "output": {"shifts": "shifts.zarr"},
}


def written(folder, count):
    frames, truth = drifting(count)
    begin_zarr(folder)
    for index in range(count):
        append_zarr(folder, frames, index)
    return truth


@pytest.mark.usefixtures("hurried")
def test_it_ends_with_the_run_of_all_frames(tmp_path):
    truth = written(tmp_path, 8)
    path = write_run(tmp_path, **SECTIONS)
    done = shell("follow", path, "--until", 5)
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3, 4]
    for line, true in zip(lines, truth, strict=False):
        assert abs(line["shift"]["y"] - true[0]) <= 5 * line["std"]["y"] + 1e-3
        assert abs(line["shift"]["x"] - true[1]) <= 5 * line["std"]["x"] + 1e-3
    assert "5 frames were followed; now running on all frames" in done.stderr
    assert ": good" in done.stderr
    other = write_run(tmp_path, "other", **SECTIONS | {"output": {"shifts": "other.zarr"}})
    whole = stages.run(load_config(other))
    found = load_shifts(str(tmp_path / "shifts.zarr"))
    assert found.sizes["frame"] == 8
    for name in ("frame_shift", "frame_shift_std", "pair_shift", "frame_status"):
        np.testing.assert_array_equal(found[name], whole[name], name)


def test_ctrl_c_ends_it_without_a_run(tmp_path, monkeypatch):
    written(tmp_path, 3)

    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("steadystack.following.awaited_frames.time.sleep", stop)
    done = shell("follow", write_run(tmp_path, **SECTIONS))
    assert done.exit_code == 130
    assert len(done.stdout.splitlines()) == 3
    assert "stopped by Ctrl-C; 3 frames were followed, and the run has not started" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"stack.zarr", "run.yaml"}


def test_several_inputs_and_no_stack_are_refused(tmp_path):
    inputs = {"path": [str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]}
    output = {"shifts": "{name}.zarr"}
    done = shell("follow", write_run(tmp_path, **SECTIONS | {"input": inputs, "output": output}))
    assert done.exit_code == 2
    assert "one stack can be followed" in done.stderr
    done = shell("follow", write_run(tmp_path, **SECTIONS), "--idle", 0)
    assert done.exit_code == 2
    assert "does not exist" in done.stderr
    assert done.stdout == ""


def start(*words, **how):
    return subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, text=True, start_new_session=True, **how
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["zarr", "tiff"])
def test_both_sides_may_be_killed(tmp_path, kind, seed):
    """Each is killed after so many lines, and started again; the last one ends with the run."""
    rng, (_, truth) = np.random.default_rng(seed), drifting(COUNT)
    path = "stack.zarr" if kind == "zarr" else "stack"
    config = write_run(tmp_path, **SECTIONS | {"input": {"path": path}})
    follow = ("-m", "steadystack", "follow", str(config), "--until", str(COUNT))
    write = ("-c", WRITER, kind, str(tmp_path), "0.15", str(COUNT))
    lines: list[list[dict]] = []
    with ExitStack() as processes:
        writer = processes.enter_context(start(*write))
        for ends_after in [*sorted(rng.integers(3, COUNT, 3).tolist()), None]:
            told = []
            writer_ends_after = int(rng.integers(1, ends_after or COUNT))
            with start(*follow, stdout=subprocess.PIPE) as follower:
                for text in follower.stdout:
                    told.append(json.loads(text))
                    if len(told) == writer_ends_after:
                        writer.kill()
                        writer = processes.enter_context(start(*write))
                    if len(told) == ends_after:
                        follower.kill()
                        break
                assert follower.wait(300) == (0 if ends_after is None else -signal.SIGKILL)
            lines.append(told)
    assert len(lines[-1]) == COUNT
    for told in lines:
        assert [line["frame"] for line in told] == list(range(len(told)))
        shift = np.array([[line["shift"][axis] for axis in "yx"] for line in told])
        std = np.array([[line["std"][axis] for axis in "yx"] for line in told])
        assert (np.abs(shift - truth[: len(told)]) <= 5 * std + 1e-3).all()
    found = load_shifts(str(tmp_path / "shifts.zarr"))
    output = {"output": {"shifts": "other.zarr"}}
    other = write_run(tmp_path, "other", **SECTIONS | {"input": {"path": path}} | output)
    whole = stages.run(load_config(other))
    for name in ("frame_shift", "frame_shift_std", "pair_shift", "frame_status"):
        np.testing.assert_array_equal(found[name], whole[name], name)
