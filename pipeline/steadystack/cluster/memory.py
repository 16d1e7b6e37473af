"""Find the memory of a worker, and whether a task fits into it."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from steadystack.model import InputError

if TYPE_CHECKING:
    from distributed import Client

GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
MACHINE = Path("/proc/meminfo")
# Files with hard and soft limits of the topmost group, as read by Dask, in cgroup v1 and v2.
TOPMOST_LIMITS = (
    "memory/memory.limit_in_bytes",
    "memory/memory.soft_limit_in_bytes",
    "memory.max",
    "memory.high",
    "memory.low",
)


def read_cgroup_limit(groups: Path = GROUPS, mount: Path = MOUNT) -> int:
    """Read the smallest memory limit, bytes, of the control groups of this process.

    `sys.maxsize` if there is none. Dask only reads the limit of the topmost group, that of a
    container. A batch job's groups lie below, as ``slurm/uid_1/job_2/step_3``, and the limit of
    each holds for those below it (cgroup v1 and v2, Linux).
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


# Memory of Python and its libraries in a worker without tasks.
PYTHON_BYTES = 150 * 2**20


def read_available_memory() -> int:
    """Read the memory of this machine, or the limit of this process if it is less, in bytes."""
    return min(_read_machine_memory(), read_cgroup_limit())


def _read_machine_memory() -> int:
    """Read this machine's memory as Dask does; on Linux without importing Dask, which is slow."""
    try:
        total = MACHINE.read_text(encoding="ascii").partition("MemTotal:")[2].split()[0]
    except (OSError, IndexError):  # not Linux
        from distributed.system import MEMORY_LIMIT

        return int(MEMORY_LIMIT)
    import resource  # not on every system

    limits = [limit for name in TOPMOST_LIMITS for limit in _read_limits(MOUNT / name)]
    limits.append(resource.getrlimit(resource.RLIMIT_RSS)[1])
    return min([int(total) * 1024, *(limit for limit in limits if limit > 0)])


def check_memory(client: Client, task_bytes: int) -> None:
    """Raise InputError if no worker has the memory for a task, which would kill them all."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    memory_per_thread = [
        worker["memory_limit"] / worker["nthreads"]
        for worker in workers
        if worker.get("memory_limit")
    ]
    needed = task_bytes + PYTHON_BYTES
    largest = max(memory_per_thread, default=needed)
    if len(memory_per_thread) == len(workers) and largest < needed:
        raise InputError(
            f"the workers have {largest / 2**20:.0f} MiB per thread, but a task needs "
            f"{needed / 2**20:.0f} MiB including Python: give them more memory, or lower "
            "cluster.task_memory"
        )
