"""Dask, from the settings: many tasks with back-pressure and retries.

`settings` are what a cluster has to be told; `kinds` starts or finds one, with `jobs` of batch
systems, `security` and `memory` (within `limits`), and `lazy` when it is needed. `engines` are
what tasks run on, `tasks` runs them, `tries` again where that helps, and `watch` keeps an eye on
the workers.
"""

from steadystack.cluster.engines import Cluster, Engine, as_cluster, current_client, share
from steadystack.cluster.kinds import connect
from steadystack.cluster.lazy import OnDemand, one_cluster
from steadystack.cluster.memory import PYTHON_BYTES, memory_here
from steadystack.cluster.tasks import run_tasks, run_trees
from steadystack.cluster.tries import Failure

__all__ = [
    "PYTHON_BYTES",
    "Cluster",
    "Engine",
    "Failure",
    "OnDemand",
    "as_cluster",
    "connect",
    "current_client",
    "memory_here",
    "one_cluster",
    "run_tasks",
    "run_trees",
    "share",
]
