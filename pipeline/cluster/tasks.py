"""Many tasks through a Dask client, with back-pressure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from distributed import Client, as_completed

from pipeline.cluster.engines import Engine

Key = TypeVar("Key")
Item = TypeVar("Item")
Part = TypeVar("Part")
Result = TypeVar("Result")

# Tasks handed to the scheduler per worker thread: enough that none waits for the next one, few
# enough that the scheduler's memory does not grow with the length of the run.
TASKS_PER_THREAD = 3


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
