"""Batch jobs: what their scripts ask of each batch system, and jobs that cannot be submitted."""

from __future__ import annotations

import subprocess

import pytest

from steadystack.cluster import jobs
from steadystack.config import ClusterSection
from steadystack.model import InputError

SETTINGS = {
    "workers": 4,
    "workers_per_job": 2,
    "threads_per_worker": 3,
    "worker_memory": "2 GiB",
    "interface": "lo",
    "queue": "short",
    "account": "drift",
    "walltime": "01:30:00",
    "prologue": ["module load python"],
}
# What each batch system is to read in a script: 2 workers of 3 threads and 2 GiB in one job.
HEADERS = {
    "slurm": [
        "#SBATCH -p short", "#SBATCH -A drift", "#SBATCH -n 1", "#SBATCH --cpus-per-task=6",
        "#SBATCH --mem=4G", "#SBATCH -t 01:30:00", "#SBATCH --own",
    ],
    "pbs": [
        "#PBS -q short", "#PBS -A drift", "#PBS -l select=1:ncpus=6:mem=4096MB",
        "#PBS -l walltime=01:30:00", "#PBS --own",
    ],
    "sge": ["#$ -q short", "#$ -P drift", "#$ -l h_rt=01:30:00", "#$ --own"],
    "lsf": [
        "#BSUB -q short", '#BSUB -P "drift"', "#BSUB -n 6", '#BSUB -R "span[hosts=1]"',
        "#BSUB -W 01:30", "#BSUB --own",
    ],
}  # fmt: skip


@pytest.fixture
def every_command(monkeypatch):
    """As if every batch system were there."""
    monkeypatch.setattr(jobs.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.parametrize("kind", HEADERS)
def test_scripts_ask_for_what_the_settings_say(kind, tmp_path, every_command):
    settings = ClusterSection(
        kind=kind,
        job_folder=str(tmp_path / "jobs"),
        directives=["--own"],
        **SETTINGS,
    )
    with jobs.open_job_cluster(settings, 4) as cluster:
        script = cluster.job_script()
        folders = list((tmp_path / "jobs").glob("certificates-*"))
    lines = script.splitlines()
    assert [header for header in HEADERS[kind] if header not in lines] == [], script
    assert lines.index("export PYTHONSAFEPATH=1") < lines.index("module load python")
    command = lines[-1]
    assert lines.index("module load python") < len(lines) - 1
    for words in ("tls://127.0.0.1:", "--nworkers 2", "--nthreads 3", "--memory-limit 2.00GiB"):
        assert words in command
    for role in ("--tls-ca-file", "--tls-cert", "--tls-key"):
        assert f"{role} {folders[0]}/" in command
    assert "BEGIN" not in script  # the key itself
    assert not list((tmp_path / "jobs").glob("certificates-*"))
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("given", "asked"),
    [("01:30:00", "01:30"), ("0:59:01", "01:00"), ("100:00:00", "100:00"), (None, None)],
)  # fmt: skip
def test_lsf_is_asked_for_hours_and_minutes(given, asked):
    settings = ClusterSection(kind="lsf", **SETTINGS | {"walltime": given})
    assert jobs._format_walltime(settings) == asked


def test_workers_of_jobs_serve_no_pages(tmp_path, every_command):
    settings = ClusterSection(kind="slurm", job_folder=str(tmp_path), **SETTINGS)
    with (
        jobs.dask.config.set(jobs.make_page_configuration(settings)),
        jobs.open_job_cluster(settings, 4) as cluster,
    ):
        assert "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'" in cluster.job_script()


@pytest.mark.parametrize(("kind", "command"), jobs.SUBMIT_COMMANDS.items())
def test_a_batch_system_that_is_not_here_is_reported(kind, command, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs.shutil, "which", lambda name: None)
    settings = ClusterSection(kind=kind, job_folder=str(tmp_path), **SETTINGS)
    with (
        pytest.raises(InputError, match=rf"kind {kind}: there is no command {command} on"),
        jobs.open_job_cluster(settings, 4),
    ):
        pass


def test_why_a_job_cannot_be_submitted_is_the_words_of_the_command():
    wrote = "Command exited with non-zero exit code.\nExit code: 1\nCommand:\nqsub a.sh\nstdout:\n"
    both = f"{wrote}started\n\nstderr:\nUnable to run job: no queue.\nExiting.\n\n"
    assert jobs._find_reason(both) == "Unable to run job: no queue.; Exiting."
    assert jobs._find_reason(f"{wrote}full\n\nstderr:\n\n") == "full"
    assert jobs._find_reason("no such file") == "no such file"
