"""Batch jobs of a real Grid Engine: workers as jobs that are replaced and cancelled."""

from __future__ import annotations

import subprocess

import pytest

import steadystack
from steadystack import stages
from steadystack.config import load_config
from support import ROOT, beds, grid_engine
from support.scenes import assert_same_numbers
from support.settings import write_run
from support.small_tasks import sections, write_walk

pytestmark = [pytest.mark.grid_engine, pytest.mark.slow, pytest.mark.xdist_group("machine")]

JOBS = {
    "kind": "sge",
    "workers": 2,
    "worker_memory": "900 MiB",
    "interface": "lo",
    "queue": "main",
    "walltime": "00:10:00",
    "directives": ["-ac note=drift"],
}


@pytest.fixture(scope="module")
def engine():
    if reason := beds.lacking(beds.GRID_ENGINE):
        pytest.skip(reason)
    bed = grid_engine.GridEngine()
    try:
        yield bed.start()
    finally:
        bed.stop()


@pytest.fixture(autouse=True)
def surroundings(engine, monkeypatch):
    """What a user has who may submit jobs."""
    grid_engine.use(engine, monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "pipeline"))


def test_workers_are_jobs_that_are_replaced_and_cancelled(engine, tmp_path):
    write_walk(tmp_path)
    export = [f"export PYTHONPATH={ROOT / 'pipeline'}"]
    paths = {
        name: write_run(tmp_path, name, **sections(name, **cluster))
        for name, cluster in (
            ("here", {"kind": "in-process"}),
            ("jobs", JOBS | {"prologue": export}),
        )
    }
    here = steadystack.run(load_config(paths["here"]))
    config = load_config(paths["jobs"])
    assert stages.plan(config).tasks >= 8
    seen: list[set[str]] = []

    def lose_one(done, total):
        if done and not seen:
            first = engine.jobs("r")
            seen.append(first)
            assert "note=drift" in engine("qstat", "-j", min(first))
            engine("qdel", min(first))
            seen.append(beds.wait_for(lambda: engine.jobs("r") - first, 60, "another job"))

    assert_same_numbers(here, steadystack.run(config, progress=lose_one))
    assert seen[1]
    beds.wait_for(lambda: not engine.jobs(), 30, "the end of all jobs")
    assert not list((tmp_path / "steadystack-jobs").rglob("*.pem"))


def test_jobs_that_the_engine_refuses_are_reported(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("steadystack.cluster.jobs.GRACE_S", 0.5)
    write_walk(tmp_path)
    wrong = JOBS | {"queue": "none-such"}
    config = load_config(write_run(tmp_path, "wrong", **sections("wrong", **wrong)))
    words = r"kind sge: no job can be submitted: .*none-such.*\(see cluster\.queue"
    with pytest.raises(steadystack.RunError, match=words):
        stages.measure(config)
    assert not engine.jobs()


def test_the_engine_is_alone(engine):
    """Its commands reach it, and no other that may run on this machine."""
    done = subprocess.run(["qconf", "-sh"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["localhost"]
