"""Dask: a client from settings, and many tasks through it with back-pressure."""

from pipeline.cluster.engines import Engine, connect, current_client, memory_here, share
from pipeline.cluster.lazy import OnDemand, one_cluster
from pipeline.cluster.tasks import run_tasks, run_trees

__all__ = [
    "Engine",
    "OnDemand",
    "connect",
    "current_client",
    "memory_here",
    "one_cluster",
    "run_tasks",
    "run_trees",
    "share",
]
