"""Start or connect to the cluster of the settings: local workers, batch jobs, or a running one."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security, performance_report
from distributed.versions import VersionMismatchWarning

from steadystack.cluster import worker_check
from steadystack.cluster.engines import Cluster, Settings
from steadystack.cluster.jobs import (
    SAFE_PATH,
    JobQueue,
    make_page_configuration,
    make_scheduler_options,
    make_security,
    open_job_cluster,
)
from steadystack.cluster.memory import check_memory, read_available_memory
from steadystack.cluster.watch import Watch
from steadystack.model import InputError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
WORKER_TIMEOUT_S = 60.0
# How long a scheduler file may be half written, seconds.
COMPLETION_TIMEOUT_S = 2.0
# The pause between checks for a worker, or a scheduler file, seconds.
POLL_S = 0.5

# Workers keep freed memory for the next frame. Dask's default returns it to the system after every
# array: getting it again took half of a run's time (300 frames of 424 x 640).
MALLOC = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), 2**30)
# A worker is killed if it takes too much memory, and its task is returned. Until then it works: one
# that pauses, with memory it cannot free, would hold its tasks for ever.
MEMORY = {f"distributed.worker.memory.{at}": False for at in ("target", "spill", "pause")}
# How long the nanny of a dead worker may take to restart it, before the worker is replaced.
REPLACEMENT_TIMEOUT = "5s"


@contextmanager
def connect(
    settings: Settings, *, most_workers: int | None = None, task_bytes: int = 0
) -> Iterator[Cluster]:
    """Start, or connect to, the cluster of the settings; it has a worker, and is closed at the end.

    Parameters
    ----------
    settings : the `cluster` section
    most_workers : for the local kind, how many workers fit into the memory; None: any number
    task_bytes : memory of a task; workers that are too small for it are an error

    Raises
    ------
    InputError
        For a cluster that cannot be reached or cannot run the tasks: other versions, too small.
    RunError
        If no worker connects within the time in the settings.
    """
    timeout = settings.worker_timeout
    if timeout is None and not settings.uses_batch_jobs:
        timeout = WORKER_TIMEOUT_S
    limits: dict[str, Any] = {
        "retries": settings.retries,
        "max_failed": settings.max_failed,
        "worker_timeout": timeout,
    }
    if settings.kind == "in-process":
        yield Cluster(None, **limits)
        return
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_make_configuration(settings)))
        if settings.starts_cluster:
            stack.enter_context(_isolate_path())
            open_cluster = open_job_cluster if settings.uses_batch_jobs else _open_local_cluster
            worker_count = min(_count_workers(settings), most_workers or sys.maxsize)
            started = stack.enter_context(open_cluster(settings, worker_count))
            client = stack.enter_context(Client(started, set_as_default=False))
            limits["threads"] = worker_count * settings.threads_per_worker
            cluster = Cluster(client, **limits, explain_no_workers=JobQueue(settings, started))
            _keep_workers(started, settings, worker_count)
        else:
            client = stack.enter_context(_connect_running(settings))
            cluster = Cluster(client, **limits)
        if settings.dashboard:
            log.info("dashboard: %s", client.dashboard_link)
        _wait_for_a_worker(cluster, client)
        worker_check.check_workers(client, client.nthreads(), worker_check.PATIENCE_S)
        check_memory(client, task_bytes)
        yield cluster


def _make_configuration(settings: Settings) -> Mapping[str, Any]:
    """Make Dask's configuration for a cluster's life, here and in workers that are started here."""
    timeouts = {"distributed.comm.timeouts.tcp": f"{settings.lost_after:g}s"}
    if not settings.starts_cluster:
        return timeouts
    return {
        **timeouts,
        **MEMORY,
        **make_page_configuration(settings),
        # Deaths are reported at once, as retries, and where they run, are decided here.
        "distributed.scheduler.allowed-failures": 0,
        "distributed.deploy.lost-worker-timeout": REPLACEMENT_TIMEOUT,
        **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in MALLOC.items()},
    }


def _count_workers(settings: Settings) -> int:
    """Count how many workers are wanted at most; by default one batch job's, or one per core.

    A batch job has the cores that it was given, not those of the machine.
    """
    if settings.workers is not None:
        return settings.workers
    if settings.uses_batch_jobs:
        return settings.workers_per_job
    allotted = os.environ.get("SLURM_CPUS_ON_NODE", "")
    cores = min(CPU_COUNT, int(allotted)) if allotted.isdigit() else CPU_COUNT
    return max(1, cores // settings.threads_per_worker)


def _keep_workers(started: Any, settings: Settings, maximum: int) -> None:
    """Let Dask maintain the wanted number of workers: a fixed scale would not replace lost ones."""
    minimum = maximum if settings.minimum is None else min(settings.minimum, maximum)
    if settings.uses_batch_jobs:  # counted in jobs, which may have several workers each
        per_job = settings.workers_per_job
        started.adapt(minimum_jobs=-(-minimum // per_job), maximum_jobs=maximum // per_job)
    else:
        started.adapt(minimum=minimum, maximum=maximum)


@contextmanager
def _isolate_path() -> Iterator[None]:
    """Keep Python processes that the block starts from importing from the working folder.

    A `socket.py` there would be imported in place of the library's, and no worker would start.
    Local workers also search where this process finds modules, such as beside a user's script.
    """
    saved = {name: os.environ[name] for name in SAFE_PATH if name in os.environ}
    os.environ.update(SAFE_PATH)
    try:
        yield
    finally:
        for name in SAFE_PATH:
            os.environ.pop(name, None)
        os.environ.update(saved)


@contextmanager
def _open_local_cluster(settings: Settings, workers: int) -> Iterator[LocalCluster]:
    """Start worker processes on this machine that leave Ctrl-C to this process."""
    is_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main_thread else None
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=settings.threads_per_worker,
            memory_limit=settings.worker_memory or read_available_memory() // workers,
            host="127.0.0.1",
            scheduler_kwargs=make_scheduler_options(settings),
            security=make_security(settings),
            # Errors of tasks are returned anyway; the rest is noise from stopping workers.
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise InputError(
            "cluster.kind local: the workers did not start; a script must start them under `if "
            '__name__ == "__main__":`'
        ) from error
    finally:
        if is_main_thread:
            signal.signal(signal.SIGINT, handler)
    with cluster:
        yield cluster


def _connect_running(settings: Settings) -> Client:
    """Connect to a scheduler that is running already, by its address or file."""
    if settings.address is not None:
        address, target = settings.address, {"address": settings.address}
        setting = f"cluster.address {address}"
    else:
        path = Path(settings.scheduler_file or "")
        setting, target = f"cluster.scheduler_file {path}", {"scheduler_file": str(path)}
        address = _read_scheduler_address(path, setting)
        if address not in setting:
            setting = f"{setting} ({address})"
    security = make_security(settings)
    _check_encryption(setting, address, security)
    try:
        # Mismatches are reported by `worker_check`, with the way out.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            return Client(
                **target, security=security, timeout=CONNECT_TIMEOUT_S, set_as_default=False
            )
    except (OSError, ValueError) as error:
        raise InputError(f"{setting} does not answer: {error}") from error


def _read_scheduler_address(path: Path, setting: str) -> str:
    """Read the address in a scheduler file, which may not exist yet, or be incomplete."""
    begun = time.monotonic()
    while True:
        try:
            text = path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise InputError(f"{setting} cannot be read: {error.strerror}") from error
        with suppress(ValueError, LookupError, TypeError):
            address = json.loads(text)["address"]
            if isinstance(address, str) and address:
                return address
        if time.monotonic() - begun > (COMPLETION_TIMEOUT_S if text else CONNECT_TIMEOUT_S):
            problem = (
                "does not hold complete JSON with an address"
                if text
                else "does not exist or is empty"
            )
            raise InputError(
                f"{setting} {problem}: start `dask scheduler --scheduler-file`, which writes it, "
                "or set cluster.address"
            )
        time.sleep(POLL_S)


def _check_encryption(setting: str, address: str, security: Security | None) -> None:
    """Raise InputError if an address does not match the certificates to reach it."""
    options = (security or Security()).get_connection_args("client")
    has_certificates = options.get("ssl_context") is not None
    is_encrypted = address.startswith(("tls://", "wss://"))
    if is_encrypted and not has_certificates:
        raise InputError(
            f"{setting} uses TLS, but no certificate is set for it: set cluster.security to that "
            "of the scheduler, {ca: ca.pem, cert: cert.pem, key: key.pem}"
        )
    if not is_encrypted and options.get("require_encryption"):
        raise InputError(
            f"{setting} does not use TLS, but cluster.security gives certificates: give an address "
            "that begins with tls://, or leave cluster.security out"
        )


def _wait_for_a_worker(cluster: Cluster, client: Client) -> None:
    """Wait until the cluster has a worker; raises RunError if none connects in time."""
    watch = Watch(cluster, client)
    while not client.nthreads():
        watch.check()
        time.sleep(POLL_S)


class ClusterOnDemand:
    """Gives the same cluster whenever it is called; the first call starts or connects to it."""

    def __init__(self, stack: ExitStack, report: str | None, settings: Settings) -> None:
        self.stack, self.report, self.settings = stack, report, settings
        self.engine = Cluster()
        self.is_started = False
        self.max_workers: int | None = None

    def __call__(self, most_workers: int | None = None, task_bytes: int = 0) -> Cluster:
        """Get the cluster, with `most_workers` worker processes at most; None: any number.

        Workers that are too small for tasks of `task_bytes` are an error. If fewer workers fit
        than at the last call, the cluster is closed and a smaller one started.
        """
        limit = self.max_workers
        needs_fewer = most_workers is not None and (limit is None or most_workers < limit)
        if not self.is_started or needs_fewer:
            self.stack.close()
            opening = connect(self.settings, most_workers=most_workers, task_bytes=task_bytes)
            self.engine = self.stack.enter_context(opening)
            self.is_started, self.max_workers = True, most_workers
            if self.report is not None and self.engine.client is not None:
                self.stack.enter_context(self.engine.client.as_current())
                self.stack.enter_context(performance_report(self.report))
        return self.engine


@contextmanager
def open_cluster_on_demand(
    settings: Settings, report: str | None = None
) -> Iterator[ClusterOnDemand]:
    """Give a cluster that starts at its first call and is closed at the end of the block.

    Parameters
    ----------
    settings : the `cluster` section
    report : path of Dask's performance report, an HTML page; None: none is written
    """
    wanting = {
        "output.performance_report": report is not None,
        "cluster.dashboard": settings.dashboard and settings.starts_cluster,
    }
    for key, is_wanted in wanting.items():
        if is_wanted and find_spec("bokeh") is None:
            raise InputError(f"{key} needs bokeh: install steadystack[dashboard], or leave it out")
    with ExitStack() as stack:
        yield ClusterOnDemand(stack, report, settings)
