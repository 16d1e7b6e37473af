"""What tasks run on (a Dask client, or this process), and how many failures are tolerated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from distributed import Client


class Settings(Protocol):
    """The `cluster` section of the settings, which defines and explains the defaults."""

    @property
    def kind(self) -> str: ...
    @property
    def starts_cluster(self) -> bool: ...
    @property
    def uses_batch_jobs(self) -> bool: ...
    @property
    def workers(self) -> int | None: ...
    @property
    def minimum(self) -> int | None: ...
    @property
    def threads_per_worker(self) -> int: ...
    @property
    def worker_memory(self) -> str | None: ...
    @property
    def workers_per_job(self) -> int: ...
    @property
    def walltime(self) -> str | None: ...
    @property
    def queue(self) -> str | None: ...
    @property
    def account(self) -> str | None: ...
    @property
    def directives(self) -> Sequence[str]: ...
    @property
    def prologue(self) -> Sequence[str]: ...
    @property
    def interface(self) -> str | None: ...
    @property
    def job_folder(self) -> str: ...
    @property
    def address(self) -> str | None: ...
    @property
    def scheduler_file(self) -> str | None: ...
    @property
    def security(self) -> Any: ...
    @property
    def dashboard(self) -> bool: ...
    @property
    def retries(self) -> int: ...
    @property
    def max_failed(self) -> float: ...
    @property
    def lost_after(self) -> float: ...
    @property
    def worker_timeout(self) -> float | None: ...


@dataclass(frozen=True, eq=False)
class Cluster:
    """A client, and the failures tolerated on its cluster: none by default.

    Attributes
    ----------
    client : Dask client; None: tasks run in this process
    retries : how often a task is tried again after an error or the death of its worker
    max_failed : the fraction of the work that may fail in the end
    worker_timeout : seconds to wait without any worker; None: forever
    threads : how many threads its workers are to have; there may be fewer, or more
    explain_no_workers : says why no worker will come any more; "" while one may
    """

    client: Client | None = None
    retries: int = 0
    max_failed: float = 0.0
    worker_timeout: float | None = 60.0
    threads: int = 1
    explain_no_workers: Callable[[], str] = str

    def count_threads(self) -> int:
        """Count the threads to cut tasks for: those present, or expected."""
        present = 0
        if self.client is not None:
            with suppress(OSError):  # the scheduler may be gone, which tasks will report
                present = sum(self.client.nthreads().values())
        return max(self.threads, present)


Engine: TypeAlias = "Cluster | Client | None"  # None: in this process


def as_cluster(engine: Engine) -> Cluster:
    """Wrap a client, or None for this process, as a `Cluster`; a cluster stays as it is."""
    return engine if isinstance(engine, Cluster) else Cluster(engine)


def get_current_client() -> Client | None:
    """Get the client that Dask would use here; None if there is none."""
    if "distributed" not in sys.modules:  # slow to import; without it there is no client
        return None
    from distributed import Client

    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


def share(engine: Engine, value: Any) -> Any:
    """Send a value that every task needs to all workers once; returns what to pass to tasks.

    For values that are too large to be sent with each task. Every worker has a copy, so that the
    value is not lost with one of them. In this process it is the value itself.
    """
    client = as_cluster(engine).client
    return value if client is None else client.scatter(value, hash=False, broadcast=True)
