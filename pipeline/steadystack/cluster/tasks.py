"""Run many tasks through a Dask client, with back-pressure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dask.utils import funcname

from steadystack.cluster.engines import Engine, as_cluster
from steadystack.cluster.retries import Failure, TaskFlow, TaskState, attempt, try_here

if TYPE_CHECKING:
    from distributed import Client, Future

Key = TypeVar("Key")
Item = TypeVar("Item")
Part = TypeVar("Part")
Result = TypeVar("Result")

# Tasks that are submitted at a time: Dask warns of graphs of 10 MB.
TOGETHER = 16


def run_tasks(
    engine: Engine,
    function: Callable[..., Result],
    items: Iterable[tuple[Key, Item]],
    *shared: Any,
) -> Iterator[tuple[Key, Result | Failure]]:
    """Call ``function(item, *shared)`` for every item; (key, result) in order of completion.

    The scheduler never has more than a few tasks per worker thread, and every result leaves the
    cluster as soon as it is ready. A task that raises, or whose worker dies, is tried again on
    another worker as often as the engine allows; then its result is a `Failure`.

    Raises
    ------
    InputError
        That a task raised.
    RunError
        If the scheduler is gone, or no worker connects.
    """
    cluster = as_cluster(engine)
    if cluster.client is None:
        for key, item in items:
            yield key, try_here(cluster, partial(function, item, *shared))
        return
    work = (TaskState(key, 1, item) for key, item in items)
    submit = partial(_submit_all, cluster.client, function, shared)
    yield from TaskFlow(cluster, cluster.client, work, submit, TOGETHER).collect_results()


def run_trees(
    engine: Engine,
    leaf: Callable[..., Part],
    join: Callable[[Part, Part], Part],
    finish: Callable[..., Result],
    items: Iterable[tuple[Key, Sequence[Item]]],
    *shared: Any,
) -> Iterator[tuple[Key, Result | Failure]]:
    """Reduce the leaves of every (key, leaves) in a tree; (key, result) in order of completion.

    The results of ``leaf(item, *shared)`` are joined two by two by ``join(first, second)``; the
    result is ``finish(joined, *shared)``. The tree is the same wherever it runs. Intermediate
    results stay on the workers; only the last one comes back. A tree is submitted whole, each leaf
    beside the one it is joined with, so that few intermediate results wait; it is tried again as a
    whole, as often as the engine allows; then its result is a `Failure`.

    Raises
    ------
    InputError
        That a task raised.
    RunError
        If the scheduler is gone, or no worker connects.
    """

    def grow(call: Callable[..., Any], leaves: Sequence[Item]) -> Any:
        if len(leaves) == 1:
            return call(leaf, leaves[0], *shared)
        half = len(leaves) // 2
        return call(join, grow(call, leaves[:half]), grow(call, leaves[half:]))

    def harvest(leaves: Sequence[Item]) -> Result:
        return finish(grow(_call, leaves), *shared)

    cluster = as_cluster(engine)
    client = cluster.client
    if client is None:
        for key, leaves in items:
            yield key, try_here(cluster, partial(harvest, leaves))
        return

    def plant(trees: Sequence[Sequence[Item]], workers: list[str] | None) -> list[Future[Any]]:
        call = partial(_submit, client, workers=workers)
        return [call(finish, grow(call, leaves), *shared) for leaves in trees]

    work = (TaskState(key, len(leaves), leaves) for key, leaves in items)
    yield from TaskFlow(cluster, client, work, plant).collect_results()


def _call(function: Callable[..., Result], *arguments: Any) -> Result:
    return function(*arguments)


def _submit_all(
    client: Client,
    function: Callable[..., Any],
    shared: Sequence[Any],
    items: Sequence[Any],
    workers: list[str] | None,
) -> list[Future[Any]]:
    """Submit ``function(item, *shared)`` for all items as one graph, to save messages."""
    futures: list[Future[Any]] = client.map(
        attempt,
        [function] * len(items),
        items,
        *([value] * len(items) for value in shared),
        key=[_make_key(function) for _ in items],
        pure=False,
        workers=workers,
    )
    return futures


def _submit(
    client: Client, function: Callable[..., Any], *arguments: Any, workers: list[str] | None
) -> Future[Any]:
    return client.submit(
        attempt,
        function,
        *arguments,
        key=_make_key(function),
        pure=False,
        workers=workers,
    )


def _make_key(function: Callable[..., Any]) -> str:
    return f"{funcname(function)}-{uuid.uuid4()}"
