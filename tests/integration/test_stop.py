"""A run that is stopped or killed: what is saved stays, nobody is left behind, it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from steadystack import stages
from steadystack.config import load_config
from steadystack.dataset import get_journal_path, load_shifts
from steadystack.model import PairStatus
from steadystack.outputs import write_stack
from support import ROOT
from support.members import slow_but
from support.scenes import rough
from support.settings import write_run
from support.shell import shell

# Warnings are errors, but of the oldest dependencies, which use what is deprecated.
STRICT = () if os.environ.get("OLDEST") else ("-W", "error")


def started(folder, *words, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "steadystack", *words],
        cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True, text=True, **how,
    )  # fmt: skip


@pytest.fixture
def long_run(tmp_path):
    """Settings of a run that would take minutes, in many batches on two worker processes."""
    frames = np.stack([rough(seed, (120, 120), 1) for seed in range(40)])
    write_stack(tmp_path / "stack.zarr", np.tile(frames, (15, 1, 1)).astype("f4"))
    return write_run(
        tmp_path,
        mask={"defects": None, "field_of_view": None, "parts": None},
        preprocess={"low_pass": None, "high_pass": None},
        register={"max_shift": 40},
        pairs={"strategy": "window", "width": 60},
        cluster={"kind": "local", "workers": 2, "task_memory": "20 MiB"},
    )


def wait_for_rows(run, path):
    """Until batches are in the journal; the run's end is the bound."""
    while not (Path(path).exists() and os.stat(path).st_size > 2000):
        with suppress(subprocess.TimeoutExpired):
            run.wait(0.02)
            pytest.fail(run.stderr.read())


def goes_on(settings, saved):
    """Whether a further run starts from what is saved; it is stopped then."""
    told = ""
    with started(settings.parent, "run", str(settings)) as again:
        while "already measured" not in told and again.poll() is None:
            told += again.stderr.readline()
        again.send_signal(signal.SIGTERM)
        assert again.wait(60) == 128 + signal.SIGTERM
    return f"{saved} of 34170 pairs are already measured" in told


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow),
        (signal.SIGINT, True),
    ],
    ids=["SIGTERM", "Ctrl-C at the terminal"],
)
def test_a_stopped_run_saves_and_leaves_nobody_behind(long_run, number, whole_group):
    output = str(long_run.parent / "shifts.zarr")
    run = started(long_run.parent, "run", str(long_run))
    with run:
        wait_for_rows(run, get_journal_path(output))
        family = psutil.Process(run.pid).children(recursive=True)
        assert len(family) >= 2
        with pytest.raises(ValueError, match=rf"another run \(process {run.pid} on"):
            stages.solve(load_config(long_run))
        (os.killpg if whole_group else os.kill)(run.pid, number)
        told = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + number, told
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    line = rf"stopped by {name}; (\d+) of 34170 pairs are measured and saved; "
    line += rf"`steadystack run {re.escape(str(long_run))}` continues from there"
    found = re.search(line, told)
    assert found, told
    assert not psutil.wait_procs(family, timeout=30)[1]
    saved = load_shifts(output)
    assert int((saved["pair_status"] != PairStatus.UNMEASURED.code).sum()) == int(found[1]) > 0
    log = (long_run.parent / "run.log").read_text()
    assert "shifts.zarr INFO run ends after" in log
    assert "Traceback" not in told

    if not whole_group:
        assert goes_on(long_run, int(found[1]))


@pytest.mark.slow
def test_kills_at_any_instant_change_nothing(tmp_path):
    """The script does thirty of them, on worker processes."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "kill_and_resume.py",
         "--kind", "in-process", "--kills", "3", "--seed", "3"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "pipeline"), "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal bit for bit" in done.stdout


def end_at_every_step(folder, kind, stride=1):
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, *STRICT, "-m", "support.each_step", kind, folder, str(stride)],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("stride", slow_but([90], [1, 12, 90]))
def test_a_run_may_end_at_every_step_on_disk(tmp_path, stride):
    """Every file moved, deleted or appended to, and records half written: `each_step`."""
    *rows, last = end_at_every_step(tmp_path / "run", "new", stride)
    count = int(last.removeprefix("killed: ").removesuffix(" steps"))
    assert len(rows) == -(-count // stride)
    saved = {f"{count} rows were saved" for count in range(14)}
    assert saved == set(rows) if stride == 1 else saved.issuperset(rows)


@pytest.mark.slow
def test_a_run_over_an_older_result_may_end_at_every_step_on_disk(tmp_path):
    """The old or the new is whole, with its stack, and what strangers laid around stays."""
    (last,) = end_at_every_step(tmp_path / "run", "over")
    assert last.startswith("overwritten: ")
    assert int(last.split()[1]) > 30


# The commands that are walked through one after another; both cores have a share.
TOGETHER = ("measure csv json nc", "many=2", "solve correct tiff", "report picture check")


@pytest.mark.parametrize("commands", slow_but(["solve=7"], ["solve=7", "correct=7", *TOGETHER]))
def test_commands_may_end_before_every_kind_of_change_on_disk(tmp_path, commands):
    """Over an older result, with files of others around it: `each_command`.

    With a number, before every so many of the kinds.
    """
    strides = dict(name.split("=") if "=" in name else (name, 1) for name in commands.split())
    (tmp_path / "run").mkdir()
    done = subprocess.run(
        [sys.executable, *STRICT, "-m", "support.each_command", tmp_path / "run",
         *(f"{name}={stride}" for name, stride in strides.items())],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'pipeline'}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = [re.match(r"(\w+): killed (\d+) times", line) for line in done.stdout.splitlines()]
    assert [line[1] for line in told] == list(strides), done.stdout
    assert min(int(line[2]) for line in told) >= 3, done.stdout


@pytest.mark.parametrize("small_disk", ["1200k"], indirect=True)
@pytest.mark.parametrize("left", slow_but([8192], [0, 8192, 65536]))
def test_a_full_disk_under_everything_that_a_run_writes(tmp_path, small_disk, left):
    """The journal and the log, too: one line, and the run goes on when there is space."""
    frames = np.stack([np.roll(rough(0, (70, 80), 1.5), frame, 0) for frame in range(6)])
    write_stack(tmp_path / "stack.zarr", frames.astype("f4"))
    settings = write_run(
        tmp_path,
        mask={"defects": None, "field_of_view": None, "parts": None},
        preprocess={"low_pass": None, "high_pass": None},
        register={"max_shift": 8},
        output={"shifts": str(small_disk / "shifts.zarr")},
    )
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", 0) as file:  # noqa: PT012
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - left)
    with started(tmp_path, "run", str(settings)) as run:
        told = run.communicate()[1]
    assert run.returncode == 1
    assert "free some space and run the same command to continue" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert "Logging error" not in told
    filler.unlink()
    again = shell("run", settings)
    assert again.exit_code == 0, again.output
    assert load_shifts(str(small_disk / "shifts.zarr")).attrs["verdict"]
    assert "run is done" in (small_disk / "run.log").read_text()
