"""Run workers as jobs of a batch system, with dask-jobqueue."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
from dask.utils import format_bytes, parse_bytes
from distributed import Security, Status

from steadystack.cluster.engines import Settings
from steadystack.model import InputError


def make_security(settings: Settings) -> Security | None:
    """Make the certificates of a cluster, the same for scheduler, workers and client.

    None: those of Dask's own configuration, if any. Anyone who can reach a scheduler can run code,
    over the network of batch jobs or as another user of this machine; so clusters that a run starts
    have temporary certificates unless the settings say otherwise.
    """
    choice = settings.security
    if choice == "none" or (choice is None and not settings.starts_cluster):
        return None
    if choice is None or choice == "temporary":
        security: Security = Security.temporary()
        return security
    for name in ("ca", "cert", "key"):
        path = getattr(choice, name)
        if not Path(path).is_file():
            raise InputError(f"cluster.security.{name} {path} does not exist")
    return _read_certificates(choice.ca, choice.cert, choice.key)


def write_certificates(security: Security, folder: str) -> Security:
    """Write temporary certificates, for other machines, to a folder that nobody else can read."""
    worker_config = security.get_tls_config_for_role("worker")
    keys = {"ca": "ca_file", "cert": "cert", "key": "key"}
    texts = {name: worker_config[key] for name, key in keys.items()}
    paths = {name: str(Path(folder) / f"{name}.pem") for name in texts}
    for name, text in texts.items():
        with open(paths[name], "x", opener=_open_private) as file:
            file.write(text)
    return _read_certificates(**paths)


def _open_private(path: str, flags: int) -> int:
    """Open a file that nobody but its owner can read, from its first byte on."""
    return os.open(path, flags, 0o600)


def _read_certificates(ca: str, cert: str, key: str) -> Security:
    roles = ("client", "scheduler", "worker")
    security: Security = Security(
        require_encryption=True,
        tls_ca_file=ca,
        **{f"tls_{role}_cert": cert for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # not PEM, or the key does not match the certificate
        raise InputError(
            f"cluster.security: ca {ca}, cert {cert} and key {key} are not a certificate with its "
            f"authority and its key, in PEM: {error}"
        ) from error
    return security


CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
}
SUBMIT_COMMANDS = {"slurm": "sbatch", "pbs": "qsub", "sge": "qsub", "lsf": "bsub"}
ACCOUNT_OPTION = {"slurm": "account", "pbs": "account", "sge": "project", "lsf": "project"}
# Python looks for modules in the working folder first, which is the user's: a module there would be
# run in place of a library of the same name.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
# How long a worker, and its job, lives without reaching its scheduler, seconds.
DEATH_TIMEOUT_S = 60
ERROR_LINE = re.compile(r"\w+(Error|Exception)\b")  # the last line of a traceback
# While there is no worker: how often the queue is asked for jobs, how long it may take to answer,
# and how long it may be empty between jobs, seconds.
QUEUE_STEP_S, QUEUE_TIMEOUT_S, GRACE_S = 5.0, 30.0, 20.0


@contextmanager
def open_job_cluster(settings: Settings, workers: int) -> Iterator[Any]:
    """Start a scheduler here whose workers are batch jobs; they are cancelled at the end."""
    try:
        import dask_jobqueue
    except ImportError as error:
        raise InputError(
            f"cluster.kind {settings.kind} needs dask-jobqueue: install steadystack[jobqueue]"
        ) from error
    command = SUBMIT_COMMANDS[settings.kind]
    if shutil.which(command) is None:
        raise InputError(
            f"cluster.kind {settings.kind}: there is no command {command} on this machine: start "
            "the run where jobs can be submitted"
        )
    folder = Path(settings.job_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="certificates-", dir=folder) as certificate_folder:
        security = make_security(settings)
        if security is not None and settings.security in (None, "temporary"):
            security = write_certificates(security, certificate_folder)
        options = _make_options(settings) | {
            "security": security,
            "shared_temp_directory": certificate_folder,
        }
        cluster_class = getattr(dask_jobqueue, CLASSES[settings.kind])
        options["job_cls"] = _watch_submissions(cluster_class.job_cls)
        try:
            cluster = cluster_class(**options)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"cluster.kind {settings.kind}: {error}") from error
        with cluster:
            yield cluster


def make_scheduler_options(settings: Settings) -> dict[str, Any]:
    """Make the options of a scheduler that a run starts: whether, and where, it has a dashboard."""
    return {"dashboard": settings.dashboard, "dashboard_address": "127.0.0.1:0"}


def make_page_configuration(settings: Settings) -> dict[str, Any]:
    """Make Dask's configuration of the pages that schedulers and workers serve: none by default.

    They show tasks, hosts and logs to anyone, without a certificate.
    """
    kinds = () if settings.dashboard else ("scheduler", "worker")
    return {f"distributed.{kind}.http.routes": [] for kind in kinds}


def _make_options(settings: Settings) -> dict[str, Any]:
    per_job = settings.workers_per_job
    optional = {
        "queue": settings.queue,
        "walltime": _format_walltime(settings),
        ACCOUNT_OPTION[settings.kind]: settings.account,
    }
    return {
        "cores": per_job * settings.threads_per_worker,
        "processes": per_job,
        "memory": format_bytes(per_job * parse_bytes(settings.worker_memory or "0")),
        "interface": settings.interface,
        "scheduler_options": make_scheduler_options(settings),
        "job_extra_directives": list(settings.directives),
        "job_script_prologue": [*_make_environment(settings), *settings.prologue],
        "worker_extra_args": ["--no-dashboard"],
        "death_timeout": DEATH_TIMEOUT_S,
        "log_directory": settings.job_folder,
        "silence_logs": logging.CRITICAL,
        **{key: value for key, value in optional.items() if value is not None},
    }


def _format_walltime(settings: Settings) -> str | None:
    """Format the time limit as the batch system wants it: LSF only accepts hours and minutes."""
    numbers = (settings.walltime or "").split(":")
    if settings.kind != "lsf" or len(numbers) != 3 or not all(map(str.isdecimal, numbers)):
        return settings.walltime
    hours, minutes, seconds = map(int, numbers)
    minutes += 60 * hours + (seconds > 0)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _make_environment(settings: Settings) -> Iterator[str]:
    """Make the script lines that pass this process's Dask configuration to workers.

    They come before the user's own lines, which can override them.
    """
    for name, value in SAFE_PATH.items():
        yield f"export {name}={value}"
    memory_keys = [f"distributed.worker.memory.{key}" for key in ("target", "spill", "pause")]
    names = ["distributed.comm.timeouts.tcp", *memory_keys, *make_page_configuration(settings)]
    for name in names:
        variable = name.upper().replace(".", "__").replace("-", "_")
        yield f"export DASK_{variable}={shlex.quote(str(dask.config.get(name)))}"
    for name, value in dask.config.get("distributed.nanny.pre-spawn-environ").items():
        yield f"export {name}={value}"


def _watch_submissions(job_class: Any) -> Any:
    """Make a class of jobs that records in `refusal` since when, and why, submitting fails.

    Dask silently tries again and again; nor can it close a job that never began.
    """

    class SubmittedJob(job_class):  # type: ignore[misc]
        refusal: tuple[float, str] | None = None

        async def start(self) -> None:
            noted = type(self)
            try:
                await super().start()
            except Exception as error:
                self.status = Status.failed
                since = noted.refusal[0] if noted.refusal else time.monotonic()
                noted.refusal = since, _find_reason(str(error))
                raise
            noted.refusal = None

    return SubmittedJob


def _find_reason(error: str) -> str:
    """Find what a failed command wrote to stderr, or else to stdout, as one line."""
    written, _, complaint = error.partition("\nstdout:\n")[2].partition("\nstderr:\n")
    text = complaint.strip() or written.strip() or error
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


class JobQueue:
    """Explains, when called, why no job will start a worker; "" while one may.

    Failed submissions are reported for all batch systems. Only for Slurm: a job that left the queue
    before its worker connected has failed.
    """

    def __init__(self, settings: Settings, cluster: Any) -> None:
        self.kind, self.folder, self.cluster = settings.kind, settings.job_folder, cluster
        # When the queue was last asked, and when it last had a job.
        self.last_query = self.last_job_seen = -QUEUE_STEP_S

    def __call__(self) -> str:
        now = time.monotonic()
        refusal = getattr(getattr(self.cluster, "job_cls", None), "refusal", None)
        if refusal is not None and now - refusal[0] > GRACE_S:
            return (
                f"cluster.kind {self.kind}: no job can be submitted: {refusal[1]} (see "
                "cluster.queue, account, walltime and directives)"
            )
        if self.kind != "slurm" or now - self.last_query < QUEUE_STEP_S:
            return ""
        self.last_query = now
        jobs = [job.job_id for job in self.cluster.workers.values() if getattr(job, "job_id", None)]
        if not jobs or self.last_job_seen < 0 or _is_in_queue(jobs):
            self.last_job_seen = now
        if now - self.last_job_seen < GRACE_S:
            return ""
        return f"the workers' jobs ended before any worker connected{_read_last_error(self.folder)}"


def _is_in_queue(jobs: Sequence[str]) -> bool:
    """Whether Slurm still knows one of these jobs as waiting or running; True if it is silent."""
    command = ["squeue", "--noheader", "--format=%i", "--jobs", ",".join(map(str, jobs))]
    try:
        completed = subprocess.run(
            command, capture_output=True, text=True, timeout=QUEUE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    is_forgotten = "Invalid job id" in completed.stderr
    return not is_forgotten and (completed.returncode != 0 or bool(completed.stdout.strip()))


def _read_last_error(folder: str) -> str:
    """Read the last error, or else the last line, from the latest log of a worker's job."""
    logs = sorted(Path(folder).glob("*.err"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return f" and left no log in {folder}"
    lines = logs[-1].read_text(errors="replace").strip().splitlines()
    # A worker that cannot read a task logs the reason, then that it ends.
    errors = [number for number, line in enumerate(lines, start=1) if ERROR_LINE.match(line)]
    if errors and " - INFO - " in lines[-1]:
        lines = lines[: errors[-1]]
    return (
        f": {lines[-1] if lines else 'its log is empty'}{_find_file_at_fault(lines)} ({logs[-1]})"
    )


def _find_file_at_fault(lines: Sequence[str]) -> str:
    """Find the file, perhaps the user's, that caused an error at the end of a log; "": none."""
    if files := [line.split('"')[1] for line in lines[-4:] if line.startswith('  File "')]:
        return f", in {files[-1]}"
    if lines and (name := re.search(r"'(\w+)' is not a package", lines[-1])):
        return f": a file {name[1]}.py is imported instead of the library"
    return ""
