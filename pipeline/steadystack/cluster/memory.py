"""The memory of a worker, and whether a task fits into it."""

from __future__ import annotations

from distributed import Client
from distributed.system import MEMORY_LIMIT

from steadystack.cluster.limits import cgroup_limit
from steadystack.model import InputError

# What Python and its libraries take in a worker before there is a task.
PYTHON_BYTES = 150 * 2**20


def memory_here() -> int:
    """Bytes of memory that this machine, or the limit that this process is under, has."""
    return min(int(MEMORY_LIMIT), cgroup_limit())


def check_memory(client: Client, task_bytes: int) -> None:
    """Refuse workers of which none is large enough for a task: they would all die of it."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    room = [
        worker["memory_limit"] / worker["nthreads"]
        for worker in workers
        if worker.get("memory_limit")
    ]
    needed = task_bytes + PYTHON_BYTES
    if room and len(room) == len(workers) and max(room) < needed:
        raise InputError(
            f"the workers have {max(room) / 2**20:.0f} MiB for each of their threads, and a task "
            f"needs {needed / 2**20:.0f} MiB with Python: give them more, or lower "
            "cluster.task_memory"
        )
