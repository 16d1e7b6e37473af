"""An eye on a cluster, so that nobody waits for what will not come."""

from __future__ import annotations

import time
from contextlib import suppress

from distributed import Client

from steadystack.cluster import worker_check
from steadystack.cluster.engines import Cluster
from steadystack.model import RunError

# How long the list of workers is taken as it was, seconds: it is asked for with every task.
LIST_S = 1.0
RECONNECT_STEP_S = 0.1
# A worker that is not in the list for so many seconds is gone; its tasks have come back by then.
GONE_S = 3.0


class Watch:
    """The workers of a cluster as they were last seen."""

    def __init__(self, cluster: Cluster, client: Client) -> None:
        self.cluster, self.client = cluster, client
        self.threads: dict[str, int] = {}
        self.last_in_list: dict[str, float] = {}
        self.listed = -LIST_S
        self.seen = time.monotonic()  # when there was a worker that takes tasks

    def workers(self) -> dict[str, int]:
        """The threads of every worker, as they were a moment ago.

        Raises InputError if one does not run what this process runs: it may have come late.
        """
        if time.monotonic() - self.listed > LIST_S:
            with suppress(OSError):
                self.threads = dict(self.client.nthreads())
                self.listed = time.monotonic()
                self.last_in_list |= dict.fromkeys(self.threads, self.listed)
            worker_check.ask(self.client, self.threads)
        return self.threads

    def suspect(self) -> None:
        """Raise InputError if a worker does not run what this process runs: a task was not read."""
        self.listed = -LIST_S
        worker_check.ask(self.client, self.workers(), worker_check.PATIENCE_S)

    def died(self, worker: str) -> None:
        """Note that a worker is not there any more, before the list says so."""
        self.threads.pop(worker, None)
        self.listed = -LIST_S

    def gone(self, worker: str) -> bool:
        """Whether a worker that was there is not any more."""
        return self.listed - self.last_in_list.get(worker, 0.0) > GONE_S

    def look(self) -> None:
        """Raise RunError if the scheduler is gone, or if no worker came for too long."""
        if self.client.status != "running":
            self.reconnected()
        with suppress(OSError, KeyError):
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            if any(worker["status"] == "running" for worker in workers):
                self.seen = time.monotonic()
                return
        without = time.monotonic() - self.seen
        limit = self.cluster.worker_timeout
        reason = self.cluster.hopeless()
        if limit is not None and without > limit:
            reason = reason or f"no worker was connected for {limit:g} s (cluster.worker_timeout)"
        if reason:
            raise RunError(
                f"{reason}; what was measured is saved: run the same command to continue"
            )

    def reconnected(self) -> None:
        """Wait until a lost scheduler is there again, or the client has given it up."""
        while self.client.status == "connecting":
            time.sleep(RECONNECT_STEP_S)
        if self.client.status != "running":
            raise RunError(
                "the Dask scheduler is gone; what was measured is saved: run the same command "
                "with a running scheduler to continue"
            )
