"""A Dask client from settings."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import dask
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from pipeline.cluster.limits import cgroup_limit
from pipeline.model import InputError

Engine: TypeAlias = Client | None  # None: in this process

CONNECT_TIMEOUT_S = 10.0

# Freed memory stays with a worker for its next frame. Dask's default gives it back to the system
# after every array: half of a run's time went into getting it again (300 frames of 424 x 640).
MALLOC = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
KEPT = 2**30


@contextmanager
def connect(
    kind: str = "local",
    *,
    workers: int | None = None,
    threads_per_worker: int = 1,
    address: str | None = None,
) -> Iterator[Engine]:
    """A client for the engine of that kind, closed in the end; None means in this process.

    Parameters
    ----------
    kind : "in-process", "local" (worker processes on this machine) or "address"
    workers : worker processes of a local cluster; None: as many as there are cores
    threads_per_worker : of a local cluster
    address : of a running scheduler, such as "tcp://10.0.0.5:8786", for the kind "address"
    """
    if kind == "in-process":
        yield None
    elif kind == "local":
        with _local_cluster(workers, threads_per_worker) as cluster, Client(cluster) as client:
            yield client
    else:
        try:
            client = Client(address, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise InputError(f"cluster.address {address} does not answer: {error}") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
            except TimeoutError as error:
                raise InputError(f"cluster.address {address} has no workers") from error
            yield client


def _local_cluster(workers: int | None, threads_per_worker: int) -> LocalCluster:
    """Worker processes on this machine that leave Ctrl-C to this process."""
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main_thread else None
    try:
        with dask.config.set({f"distributed.nanny.pre-spawn-environ.{k}": KEPT for k in MALLOC}):
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=threads_per_worker,
                memory_limit=memory_here() // workers if workers else "auto",
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                # What a task raises comes back by itself; the rest is noise of workers that stop.
                silence_logs=logging.CRITICAL,
            )
    except RuntimeError as error:
        raise InputError(
            "cluster.kind local: its workers did not start; a script that starts them must do so "
            'under `if __name__ == "__main__":`'
        ) from error
    finally:
        if main_thread:
            signal.signal(signal.SIGINT, before)


def memory_here() -> int:
    """Bytes of memory that this machine, or the limit that this process is under, has."""
    return min(int(MEMORY_LIMIT), cgroup_limit())


def current_client() -> Engine:
    """The client that Dask would use here; None if there is none."""
    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


def share(client: Engine, value: Any) -> Any:
    """A value that every task needs and that is too large to send along with each of them."""
    return value if client is None else client.scatter(value, hash=False)
