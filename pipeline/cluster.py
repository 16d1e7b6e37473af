"""A Dask client from settings, and many tasks through it with back-pressure."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.system import MEMORY_LIMIT

from pipeline.model import InputError

Engine: TypeAlias = Client | None  # None: in this process

Key = TypeVar("Key")
Item = TypeVar("Item")
Part = TypeVar("Part")
Result = TypeVar("Result")

# Tasks handed to the scheduler per worker thread: enough that none waits for the next one, few
# enough that the scheduler's memory does not grow with the length of the run.
TASKS_PER_THREAD = 3
CONNECT_TIMEOUT_S = 10.0

# Freed memory stays with a worker for its next frame. Dask's default gives it back to the system
# after every array: half of a run's time went into getting it again (300 frames of 424 x 640).
MALLOC = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
KEPT = 2**30


@contextmanager
def connect(
    kind: str = "local",
    *,
    workers: int | None = None,
    threads_per_worker: int = 1,
    address: str | None = None,
) -> Iterator[Engine]:
    """A client for the engine of that kind, closed in the end; None means in this process.

    Parameters
    ----------
    kind : "in-process", "local" (worker processes on this machine) or "address"
    workers : worker processes of a local cluster; None: as many as there are cores
    threads_per_worker : of a local cluster
    address : of a running scheduler, such as "tcp://10.0.0.5:8786", for the kind "address"
    """
    if kind == "in-process":
        yield None
    elif kind == "local":
        with _local_cluster(workers, threads_per_worker) as cluster, Client(cluster) as client:
            yield client
    else:
        try:
            client = Client(address, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise InputError(f"cluster.address {address} does not answer: {error}") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
            except TimeoutError as error:
                raise InputError(f"cluster.address {address} has no workers") from error
            yield client


def _local_cluster(workers: int | None, threads_per_worker: int) -> LocalCluster:
    """Worker processes on this machine that leave Ctrl-C to this process."""
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main_thread else None
    try:
        with dask.config.set({f"distributed.nanny.pre-spawn-environ.{k}": KEPT for k in MALLOC}):
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=threads_per_worker,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                # What a task raises comes back by itself; the rest is noise of workers that stop.
                silence_logs=logging.CRITICAL,
            )
    except RuntimeError as error:
        raise InputError(
            "cluster.kind local: its workers did not start; a script that starts them must do so "
            'under `if __name__ == "__main__":`'
        ) from error
    finally:
        if main_thread:
            signal.signal(signal.SIGINT, before)


def memory_here() -> int:
    """Bytes of memory that this machine, or the limit that this process is under, has."""
    return int(MEMORY_LIMIT)


def current_client() -> Engine:
    """The client that Dask would use here; None if there is none."""
    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


def share(client: Engine, value: Any) -> Any:
    """A value that every task needs and that is too large to send along with each of them."""
    return value if client is None else client.scatter(value, hash=False)


def run_tasks(
    client: Engine,
    function: Callable[..., Result],
    items: Iterable[tuple[Key, Item]],
    *shared: Any,
) -> Iterator[tuple[Key, Result]]:
    """``function(item, *shared)`` for every (key, item); (key, result) in order of completion.

    At no time does the scheduler know more than a few tasks per worker thread, and every result
    leaves the cluster as soon as it is there. What a task raises is raised here.
    """
    if client is None:
        for key, item in items:
            yield key, function(item, *shared)
        return
    work = ((key, 1, partial(_submit, client, function, item, *shared)) for key, item in items)
    yield from _keep_busy(client, work)


def run_trees(
    client: Engine,
    leaf: Callable[..., Part],
    join: Callable[[Part, Part], Part],
    finish: Callable[..., Result],
    items: Iterable[tuple[Key, Sequence[Item]]],
    *shared: Any,
) -> Iterator[tuple[Key, Result]]:
    """For every (key, leaves): all leaves' results joined two by two, finished in a last task.

    ``finish(joined, *shared)`` with ``joined`` from ``join(leaf(item, *shared), ...)``. The tree is
    the same wherever it runs. Parts stay on the workers; only the last result comes back. A tree is
    submitted whole, each leaf beside the one it is joined with, so that few parts wait.
    """

    def grow(call: Callable[..., Any], leaves: Sequence[Item]) -> Any:
        if len(leaves) == 1:
            return call(leaf, leaves[0], *shared)
        half = len(leaves) // 2
        return call(join, grow(call, leaves[:half]), grow(call, leaves[half:]))

    if client is None:
        for key, leaves in items:
            yield key, finish(grow(_call, leaves), *shared)
        return
    submit = partial(_submit, client)
    work = (
        (key, len(leaves), lambda leaves=leaves: submit(finish, grow(submit, leaves), *shared))
        for key, leaves in items
    )
    yield from _keep_busy(client, work)


def _call(function: Callable[..., Result], *arguments: Any) -> Result:
    return function(*arguments)


def _submit(client: Client, function: Callable[..., Any], *arguments: Any) -> Any:
    return client.submit(function, *arguments, pure=False)


def _keep_busy(
    client: Client, work: Iterable[tuple[Key, int, Callable[[], Any]]]
) -> Iterator[tuple[Key, Any]]:
    """Submit (key, number of tasks, how to submit them) as there is room; what comes of each."""
    waiting = iter(work)
    pending: dict[Any, tuple[Key, int]] = {}

    def fill() -> list[Any]:
        """New tasks for the workers that are there now; always one at least."""
        threads = max(int(sum(client.nthreads().values())), 1)
        room = TASKS_PER_THREAD * threads - sum(count for _, count in pending.values())
        new = []
        while room > 0 and (following := next(waiting, None)) is not None:
            key, count, submit = following
            future = submit()
            pending[future] = key, count
            new.append(future)
            room -= count
        return new

    queue = as_completed(fill(), loop=client.loop)
    try:
        for future in queue:
            result = future.result()
            key, _ = pending.pop(future)
            queue.update(fill())
            yield key, result
    finally:
        client.cancel(list(pending))
