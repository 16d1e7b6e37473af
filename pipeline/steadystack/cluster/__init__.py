"""Dask, from the settings: many tasks with back-pressure and retries.

`kinds` starts or finds a cluster when it is needed, with `jobs` for batch systems and `memory` for
its limits; `engines` are what tasks run on. `tasks` runs tasks, `retries` repeats them where that
helps; `watch` keeps an eye on the workers, and `worker_check` asks them by `probe` what they run.
"""

from steadystack.cluster.engines import Cluster, Engine, as_cluster, get_current_client, share
from steadystack.cluster.kinds import ClusterOnDemand, connect, open_cluster_on_demand
from steadystack.cluster.memory import PYTHON_BYTES, read_available_memory
from steadystack.cluster.retries import Failure
from steadystack.cluster.tasks import run_tasks, run_trees

__all__ = [
    "PYTHON_BYTES",
    "Cluster",
    "ClusterOnDemand",
    "Engine",
    "Failure",
    "as_cluster",
    "connect",
    "get_current_client",
    "open_cluster_on_demand",
    "read_available_memory",
    "run_tasks",
    "run_trees",
    "share",
]
