"""What tasks run on: a Dask client, or this process, and how much may go wrong there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from distributed import Client


@dataclass(frozen=True, eq=False)
class Cluster:
    """A client, and how much may go wrong on its cluster. Nothing may unless it is said.

    Attributes
    ----------
    client : None: in this process
    retries : how often a task is tried again after an error or the death of its worker
    max_failed : the fraction of the work that may fail in the end
    worker_timeout : seconds to go on without any worker; None: without end
    hopeless : says why no worker will come any more; "" while one may
    """

    client: Client | None = None
    retries: int = 0
    max_failed: float = 0.0
    worker_timeout: float | None = 60.0
    hopeless: Callable[[], str] = str


Engine: TypeAlias = Cluster | Client | None  # None: in this process


def as_cluster(engine: Engine) -> Cluster:
    return engine if isinstance(engine, Cluster) else Cluster(engine)


def current_client() -> Client | None:
    """The client that Dask would use here; None if there is none."""
    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


def share(engine: Engine, value: Any) -> Any:
    """A value that every task needs and that is too large to send along with each of them.

    Every worker has it, so that it is not lost with one of them.
    """
    client = as_cluster(engine).client
    return value if client is None else client.scatter(value, hash=False, broadcast=True)
