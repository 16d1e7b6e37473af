"""What a run will need: told before a pixel is read, and kept to where memory is little."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import steadystack
from steadystack import stages
from steadystack.config import make_config
from steadystack.measure import measure_batch
from steadystack.outputs import write_stack
from steadystack.pairs import batch_pairs
from steadystack.planning import make_plan, make_series, set_up
from steadystack.readers import ArrayFrames
from support import ROOT
from support.forecasts import MIB, drifting
from support.members import slow_but
from support.runs import settings, write_settings
from support.scenes import ellipse
from support.settings import config_of, write_run
from support.shell import shell


@contextmanager
def limited_to(kind, size):
    """Keyword arguments of a process under a real limit; what its kernel has, and lets us set."""
    if kind == "ulimit":
        yield {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_RSS, (size, size))}
        return
    group = Path(f"/sys/fs/cgroup/memory/steadystack-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(size))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield {"preexec_fn": lambda: (group / "tasks").write_text(str(os.getpid()))}
    finally:
        gone = time.monotonic() + 30
        while (group / "tasks").read_text().strip() and time.monotonic() < gone:
            time.sleep(0.05)  # those that the limit ended are on their way
        group.rmdir()


@pytest.mark.parametrize("kind", slow_but([], ["ulimit", "control group"]))
def test_a_run_under_a_memory_limit_goes_on_with_fewer_workers(tmp_path, kind):
    """A real limit, of the system; the control group's kills what goes beyond it."""
    frames, _ = drifting()
    write_stack(tmp_path / "stack.zarr", frames)
    workers = {"kind": "local", "workers": 3}
    path = write_run(tmp_path, register={"max_shift": 8}, cluster=workers)
    with limited_to(kind, 640 * MIB) as limit:
        told = []
        for command in ("plan", "run"):
            done = subprocess.run(
                [sys.executable, "-m", "steadystack", command, path],
                cwd=ROOT, capture_output=True, text=True, check=False, **limit,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            told.append(done.stdout + done.stderr)
    assert "2 of 3, " in told[0]
    assert "of 640 MiB here" in told[0]
    assert "2 of 3 workers fit into the memory here" in told[1]
    assert "good" in told[1]
    assert "2 of 3 workers fit" in (tmp_path / "run.log").read_text()


def test_the_performance_report_is_written_on_request(tmp_path, workers):
    pytest.importorskip("bokeh", reason="Dask draws its report with bokeh: steadystack[dashboard]")
    frames, _ = drifting(count=8)
    write_stack(tmp_path / "stack.zarr", frames)
    config = config_of(
        tmp_path,
        register={"max_shift": 8},
        output={"performance_report": "dask.html"},
        cluster=workers,
    )
    stages.run(config)
    assert "measure_batch" in (tmp_path / "dask.html").read_text()


def test_without_bokeh_the_performance_report_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("steadystack.cluster.kinds.find_spec", lambda name: None)
    config = make_config(
        {"input": {"path": "a.zarr"}, "output": {"performance_report": "dask.html"}}, tmp_path
    )
    with pytest.raises(steadystack.InputError, match=r"install steadystack\[dashboard\]"):
        stages.run(config)


@pytest.mark.parametrize("border", ["same", "crop", "expand"])
def test_the_plan_describes_the_corrected_stack(tmp_path, border):
    """Before the shifts are known as if nothing moved, then what is written to the byte."""
    frames, _ = drifting(64, 5, 8)
    write_stack(tmp_path / "stack.zarr", frames)
    output = {name: str(tmp_path / f"{name}.zarr") for name in ("shifts", "corrected")}
    config = config_of(
        tmp_path,
        register={"max_shift": 12},
        correct={"border": border, "levels": 2},
        output={"shifts": output["shifts"]},
    )
    assert stages.plan(config).corrected is None
    config = config.model_copy(update={"output": config.output.model_copy(update=output)})
    before = stages.plan(config).corrected
    assert (before.shape, before.levels, before.known) == ((5, 64, 64), 2, False)
    assert before.describe()[0] == ("corrected", "(5, 64, 64) if nothing moved in 2 level(s)")
    stages.run(config)
    after, written = stages.plan(config).corrected, zarr.open_group(output["corrected"], mode="r")
    arrays = [written[name] for name in "01"]
    assert after.known
    assert after.shape == arrays[0].shape
    assert after.written_bytes == sum(array.nbytes for array in arrays)
    assert (after.shape == before.shape) == (border == "same")


MEMORY_CASES = {
    "no mask": ((256, 256), {}),
    "one mask": ((256, 256), {"mask": "ellipse"}),
    "one mask, tiles": ((256, 256), {"mask": "ellipse", "register": {"fft_tile": 100}}),
    "high-pass": ((256, 256), {"mask": "ellipse", "preprocess": {"high_pass": 8.0}}),
    "a mask per frame": ((256, 256), {"mask": "noise"}),
    "a mask per frame, tiles": ((256, 256), {"mask": "noise", "register": {"fft_tile": 100}}),
    "a mask per frame, little memory": ((256, 256), {"mask": "noise", "memory": "10 MiB"}),
    "all lags": ((96, 96), {"register": {"max_shift": None}}),
    "volumes": ((24, 96, 96), {"mask": "ellipse", "register": {"max_shift": [3, 12, 12]}}),
}


USUAL_CASES = ("one mask", "high-pass", "a mask per frame, tiles", "all lags", "volumes")
USUAL_CASES += ("a mask per frame, little memory",)


@pytest.mark.parametrize("name", slow_but(USUAL_CASES, MEMORY_CASES))
def test_the_memory_of_a_task_is_as_planned(name):
    shape, asked = MEMORY_CASES[name]
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 999, (12, *shape)).astype("u2")
    masks = {None: None, "ellipse": ellipse(shape), "noise": rng.random(frames.shape) > 0.05}
    dims = ("t", "z", "y", "x")[:1] + ("z", "y", "x")[-len(shape) :]
    stack = xr.DataArray(frames, dims=dims)
    source = ArrayFrames.checked(stack, masks[asked.get("mask")])
    config = make_config(
        {
            "input": {"path": "memory"},
            "register": {"max_shift": 16} | asked.get("register", {}),
            "preprocess": asked.get("preprocess", {}),
            "cluster": {"kind": "in-process", "task_memory": asked.get("memory")},
        }
    )
    setup = set_up(config, make_series(source))
    batches = batch_pairs(setup.pairs, setup.size.frames, setup.size.pairs)
    pairs = setup.pairs[max(batches, key=lambda batch: setup.size.bytes_for(setup.pairs[batch]))]
    planned = make_plan(setup).task_bytes
    measure_batch(pairs, source, setup.method)  # what is set up once is not of the task
    tracemalloc.start()
    measure_batch(pairs, source, setup.method)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.8 * planned < peak < 1.1 * planned


def test_planning_opens_no_pixel(folder):
    for chunk in (folder / "stack.zarr" / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"")
    assert shell("plan", write_settings(folder)).exit_code == 0


def test_the_plan_counts_what_is_read(folder):
    plan = stages.plan(settings(folder))
    assert (plan.frames, plan.pairs, plan.tasks) == (12, 30, 1)
    assert plan.region == (60, 68)  # what the mask leaves
    assert plan.read_bytes == 12 * 60 * 68 * 2
    assert plan.max_shift == (10, 10)
