"""What memory there is for tasks, and what processes take of it before there is a task."""

from __future__ import annotations

from dask.system import CPU_COUNT

from steadystack.cluster import PYTHON_BYTES, memory_here
from steadystack.config import ClusterSection
from steadystack.units import parse_bytes

MIB = 2**20
# Python and its libraries: in a worker, and in the process that has the scheduler, too.
WORKER_BYTES, OWN_BYTES = PYTHON_BYTES, 250 * MIB
# What a row of the pair table takes while it is solved and written, bytes: a window of 1e6 pairs
# was solved within 350 MiB, without what was there before.
ROW_BYTES = 500
# A worker is to hold no more than this part of its share.
SHARE = 0.8
DEFAULT_TASK_BYTES = 512 * MIB


def wanted_workers(given: ClusterSection) -> int:
    """Worker processes of the local kind, whether or not they fit."""
    return given.workers or max(1, CPU_COUNT // given.threads_per_worker)


def default_task_bytes(given: ClusterSection) -> int:
    """What a task may take if the settings do not say: less than usual where memory is little."""
    if given.worker_memory is not None:
        room = (parse_bytes(given.worker_memory) or 0) // given.threads_per_worker - WORKER_BYTES
        return max(min(DEFAULT_TASK_BYTES, room), 1)
    if given.kind != "local":
        return DEFAULT_TASK_BYTES
    share = int(SHARE * (memory_here() - OWN_BYTES)) // wanted_workers(given) - WORKER_BYTES
    return max(min(DEFAULT_TASK_BYTES, share // given.threads_per_worker), 1)
