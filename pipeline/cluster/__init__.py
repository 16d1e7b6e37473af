"""Dask: a cluster from settings, and many tasks through it, whatever becomes of its workers."""

from pipeline.cluster.engines import Cluster, Engine, as_cluster, current_client, share
from pipeline.cluster.kinds import connect
from pipeline.cluster.lazy import OnDemand, one_cluster
from pipeline.cluster.memory import PYTHON_BYTES, memory_here
from pipeline.cluster.tasks import run_tasks, run_trees
from pipeline.cluster.tries import Failure

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
