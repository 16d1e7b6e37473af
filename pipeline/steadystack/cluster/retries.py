"""Tasks that are tried again, on another worker, and given up with a reason."""

from __future__ import annotations

import logging
import queue
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, get_worker
from distributed.scheduler import KilledWorker

from steadystack.cluster.engines import Cluster
from steadystack.cluster.watch import Watch
from steadystack.model import InputError, RunError

log = logging.getLogger(__name__)

# Tasks handed to the scheduler per worker thread: enough that none waits for the next one, few
# enough that the scheduler's memory does not grow with the length of the run.
TASKS_PER_THREAD = 3
# How often the cluster is looked after while nothing is finished, seconds.
LOOK_S = 1.0
# What stops a run, whichever task meets it.
PASSED_ON = (InputError, RunError)
MOST_WORDS = 300  # letters of a reason


@dataclass(frozen=True)
class Failure:
    """A task that was given up: why, and after how many tries."""

    reason: str
    tries: int
    error: BaseException | None = field(default=None, compare=False)


class TaskError(Exception):
    """What a task raised on a worker, as text: not every error can travel."""

    def __init__(self, reason: str, worker: str, trace: str) -> None:
        super().__init__(reason, worker, trace)
        self.reason, self.worker, self.trace = reason, worker, trace

    def __str__(self) -> str:
        return self.reason


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it on a worker. Wrong use is raised as it is, anything else as a `TaskError`."""
    try:
        return function(*arguments)
    except PASSED_ON:
        raise
    except Exception as error:
        raise TaskError(
            _describe_error(error), get_worker().address, traceback.format_exc()
        ) from None


def try_here(cluster: Cluster, call: Callable[[], Any]) -> Any:
    """Its result in this process, or the `Failure` that it is after all tries."""
    for tries in range(1, cluster.retries + 2):
        try:
            return call()
        except PASSED_ON:
            raise
        except Exception as error:
            log.debug("try %d", tries, exc_info=True)
            failure = Failure(_describe_error(error), tries, error)
    return failure


def _describe_error(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]} ..."


@dataclass(eq=False)
class TaskState:
    """Something to submit: `count` tasks, and what went wrong with them so far."""

    key: Any
    count: int
    submit: Callable[[list[str] | None], Future[Any]]  # to one of these workers; None: to any
    strikes: int = 0
    avoid: set[str] = field(default_factory=set)


class TaskFlow:
    """Work on its way through a cluster.

    Work that was struck is a suspect: a task that kills its workers takes those down that wait
    beside it. Suspects are kept apart, one to a worker, so that the next death tells which it was.
    """

    def __init__(self, cluster: Cluster, client: Client, work: Iterator[TaskState]) -> None:
        self.client, self.retries = client, cluster.retries
        self.fresh = work
        self.suspects: list[TaskState] = []
        # with the worker that it is pinned to
        self.pending: dict[Future[Any], tuple[TaskState, str]] = {}
        self.done: queue.Queue[Future[Any]] = queue.Queue()
        self.watch = Watch(cluster, client)

    def results(self) -> Iterator[tuple[Any, Any]]:
        """(key, result or Failure) in order of completion."""
        try:
            self._fill()
            while self.pending or self.suspects:
                future = self._next_done()
                if future not in self.pending:
                    self._fill()
                    continue
                work, _ = self.pending.pop(future)
                outcome = self._outcome(work, future)
                future.release()
                self._fill()
                if outcome is not work:
                    yield work.key, outcome
        finally:
            with suppress(Exception):  # of a scheduler that is gone
                self.client.cancel(list(self.pending))

    def _next_done(self) -> Future[Any] | None:
        """The next future that is finished; None if none is for a while."""
        try:
            return self.done.get(timeout=LOOK_S)
        except queue.Empty:
            self.watch.look()
            return None

    def _fill(self) -> None:
        """Submit as much as the workers that are there now keep busy with; one at least."""
        threads = self.watch.workers()
        self._unpin()
        pinned = {worker for _, worker in self.pending.values()}
        while self.suspects and (free := [one for one in threads if one not in pinned]):
            work = self.suspects.pop(0)
            chosen = next((one for one in free if one not in work.avoid), free[0])
            pinned.add(chosen)
            self._submit(work, chosen)
        room = TASKS_PER_THREAD * max(sum(threads.values()), 1)
        room -= sum(work.count for work, _ in self.pending.values())
        while room > 0 and (work_or_none := next(self.fresh, None)) is not None:
            self._submit(work_or_none)
            room -= work_or_none.count

    def _unpin(self) -> None:
        """Take back what waits for a worker that went away; it comes back as cancelled."""
        for future, (_, worker) in self.pending.items():
            if worker and future.status == "pending" and self.watch.gone(worker):
                future.cancel()

    def _submit(self, work: TaskState, worker: str = "") -> None:
        future = work.submit([worker] if worker else None)
        self.pending[future] = work, worker
        future.add_done_callback(self.done.put)

    def _outcome(self, work: TaskState, future: Future[Any]) -> Any:
        """A result, a failure, or the work itself if it is to be tried again."""
        strikes = 1
        try:
            return future.result()
        except PASSED_ON:
            raise
        except KilledWorker as error:
            strikes = error.allowed_failures + 1
            worker = error.last_worker.address
            self.watch.died(worker)
            reason = "its worker died (too little memory, or an import?) or was lost"
        except TaskError as error:
            reason, worker = error.reason, error.worker
            log.debug("a task failed on %s: %s", worker, error.trace)
        except CancelledError:
            # All futures are cancelled if the scheduler is lost, even for a moment.
            self.watch.reconnected()
            worker, reason = "", "its worker, its data or the scheduler was lost"
        except Exception as error:  # what cannot be sent, or not be read
            self.watch.suspect()
            worker, reason = "", _describe_error(error)
        work.strikes += strikes
        work.avoid.add(worker)
        if work.strikes > self.retries:
            return Failure(reason, work.strikes)
        log.info("retrying a task (%d of %d): %s", work.strikes, self.retries, reason)
        self.suspects.append(work)
        return work
