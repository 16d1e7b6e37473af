"""Batch jobs of a real Slurm: workers as jobs, a run as a job, parts as an array of jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import steadystack
from steadystack import stages
from steadystack.config import load_config
from steadystack.model import InputError, RunError
from support import ROOT, beds
from support.members import slow_but
from support.scenes import assert_same_numbers
from support.settings import write_run
from support.small_tasks import sections, write_walk

SCRIPT = ROOT / "scripts" / "slurm_job.sh"

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("machine")]


@pytest.fixture(scope="module")
def slurm():
    if reason := beds.lacking(beds.SLURM):
        pytest.skip(reason)
    bed = beds.Slurm()
    try:
        yield bed.start()
    finally:
        bed.stop()


@pytest.fixture(autouse=True)
def surroundings(slurm, monkeypatch):
    """What a user has who may submit jobs: the batch system, and `steadystack` on the PATH."""
    here = ROOT / "pipeline"
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    monkeypatch.setenv("PYTHONPATH", str(here))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{slurm.environment['PATH']}")
    for name in ("SLURM_CONF", "PYTHONPATH", "PATH"):
        slurm.environment[name] = os.environ[name]


def written(folder: Path, name: str, **cluster: object) -> Path:
    """The settings of a run of many small tasks."""
    return write_run(folder, name, **sections(name, **cluster))


JOBS = {
    "kind": "slurm",
    "workers": 2,
    "worker_memory": "900 MiB",
    "interface": "lo",
    "queue": "main",
    "walltime": "00:10:00",
    "directives": ["--comment=drift"],
}
ALONE = JOBS | {"workers": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    write_walk(folder)
    steadystack.run(load_config(written(folder, "here", kind="in-process")))
    return folder


@pytest.fixture
def here(folder):
    """The dataset as it is without any cluster."""
    return stages.solve(load_config(folder / "here.yaml"))


@pytest.fixture
def marks(tmp_path, monkeypatch):
    """The marks of files of the user's that were imported; they lie where jobs are submitted."""
    for name in ("pipeline", "steadystack", "queue", "dask"):
        mark = f"open({str(tmp_path / f'ran-{name}')!r}, 'w').close()"
        (tmp_path / f"{name}.py").write_text(f"{mark}\nraise RuntimeError('of a user')\n")
    monkeypatch.chdir(tmp_path)
    return lambda: list(tmp_path.glob("ran-*"))


def test_workers_are_jobs_that_are_replaced_and_cancelled(slurm, folder, here, marks):
    config = load_config(written(folder, "jobs", **JOBS))
    assert stages.plan(config).tasks >= 8
    seen: list[set[str]] = []

    def lose_one(done, total):
        if done and not seen:
            first = slurm.jobs("running")
            seen.append(first)
            lost = sorted(first)[0]
            slurm("scancel", lost)
            seen.append(beds.wait_for(lambda: slurm.jobs("running") - first, 60, "another job"))

    found = steadystack.run(config, progress=lose_one)
    assert_same_numbers(here, found)
    assert seen[1]
    beds.wait_for(lambda: not slurm.jobs(), 20, "the end of all jobs")
    for job in seen[0] | seen[1]:
        assert slurm.state(job) in ("CANCELLED", "COMPLETED", "FAILED"), job
    assert not list((folder / "steadystack-jobs").rglob("*.pem"))
    assert not marks()


def test_jobs_that_end_before_a_worker_is_there_are_reported(slurm, folder, monkeypatch):
    monkeypatch.setattr("steadystack.cluster.jobs.GRACE_S", 0.5)
    monkeypatch.setattr("steadystack.cluster.jobs.QUEUE_STEP_S", 0.5)
    words = "echo 'no such module' >&2; exit 1"
    config = load_config(written(folder, "none", **ALONE, prologue=[words]))
    with pytest.raises(RunError, match=r"workers' jobs ended before.*no such module"):
        stages.measure(config)


@pytest.mark.slow  # the first test looks for it, too
def test_jobs_import_nothing_of_the_working_folder(slurm, folder, here, marks):
    found = steadystack.run(load_config(written(folder, "beside", **JOBS)))
    assert_same_numbers(here, found)
    assert not marks()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        pytest.param(
            "steadystack",
            InputError,
            r"worker .* imports steadystack from .*steadystack\.py, which",
            marks=pytest.mark.slow,
        ),
        ("dask", RunError, r"workers' jobs ended.*RuntimeError: of a user, in .*dask\.py"),
    ],
)
def test_what_jobs_import_instead_is_named(
    slurm, folder, tmp_path, monkeypatch, name, error, words
):
    monkeypatch.setattr("steadystack.cluster.jobs.GRACE_S", 0.5)
    monkeypatch.setattr("steadystack.cluster.jobs.QUEUE_STEP_S", 0.5)
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('of a user')\n")
    monkeypatch.chdir(tmp_path)
    own = {"prologue": ["unset PYTHONSAFEPATH"], "job_folder": str(tmp_path / "logs")}
    config = load_config(written(folder, f"instead-{name}", **ALONE, **own))
    with pytest.raises(error, match=words):
        stages.measure(config)


@pytest.mark.slow  # an array of jobs goes most of this way
def test_a_run_is_a_job_with_its_own_workers(slurm, folder, here):
    path = written(folder, "job", **JOBS)  # whatever it says, the job's own workers are used
    log = folder / "job.log"
    job = slurm(
        "sbatch", "--parsable", "--ntasks=3", "--mem-per-cpu=900", f"--chdir={folder}",
        f"--output={log}", SCRIPT, path,
    )  # fmt: skip
    beds.wait_for(lambda: job in slurm.over(), 90, "the job")
    assert slurm.state(job) == "COMPLETED", log.read_text()
    assert_same_numbers(here, stages.solve(load_config(path)))
    assert not list(folder.glob("steadystack-job-*"))


@pytest.mark.parametrize("parts", slow_but([2], [2, 3]))
def test_an_array_of_jobs_measures_parts_that_are_gathered(slurm, folder, here, parts):
    path = written(folder, f"array{parts}", **ALONE)
    slurm(
        "sbatch", "--parsable", f"--array=1-{parts}", "--cpus-per-task=1", f"--chdir={folder}",
        f"--output={folder}/array{parts}-%a.log", SCRIPT, path,
    )  # fmt: skip
    beds.wait_for(lambda: not slurm.jobs(), 120, "the jobs")
    logs = "".join(log.read_text() for log in folder.glob(f"array{parts}-*.log"))
    assert len(list(folder.glob(f"array{parts}.part-*-of-{parts}.zarr"))) == parts, logs
    gathered = load_config(written(folder, f"array{parts}", kind="in-process"))
    assert_same_numbers(here, stages.solve(gathered))
    assert not list(folder.glob(f"array{parts}.part-*"))


def test_one_task_of_an_array_alone_is_refused():
    """It would take all pairs for its part."""
    alone = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1"}
    done = subprocess.run(
        ["bash", SCRIPT, "run.yaml"],
        env=os.environ | alone, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "submit the whole array again" in done.stderr) == (2, True)
