"""Watch the workers and scheduler of a cluster, so that nothing is awaited in vain."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from steadystack.cluster import worker_check
from steadystack.cluster.engines import Cluster
from steadystack.model import RunError

if TYPE_CHECKING:
    from distributed import Client

# How long a list of workers counts as current, seconds, as every task asks for it.
LIST_INTERVAL_S = 1.0
RECONNECT_STEP_S = 0.1
# How long a worker must be missing from the list to count as gone, seconds; by then its tasks have
# been returned.
GONE_S = 3.0


class Watch:
    """The workers of a cluster when last seen."""

    def __init__(self, cluster: Cluster, client: Client) -> None:
        self.cluster, self.client = cluster, client
        self.threads: dict[str, int] = {}
        self.last_in_list: dict[str, float] = {}
        self.last_listed = -LIST_INTERVAL_S
        self.last_seen = time.monotonic()  # when there was a worker that takes tasks

    def list_workers(self) -> dict[str, int]:
        """List the number of threads by worker address, as it was a moment ago.

        Raises InputError if a worker, which may be new, does not run what this process runs.
        """
        if time.monotonic() - self.last_listed > LIST_INTERVAL_S:
            with suppress(OSError):
                self.threads = dict(self.client.nthreads())
                self.last_listed = time.monotonic()
                self.last_in_list |= dict.fromkeys(self.threads, self.last_listed)
            worker_check.check_workers(self.client, self.threads)
        return self.threads

    def check_workers(self) -> None:
        """Raise InputError if a worker does not run what this process runs.

        For tasks or results that could not be unpickled; waits for the workers' answers.
        """
        self.last_listed = -LIST_INTERVAL_S
        worker_check.check_workers(self.client, self.list_workers(), worker_check.PATIENCE_S)

    def note_death(self, worker: str) -> None:
        """Note that a worker has died, before the list says so."""
        self.threads.pop(worker, None)
        self.last_listed = -LIST_INTERVAL_S

    def is_gone(self, worker: str) -> bool:
        """Whether a worker is no longer in the list, and was not for some time."""
        return self.last_listed - self.last_in_list.get(worker, 0.0) > GONE_S

    def check(self) -> None:
        """Raise RunError if the scheduler is gone, or if there was no worker for too long."""
        if self.client.status != "running":
            self.wait_for_scheduler()
        with suppress(OSError, KeyError):
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            if any(worker["status"] == "running" for worker in workers):
                self.last_seen = time.monotonic()
                return
        idle_s = time.monotonic() - self.last_seen
        limit = self.cluster.worker_timeout
        reason = self.cluster.explain_no_workers()
        if limit is not None and idle_s > limit:
            reason = reason or f"no worker was connected for {limit:g} s (cluster.worker_timeout)"
        if reason:
            raise RunError(
                f"{reason}; what was measured is saved: run the same command to continue"
            )

    def wait_for_scheduler(self) -> None:
        """Wait until a lost scheduler is back; raises RunError if the client gives it up."""
        while self.client.status == "connecting":
            time.sleep(RECONNECT_STEP_S)
        if self.client.status != "running":
            raise RunError(
                "the Dask scheduler is gone; what was measured is saved: run the same command "
                "with a running scheduler to continue"
            )
