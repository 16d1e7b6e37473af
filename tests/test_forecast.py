"""What a run will need: as it is measured, and kept to where memory is little."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr

import steadystack
from helpers import rough
from steadystack import stages
from steadystack.cluster.memory import cgroup_limit
from steadystack.config import make_config
from steadystack.measure import Sample, flat_field_bytes, polish_bytes, static_bytes
from steadystack.measure import refinement as polishing
from steadystack.measure.method import own_flat_field
from steadystack.outputs import write_stack
from steadystack.planning import in_memory, plan_of, set_up, workers_that_fit
from steadystack.planning.forecast import needs_of
from steadystack.planning.layout import OWN_BYTES, WORKER_BYTES
from steadystack.readers import ArrayFrames

MIB = 2**20
ROOT = Path(__file__).parents[1]


def drifting(side=128, count=30, drift=12):
    scene = rough(3, (side + drift, side + drift), 1)
    steps = np.linspace(0, drift, count).round().astype(int)
    return np.stack([scene[s : s + side, s : s + side] for s in steps]).astype("f4"), steps


def opened(frames, **sections):
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), None)
    given = {"input": {"path": "memory"}, "register": {"max_shift": 8}} | sections
    return set_up(make_config(given), in_memory(source)), source


def peak_of(function):
    function()  # what is set up once is not of the task
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("held", [2**28, 0])
def test_the_memory_of_the_polish_is_as_forecast(monkeypatch, held):
    monkeypatch.setattr(polishing, "HELD_BYTES", held)
    frames, steps = drifting()
    setup, source = opened(frames)
    method = replace(setup.method, search=polishing._search(source, setup.method), keep=())
    shifts = -np.repeat(steps[:, None], 2, axis=1).astype(float)
    (group,) = polishing._groups(shifts, np.zeros(len(frames), int), method.search.shape)
    peak = peak_of(lambda: polishing.measure_group(group, source, method))
    planned = polish_bytes(128 * 128, 0) * (30 / 64 if held else 1)  # of members, at most 64
    assert 0.4 * planned < peak < 1.05 * planned


def test_the_memory_of_flat_field_and_static_image_is_as_forecast():
    frames, _ = drifting(512)
    setup, source = opened(frames)
    planned = flat_field_bytes(len(frames), 512 * 512, 4)
    # The frames are there already: those of a store would be in it, too.
    assert 0.3 * planned < peak_of(lambda: own_flat_field(source, setup.method)) < planned
    frames, steps = drifting()
    setup, source = opened(frames)
    sample = Sample(source, setup.method, setup.size, np.arange(30), np.ones(30))
    shifts = -np.repeat(steps[:, None], 2, axis=1).astype(float)
    planned = static_bytes(128 * 128)
    assert 0.4 * planned < peak_of(lambda: sample.separated(shifts, passes=4)) < planned


def here(monkeypatch, size, cores=4):
    monkeypatch.setattr("steadystack.planning.layout.memory_here", lambda: size)
    monkeypatch.setattr("steadystack.planning.forecast.memory_here", lambda: size)
    monkeypatch.setattr("steadystack.planning.layout.CPU_COUNT", cores)


def test_where_memory_is_little_tasks_get_smaller_and_workers_fewer(monkeypatch):
    frames, _ = drifting()
    found = []
    for size in (8000, 2000, 900, 700, 520):
        here(monkeypatch, size * MIB)
        setup, _ = opened(frames, cluster={"kind": "local"})
        plan = plan_of(setup)
        assert plan.workers * plan.worker_bytes <= 0.8 * plan.memory_bytes
        assert plan.workers * plan.worker_bytes + plan.own_bytes <= plan.memory_bytes
        assert plan.worker_bytes >= WORKER_BYTES + plan.task_bytes
        found.append((plan.workers, plan.task_bytes))
    workers, task_bytes = zip(*found, strict=True)
    assert workers == (4, 4, 4, 2, 1)
    assert list(task_bytes) == sorted(task_bytes, reverse=True)
    assert task_bytes[-1] < task_bytes[0] / 2


@pytest.mark.parametrize(
    ("cluster", "solve", "words"),
    [
        ({"kind": "local"}, {}, "lower register.max_shift"),
        ({"kind": "local", "threads_per_worker": 4}, {}, "lower cluster.threads_per_worker 4 or"),
        ({"kind": "local", "task_memory": "600 MiB"}, {}, "lower cluster.task_memory 600 MiB or"),
        ({"kind": "in-process"}, {"polish": 1}, "set solve.polish to 0"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_key_to_change(monkeypatch, cluster, solve, words):
    here(monkeypatch, OWN_BYTES + 10 * MIB)
    frames, _ = drifting(side=256)
    setup, _ = opened(frames, cluster=cluster, solve=solve)
    with pytest.raises(steadystack.InputError, match=words) as refused:
        workers_that_fit(setup)
    assert f"{(OWN_BYTES + 10 * MIB) // MIB} MiB here" in str(refused.value)


def test_the_forecast_counts_what_is_read_besides(tmp_path):
    frames, _ = drifting()
    plain = plan_of(opened(frames)[0])
    assert plain.further_bytes == 0
    assert plain.polish_bytes == 0
    polished = plan_of(opened(frames, solve={"polish": 2})[0])
    assert polished.further_bytes == 6 * frames.nbytes
    assert polished.polish_bytes > 13 * 64 * 128 * 128
    needs = needs_of(opened(frames, solve={"polish": 2})[0])
    assert polished.worker_bytes == WORKER_BYTES + max(needs.task, needs.polish)
    static = plan_of(opened(frames, preprocess={"static": "estimate"})[0])
    assert static.further_bytes == 12 * frames.nbytes
    assert static.own_bytes - plain.own_bytes >= static_bytes(128 * 128)
    lines = dict(polished.rows())
    assert "more" in lines["to read"]
    assert "MiB" in lines["task of polish"]
    assert "MiB each, of" in lines["workers"]


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


@pytest.mark.parametrize("kind", ["ulimit", "control group"])
def test_a_run_under_a_memory_limit_goes_on_with_fewer_workers(tmp_path, kind):
    """A real limit, of the system; the control group's kills what goes beyond it."""
    frames, _ = drifting()
    write_stack(tmp_path / "stack.zarr", frames)
    settings = {
        "input": {"path": "stack.zarr"},
        "register": {"max_shift": 8},
        "cluster": {"kind": "local", "workers": 3},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    with limited_to(kind, 560 * MIB) as limit:
        told = []
        for command in ("plan", "run"):
            done = subprocess.run(
                [sys.executable, "-m", "steadystack", command, tmp_path / "run.yaml"],
                cwd=ROOT, capture_output=True, text=True, check=False, **limit,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            told.append(done.stdout + done.stderr)
    assert "2 of 3, " in told[0]
    assert "of 560 MiB here" in told[0]
    assert "2 of 3 workers fit into the memory here" in told[1]
    assert "good" in told[1]
    assert "2 of 3 workers fit" in (tmp_path / "run.log").read_text()


def test_the_limit_of_a_batch_job_is_that_of_its_group_or_one_above(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "mount"
    for place, limit in (
        ("slurm/job_1/step_2", "max"), ("slurm/job_1", "700"), ("slurm", "900"),
        ("memory/job/step", "650"), ("cpu/job", "3"),
    ):  # fmt: skip
        (mount / place).mkdir(parents=True, exist_ok=True)
        for name in ("memory.max", "memory.limit_in_bytes"):
            (mount / place / name).write_text(limit + "\n")
    for lines, limit in (
        ("0::/slurm/job_1/step_2", 700),
        ("5:cpu:/job\n4:memory:/job/step\n0::/", 650),
        ("4:cpu,memory:/somewhere/else", sys.maxsize),
        ("0::/slurm", 900),
    ):
        groups.write_text(lines + "\n")
        assert cgroup_limit(groups, mount) == limit
    assert cgroup_limit(tmp_path / "none", mount) == sys.maxsize


def test_the_performance_report_is_written_on_request(tmp_path):
    pytest.importorskip("bokeh", reason="Dask draws its report with bokeh: steadystack[dashboard]")
    frames, _ = drifting(count=8)
    write_stack(tmp_path / "stack.zarr", frames)
    config = make_config(
        {
            "input": {"path": "stack.zarr"},
            "register": {"max_shift": 8},
            "output": {"performance_report": "dask.html"},
            "cluster": {"kind": "local", "workers": 1},
        },
        tmp_path,
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


@pytest.mark.parametrize("border", ["keep", "crop", "expand"])
def test_the_plan_tells_of_the_corrected_stack(tmp_path, border):
    """Before the shifts are known as if nothing moved, then what is written to the byte."""
    frames, _ = drifting(64, 5, 8)
    write_stack(tmp_path / "stack.zarr", frames)
    output = {name: str(tmp_path / f"{name}.zarr") for name in ("shifts", "corrected")}
    config = make_config(
        {
            "input": {"path": str(tmp_path / "stack.zarr")},
            "register": {"max_shift": 12},
            "correct": {"border": border, "levels": 2},
            "cluster": {"kind": "in-process"},
            "output": {"shifts": output["shifts"]},
        }
    )
    assert stages.plan(config).corrected is None
    config = config.model_copy(update={"output": config.output.model_copy(update=output)})
    before = stages.plan(config).corrected
    assert (before.shape, before.levels, before.known) == ((5, 64, 64), 2, False)
    assert before.rows()[0] == ("corrected", "(5, 64, 64) if nothing moved in 2 level(s)")
    stages.run(config)
    after, written = stages.plan(config).corrected, zarr.open_group(output["corrected"], mode="r")
    arrays = [written[name] for name in "01"]
    assert after.known
    assert after.shape == arrays[0].shape
    assert after.written_bytes == sum(array.nbytes for array in arrays)
    assert (after.shape == before.shape) == (border == "keep")
