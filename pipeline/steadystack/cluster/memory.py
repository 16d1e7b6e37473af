"""The memory of a worker, and whether a task fits into it."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

from distributed import Client
from distributed.system import MEMORY_LIMIT

from steadystack.model import InputError

GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def read_cgroup_limit(groups: Path = GROUPS, mount: Path = MOUNT) -> int:
    """The smallest limit, bytes, of the control groups that this process is in; huge: none.

    Dask knows that of the topmost one, which is a container's. A batch job's lie below, as
    ``slurm/uid_1/job_2/step_3``, each of them within those above it (cgroup v1 and v2, Linux).
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return sys.maxsize
    limits = [sys.maxsize]
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root, file = (mount / "memory", "memory.limit_in_bytes") if kinds else (mount, "memory.max")
        inner = PurePosixPath(path)
        for group in (inner, *inner.parents):
            limits += _read_limits(root / str(group).lstrip("/") / file)
    return min(limits)


def _read_limits(file: Path) -> list[int]:
    try:
        return [int(file.read_text(encoding="ascii"))]
    except (OSError, ValueError):  # "max": none
        return []


# What Python and its libraries take in a worker before there is a task.
PYTHON_BYTES = 150 * 2**20


def read_available_memory() -> int:
    """Bytes of memory that this machine, or the limit that this process is under, has."""
    return min(int(MEMORY_LIMIT), read_cgroup_limit())


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
            f"the workers have {max(room) / 2**20:.0f} MiB per thread, but a task needs "
            f"{needed / 2**20:.0f} MiB including Python: give them more memory, or lower "
            "cluster.task_memory"
        )
