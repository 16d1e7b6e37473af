"""Tasks that are tried again, on another worker, and given up with a reason."""

from __future__ import annotations

import logging
import queue
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steadystack.cluster.engines import Cluster
from steadystack.cluster.watch import Watch
from steadystack.model import InputError, RunError

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

# Tasks handed to the scheduler per worker thread: enough that none waits for the next one, few
# enough that the scheduler's memory does not grow with the length of the run.
TASKS_PER_THREAD = 3
# How often the cluster is checked while no task finishes, seconds.
POLL_S = 1.0
# Errors that stop a run, whichever task raises them.
FATAL = (InputError, RunError)
MAX_REASON_LENGTH = 300  # letters of a reason


@dataclass(frozen=True)
class Failure:
    """A task that was given up: why, and after how many tries."""

    reason: str
    tries: int
    error: BaseException | None = field(default=None, compare=False)


class TaskError(Exception):
    """What a task raised on a worker, as text: not every error can be pickled."""

    def __init__(self, reason: str, worker: str, trace: str) -> None:
        super().__init__(reason, worker, trace)
        self.reason, self.worker, self.trace = reason, worker, trace

    def __str__(self) -> str:
        return self.reason


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a task on a worker; errors of the input stay as they are, others become `TaskError`."""
    try:
        return function(*arguments)
    except FATAL:
        raise
    except Exception as error:
        from distributed import get_worker  # which a call in this process does without

        raise TaskError(
            _describe_error(error), get_worker().address, traceback.format_exc()
        ) from None


def try_here(cluster: Cluster, call: Callable[[], Any]) -> Any:
    """Call a task in this process; returns its result, or a `Failure` after the last try."""
    for tries in range(1, cluster.retries + 2):
        try:
            return call()
        except FATAL:
            raise
        except Exception as error:
            log.debug("try %d", tries, exc_info=True)
            failure = Failure(_describe_error(error), tries, error)
    return failure


def _describe_error(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[:MAX_REASON_LENGTH]} ..."


@dataclass(eq=False)
class TaskState:
    """Tasks that are submitted together, and what went wrong with them so far.

    Attributes
    ----------
    count : number of tasks
    submit : submits them to one of some workers, by address; None: to any worker
    failures : how often they have failed
    avoided_workers : addresses of workers on which they failed
    """

    key: Any
    count: int
    submit: Callable[[list[str] | None], Future[Any]]
    failures: int = 0
    avoided_workers: set[str] = field(default_factory=set)


class TaskFlow:
    """Work on its way through a cluster.

    Work that failed is a suspect: a task that kills its worker takes down those that wait beside
    it. Suspects are kept apart, one to a worker, so that the next death tells which one it was.
    """

    def __init__(self, cluster: Cluster, client: Client, work: Iterator[TaskState]) -> None:
        self.client, self.retries = client, cluster.retries
        self.unsubmitted = work
        self.suspects: list[TaskState] = []
        # Work with the worker that it is pinned to; "": none.
        self.pending: dict[Future[Any], tuple[TaskState, str]] = {}
        self.finished: queue.Queue[Future[Any]] = queue.Queue()
        self.watch = Watch(cluster, client)

    def collect_results(self) -> Iterator[tuple[Any, Any]]:
        """Run the work; yields (key, result or Failure) in order of completion."""
        try:
            self._submit_more()
            while self.pending or self.suspects:
                future = self._get_finished()
                if future not in self.pending:
                    self._submit_more()
                    continue
                work, _ = self.pending.pop(future)
                outcome = self._handle_outcome(work, future)
                future.release()
                self._submit_more()
                if outcome is not work:
                    yield work.key, outcome
        finally:
            with suppress(Exception):  # of a scheduler that is gone
                self.client.cancel(list(self.pending))

    def _get_finished(self) -> Future[Any] | None:
        """Get the next future that is finished; None if none is within `POLL_S`."""
        try:
            return self.finished.get(timeout=POLL_S)
        except queue.Empty:
            self.watch.check()
            return None

    def _submit_more(self) -> None:
        """Submit as much as keeps the present workers busy; at least as much as for one thread."""
        threads = self.watch.list_workers()
        self._cancel_stranded()
        pinned = {worker for _, worker in self.pending.values()}
        while self.suspects and (free := [worker for worker in threads if worker not in pinned]):
            work = self.suspects.pop(0)
            others = (worker for worker in free if worker not in work.avoided_workers)
            chosen = next(others, free[0])
            pinned.add(chosen)
            self._submit(work, chosen)
        room = TASKS_PER_THREAD * max(sum(threads.values()), 1)
        room -= sum(work.count for work, _ in self.pending.values())
        while room > 0 and (work_or_none := next(self.unsubmitted, None)) is not None:
            self._submit(work_or_none)
            room -= work_or_none.count

    def _cancel_stranded(self) -> None:
        """Cancel what waits for a worker that is gone; it is tried again like a lost task."""
        for future, (_, worker) in self.pending.items():
            if worker and future.status == "pending" and self.watch.is_gone(worker):
                future.cancel()

    def _submit(self, work: TaskState, worker: str = "") -> None:
        future = work.submit([worker] if worker else None)
        self.pending[future] = work, worker
        future.add_done_callback(self.finished.put)

    def _handle_outcome(self, work: TaskState, future: Future[Any]) -> Any:
        """Get the result of work, a `Failure`, or the work itself if it is to be tried again."""
        from distributed.scheduler import KilledWorker  # which a call in this process does without

        failures = 1
        try:
            return future.result()
        except FATAL:
            raise
        except KilledWorker as error:
            failures = error.allowed_failures + 1
            worker = error.last_worker.address
            self.watch.note_death(worker)
            reason = "its worker died (too little memory, or a failed import?) or was lost"
        except TaskError as error:
            reason, worker = error.reason, error.worker
            log.debug("a task failed on %s: %s", worker, error.trace)
        except CancelledError:
            # All futures are cancelled if the scheduler is lost, even for a moment.
            self.watch.wait_for_scheduler()
            worker, reason = "", "its worker, its data or the scheduler was lost"
        except Exception as error:  # what cannot be sent, or not be read
            self.watch.check_workers()
            worker, reason = "", _describe_error(error)
        work.failures += failures
        work.avoided_workers.add(worker)
        if work.failures > self.retries:
            return Failure(reason, work.failures)
        log.info("retrying a task (%d of %d): %s", work.failures, self.retries, reason)
        self.suspects.append(work)
        return work
