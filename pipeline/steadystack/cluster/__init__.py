"""Dask, from the settings: many tasks with back-pressure and retries.

`kinds` starts or finds a cluster when it is needed, with `jobs` of batch systems and the `memory`
there is; `engines` are what tasks run on, and what a cluster has to be told. `tasks` runs them,
`tries` again where that helps; `watch` keeps an eye on the workers, and `fit` asks them by `probe`
what they run.
"""

from steadystack.cluster.engines import Cluster, Engine, as_cluster, current_client, share
from steadystack.cluster.kinds import OnDemand, connect, one_cluster
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
