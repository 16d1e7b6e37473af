from .engines import Cluster, Engine, as_cluster, get_current_client, share
from .kinds import ClusterOnDemand, connect, open_cluster_on_demand
from .memory import PYTHON_BYTES, read_available_memory
from .retries import Failure
from .tasks import run_tasks, run_trees

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
