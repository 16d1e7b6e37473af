"""Retry failed tasks on other workers, and give them up with a reason."""

from __future__ import annotations

import logging
import queue
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from steadystack.cluster.engines import Cluster
from steadystack.cluster.watch import Watch
from steadystack.model import InputError, RunError

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger(__name__)

# Tasks handed to the scheduler per worker thread: enough that no thread is idle, few enough that
# the scheduler's memory does not grow with the length of the run.
TASKS_PER_THREAD = 3
# Results fetched at a time, as some are images.
FETCHED_TOGETHER = 4
# How often the cluster is checked while no task finishes, seconds.
POLL_S = 1.0
# Errors that stop a run, whichever task raises them.
FATAL = (InputError, RunError)
MAX_REASON_LENGTH = 300  # characters


# Submits items of work, to one of the given workers (by address); None: to any worker.
Submit: TypeAlias = "Callable[[list[Any], list[str] | None], list[Future[Any]]]"


@dataclass(frozen=True)
class Failure:
    """A task that was given up: the reason, and the number of tries."""

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
        from distributed import get_worker  # not needed for calls in this process

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
    """Tasks that are submitted together, and their failures so far.

    Attributes
    ----------
    count : number of tasks
    item : the items of work
    failures : how often they have failed
    avoided_workers : addresses of workers on which they failed
    """

    key: Any
    count: int
    item: Any
    failures: int = 0
    avoided_workers: set[str] = field(default_factory=set)


class TaskFlow:
    """Work on its way through a cluster.

    Work that failed is a suspect: a task that kills its worker takes down those waiting there, too.
    Suspects are isolated, one per worker, so that the next death shows which one it was.

    Parameters
    ----------
    submit : submits the work
    together : most work submitted at a time, as far as threads need it: each submission takes a few
        milliseconds, in which all workers wait; 1: results are also fetched one by one
    """

    def __init__(
        self,
        cluster: Cluster,
        client: Client,
        work: Iterator[TaskState],
        submit: Submit,
        together: int = 1,
    ) -> None:
        self.client, self.retries = client, cluster.retries
        self.unsubmitted, self.submit, self.together = work, submit, together
        self.suspects: list[TaskState] = []
        self.pending: dict[Future[Any], TaskState] = {}
        self.pinned: dict[Future[Any], str] = {}  # addresses of the workers
        self.finished: queue.Queue[Future[Any]] = queue.Queue()
        self.fetched: deque[tuple[TaskState, Any]] = deque()  # results to be yielded
        self.error: Exception | None = None  # to be raised after them
        self.under_way = 0  # tasks, until their result is yielded
        self.watch = Watch(cluster, client)

    def collect_results(self) -> Iterator[tuple[Any, Any]]:
        """Run the work; yields (key, result or Failure) in order of completion."""
        try:
            self._submit_more()
            while self.pending or self.suspects or self.fetched or self.error:
                if not self.fetched:
                    if self.error:
                        raise self.error
                    self._fetch_finished()
                yielded = [self.fetched.popleft()] if self.fetched else []
                self.under_way -= sum(work.count for work, _ in yielded)
                if not self.error:
                    self._submit_more()
                yield from ((work.key, outcome) for work, outcome in yielded)
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self.client.cancel(list(self.pending))

    def _fetch_finished(self) -> None:
        """Fetch the results of finished work, and handle what failed.

        An error that stops the run is kept until the other fetched results are yielded.
        """
        finished = [future for future in self._list_finished() if future in self.pending]
        done = [future for future in finished if future.status == "finished"]
        results: dict[Future[Any], Any] = {}
        if len(done) > 1:
            with suppress(Exception):  # each future reports its own error
                results = dict(zip(done, self.client.gather(done), strict=True))
        for future in finished:
            work = self.pending.pop(future)
            self.pinned.pop(future, None)
            try:
                outcome = (
                    results[future] if future in results else self._handle_outcome(work, future)
                )
            except Exception as error:
                self.error = error
                continue
            future.release()
            if outcome is work:
                self.under_way -= work.count
                self.suspects.append(work)
            else:
                self.fetched.append((work, outcome))

    def _list_finished(self) -> list[Future[Any]]:
        """List some finished futures; none if none finishes within `POLL_S`."""
        try:
            finished = [self.finished.get(timeout=POLL_S)]
        except queue.Empty:
            self.watch.check()
            return []
        with suppress(queue.Empty):
            while len(finished) < min(self.together, FETCHED_TOGETHER):
                finished.append(self.finished.get_nowait())
        return finished

    def _submit_more(self) -> None:
        """Submit enough to keep the present workers busy; at least enough for one thread."""
        threads = self.watch.list_workers()
        self._cancel_stranded()
        pinned = set(self.pinned.values())
        while self.suspects and (free := [worker for worker in threads if worker not in pinned]):
            work = self.suspects.pop(0)
            others = (worker for worker in free if worker not in work.avoided_workers)
            chosen = next(others, free[0])
            pinned.add(chosen)
            self._submit([work], chosen)
        thread_count = max(sum(threads.values()), 1)
        least = min(self.together, thread_count)
        while (room := TASKS_PER_THREAD * thread_count - self.under_way) >= least:
            some = list(islice(self.unsubmitted, min(room, self.together)))
            if not some:
                return
            self._submit(some)

    def _cancel_stranded(self) -> None:
        """Cancel work waiting for a worker that is gone; it is retried like a lost task."""
        for future, worker in self.pinned.items():
            if future.status == "pending" and self.watch.is_gone(worker):
                future.cancel()

    def _submit(self, some: Sequence[TaskState], worker: str = "") -> None:
        futures = self.submit([work.item for work in some], [worker] if worker else None)
        for work, future in zip(some, futures, strict=True):
            self.pending[future] = work
            self.under_way += work.count
            if worker:
                self.pinned[future] = worker
            future.add_done_callback(self.finished.put)

    def _handle_outcome(self, work: TaskState, future: Future[Any]) -> Any:
        """Get the result of work, a `Failure`, or the work itself if it is to be retried."""
        from distributed.scheduler import KilledWorker  # not needed for calls in this process

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
        except Exception as error:  # it cannot be sent or read
            self.watch.check_workers()
            worker, reason = "", _describe_error(error)
        work.failures += failures
        work.avoided_workers.add(worker)
        if work.failures > self.retries:
            return Failure(reason, work.failures)
        log.info("retrying a task (%d of %d): %s", work.failures, self.retries, reason)
        return work
