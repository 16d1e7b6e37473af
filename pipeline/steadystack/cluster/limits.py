"""The limit of memory that a batch system or a container sets, where Dask does not look."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def cgroup_limit(groups: Path = GROUPS, mount: Path = MOUNT) -> int:
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
            limits += _limit(root / str(group).lstrip("/") / file)
    return min(limits)


def _limit(file: Path) -> list[int]:
    try:
        return [int(file.read_text(encoding="ascii"))]
    except (OSError, ValueError):  # "max": none
        return []
