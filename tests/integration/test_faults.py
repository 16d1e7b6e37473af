"""What goes wrong on clusters, done to real ones: the dataset is the same, or says what is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager

import dask
import numpy as np
import pytest
import xarray as xr
import yaml
from click.testing import CliRunner
from distributed import Client, LocalCluster

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.cluster import Cluster, connect
from steadystack.config import ClusterSection
from steadystack.measure import batch_tasks
from steadystack.model import Frame, FrameStatus, InputError, PairStatus, RunError
from steadystack.readers import StackFrames
from support import ROOT, beds
from support.members import slow_but
from support.scenes import assert_same_numbers
from support.settings import config_of
from support.small_tasks import sections, write_walk


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    write_walk(folder)
    return folder


def settings(folder, name, **cluster):
    """Without a pilot, so that what is made to fail fails in the run."""
    off = {"low_pass": None, "high_pass": None}
    return config_of(folder, preprocess=off, **sections(name, **cluster))


@pytest.fixture(scope="module")
def here(folder):
    """The dataset as it is without any cluster."""
    return steadystack.run(settings(folder, "here", kind="in-process"))


@pytest.fixture
def engines(monkeypatch):
    """The clusters that runs connect to from now on."""
    found: list[Cluster] = []

    @contextmanager
    def noting(*args, **kwargs):
        with connect(*args, **kwargs) as cluster:
            found.append(cluster)
            yield cluster

    monkeypatch.setattr("steadystack.cluster.kinds.connect", noting)
    return found


def fail_some(monkeypatch, failing, times):
    """The next batches with these pairs raise, in this process, so many times."""
    measure_batch = batch_tasks.measure_batch
    failed = []

    def failing_batch(pairs, *rest):
        if len(failed) < times and any(tuple(pair) in failing for pair in pairs.tolist()):
            failed.append(pairs)
            raise OSError("the store is away")
        return measure_batch(pairs, *rest)

    monkeypatch.setattr("steadystack.measure.batch_tasks.measure_batch", failing_batch)


# Workers that die


def test_a_worker_that_is_killed_again_and_again_changes_nothing(folder, here, engines):
    """One of two workers dies at two parts of the way, though it is replaced."""
    killed: list[int] = []

    def kill_one(done, total):
        if len(killed) < 2 and done * 5 // total > len(killed) and done < total:
            nannies = engines[0].client.cluster.workers.values()
            alive = [nanny.process.pid for nanny in nannies if nanny.process]
            alive = [pid for pid in alive if pid is not None and not beds.ended(pid)]
            if alive:
                os.kill(alive[-1], signal.SIGKILL)
                killed.append(alive[-1])

    found = steadystack.run(settings(folder, "killed", workers=2, retries=9), progress=kill_one)
    assert len(killed) == 2
    assert_same_numbers(here, found)


def test_workers_too_small_for_a_task_are_refused(folder):
    with pytest.raises(
        InputError, match=r"worker_memory 150 MiB has 0 MiB.*lower register.max_shift"
    ):
        steadystack.run(settings(folder, "small", worker_memory="150 MiB", task_memory=None))
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            memory_limit="100 MiB",
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as small,
        pytest.raises(InputError, match="the workers have 100 MiB"),
        connect(ClusterSection(kind="address", address=small.scheduler_address), task_bytes=1),
    ):
        pass


# Tasks that raise


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_what_fails_has_a_status_and_is_measured_by_the_same_command(folder, here, monkeypatch):
    config = settings(folder, "failed", kind="in-process", retries=1, max_failed=0.5)
    with monkeypatch.context() as patch:
        fail_some(patch, {(0, 1)}, times=2)
        found = steadystack.run(config)
    failed = found["pair_status"].to_numpy() == PairStatus.FAILED.code
    assert 0 < failed.sum() < 60
    assert np.isnan(found["pair_shift"].to_numpy()[failed]).all()
    why = json.loads(found.attrs["failures"])
    assert why == {"OSError: the store is away": np.flatnonzero(failed).tolist()}
    assert "pairs failed (OSError: the store is away): run again" in found.attrs["verdict_reasons"]
    good = ~failed & (here["pair_status"].to_numpy() == PairStatus.OK.code)
    same = [one["pair_shift"].to_numpy()[good].tobytes() for one in (here, found)]
    assert same[0] == same[1]
    again = steadystack.run(config)
    assert_same_numbers(here, again)
    assert json.loads(again.attrs["failures"]) == {}


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_the_shell_says_that_pairs_failed(folder, monkeypatch):
    path = folder / "shell.yaml"
    config = settings(folder, "shell", kind="in-process", retries=0, max_failed=0.5)
    path.write_text(yaml.safe_dump(config.dump()))
    with monkeypatch.context() as patch:
        fail_some(patch, {(0, 1)}, times=1)
        done = CliRunner().invoke(main, ["run", str(path)])
    assert done.exit_code == 1
    assert "run the same command to try them again" in done.output
    assert CliRunner().invoke(main, ["run", str(path)]).exit_code == 0


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_too_many_failures_stop_the_run_and_keep_the_rest(folder, here, monkeypatch):
    config = settings(folder, "stopped", kind="in-process", retries=0, max_failed=0)
    with monkeypatch.context() as patch:
        fail_some(patch, {(14, 15)}, times=1)
        with pytest.raises(RunError, match=r"pairs failed, more than cluster.max_failed 0 allows"):
            steadystack.run(config)
    with xr.open_zarr(config.output.shifts) as kept:
        status = kept["pair_status"].to_numpy()
    assert (status == PairStatus.OK.code).any()
    assert (status == PairStatus.FAILED.code).any()
    assert_same_numbers(here, steadystack.run(config))


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_frames_that_could_not_be_read_are_read_again(folder, here, monkeypatch):
    config = settings(folder, "unread", kind="in-process")
    read = StackFrames.read

    def away(self, frame, part=None):
        if frame == 7:
            whole = tuple(slice(0, size) for size in self.frame_shape)
            shape = tuple(side.stop - side.start for side in part or whole)
            return Frame.unreadable(shape, OSError("the store is away"))
        return read(self, frame, part)

    with monkeypatch.context() as patch:
        patch.setattr(StackFrames, "read", away)
        found = steadystack.run(config)
    assert found["frame_status"][7] == FrameStatus.UNREADABLE.code
    assert_same_numbers(here, steadystack.run(config))


# Hosts and schedulers that are lost


@pytest.fixture
def hosts(tmp_path):
    if reason := beds.lacking(beds.NETNS):
        pytest.skip(reason)
    bed = beds.Hosts(("one", "two"))
    processes = []
    bed.log = (tmp_path / "log").open("wb")
    environment = os.environ | {
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "PYTHONPATH": str(ROOT / "pipeline"),
    }
    options = {"env": environment, "stdout": bed.log, "stderr": bed.log, "cwd": tmp_path}

    def start(host, *words):
        processes.append(bed.popen(host, *beds.dask(*words), **options))
        return processes[-1]

    try:
        yield bed.start(), start
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        bed.stop()
        bed.log.close()


@pytest.mark.slow
@pytest.mark.netns
@pytest.mark.xdist_group("machine")
def test_a_host_that_is_cut_off_is_gone_on_without(folder, here, hosts, tmp_path):
    bed, start = hosts
    file = tmp_path / "scheduler.json"
    start(
        "", "scheduler", "--host", bed.here, "--port", 0, "--scheduler-file", file,
        "--dashboard-address", "127.0.0.1:0",
    )  # fmt: skip
    for host in bed.names:
        start(
            host, "worker", "--scheduler-file", file, "--nthreads", 1, "--no-dashboard",
            "--host", bed.address[host],
        )  # fmt: skip
    beds.wait_for(file.exists, 60, "the scheduler")
    with Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    cut = []

    def pull_the_cable(done, total):
        if done and not cut:
            bed.cut("two")
            cut.append(time.monotonic())

    config = settings(
        folder, "cut", kind="scheduler-file", scheduler_file=str(file), lost_after=11.0
    )
    found = steadystack.run(config, progress=pull_the_cable)
    assert_same_numbers(here, found)
    assert time.monotonic() - cut[0] < 100  # bounded: a silent host is not waited for


@pytest.mark.slow
def test_a_lost_scheduler_is_reported_and_the_run_goes_on_elsewhere(folder, here, tmp_path):
    file = tmp_path / "scheduler.json"
    options = {
        "env": os.environ | {"PYTHONPATH": str(ROOT / "pipeline")},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": tmp_path,
    }
    words = [
        beds.dask("scheduler", "--host", "127.0.0.1", "--port", 0, "--dashboard-address",
                  "127.0.0.1:0", "--scheduler-file", file),
        beds.dask("worker", "--scheduler-file", file, "--nthreads", 1, "--no-dashboard", "--host",
                  "127.0.0.1", "--no-nanny"),
    ]  # fmt: skip
    processes = [subprocess.Popen([str(word) for word in one], **options) for one in words]
    where = {"kind": "scheduler-file", "scheduler_file": str(file)}
    config = settings(folder, "lost", **where)

    def kill_the_scheduler(done, total):
        if done:
            processes[0].kill()

    try:
        beds.wait_for(file.exists, 60, "the scheduler")
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
            pytest.raises(RunError, match="scheduler is gone; what was measured is saved"),
        ):
            steadystack.run(config, progress=kill_the_scheduler)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    with xr.open_zarr(config.output.shifts) as kept:
        assert (kept["pair_status"].to_numpy() == PairStatus.OK.code).sum() > 0
    assert_same_numbers(here, steadystack.run(settings(folder, "lost", kind="in-process")))


# Parts


@pytest.mark.parametrize("suffix", slow_but([".zarr"], [".zarr", ".nc"]))
def test_parts_make_the_whole(folder, here, suffix):
    def config(name):
        found = settings(folder, name, kind="in-process")
        output = found.output.model_copy(update={"shifts": str(folder / f"{name}{suffix}")})
        return found.model_copy(update={"output": output})

    whole = config("whole" + suffix[1:])
    for part in ("2/3", "1/3"):
        stages.measure(whole, batches=part)
    with pytest.raises(InputError, match=r"not measured yet|does not exist"):
        stages.solve(settings(folder, "other", kind="in-process"))
    partly = stages.solve(whole)
    missing = (partly["pair_status"] == PairStatus.UNMEASURED.code).to_numpy()
    assert 0 < missing.sum() < len(missing) / 2
    stages.measure(whole, batches="3/3")
    solved = stages.solve(whole)
    assert_same_numbers(here, solved)
    for name in ("fixed_pattern_effect", "local_motion", "mask_check"):
        assert solved.attrs[name] == here.attrs[name]
    assert not [path for path in folder.iterdir() if ".part-" in path.name]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("0/3", "part 0 of 3"),
        ("4/3", "part 4 of 3"),
        ("1-3", "such as 3/16"),
        ("1/999", "of 120 pairs"),
    ],
)
def test_parts_that_are_none_are_refused(folder, part, words):
    with pytest.raises(InputError, match=words):
        stages.measure(settings(folder, "wrong", kind="in-process"), batches=part)
