"""Check that workers run the same versions as this process, and say what helps if not."""

from __future__ import annotations

import inspect
import logging
import queue
from collections.abc import Iterable, Iterator, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from steadystack.cluster import probe
from steadystack.model import InputError

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

# How long to wait for answers, seconds: a worker has to import the package, as it would for its
# first task. One that takes longer is reported when it answers.
PATIENCE_S = 30.0
# A function would be sent by name, which a worker without the package cannot resolve.
QUESTION = "(namespace := {}, exec(source, namespace), namespace['answer']())[-1]"
SCHEDULER = "scheduler"


def check_workers(client: Client, workers: Iterable[str], patience: float = 0.0) -> None:
    """Ask the workers that were not asked before, and the scheduler, what they run.

    Parameters
    ----------
    workers : the addresses of the present workers
    patience : seconds to wait for answers; a later call reads those that come later

    Raises
    ------
    InputError
        If one that has answered cannot import steadystack, or has other versions.
    """
    _QUESTIONS.setdefault(client, Questions()).check_workers(client, workers, patience)


class Questions:
    """The questions to a cluster and the answers that have come so far.

    A thread asks, as one slow or stuck worker would hold up all the others.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.thread: Thread | None = None
        self.answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def check_workers(self, client: Client, workers: Iterable[str], patience: float) -> None:
        self._wait(patience)
        new = {SCHEDULER, *workers} - self.asked
        if new and self.thread is None:
            self.asked |= new
            self.thread = Thread(
                target=self._ask_all, args=(client, new), name="steadystack-ask", daemon=True
            )
            self.thread.start()
            self._wait(patience)
        answers: dict[str, Any] = {}
        while not self.answers.empty():
            answers |= self.answers.get()
        # Workers that the question did not reach are asked again if they return.
        self.asked -= {name for name, reply in answers.items() if isinstance(reply, OSError)}
        replies = {name: reply for name, reply in answers.items() if isinstance(reply, dict)}
        log.debug("worker answers: %s", answers)
        if replies and (lines := list(find_misfits(probe.answer(importing=False), replies))):
            raise InputError("\n".join(lines))

    def _wait(self, patience: float) -> None:
        if self.thread is not None and patience:
            self.thread.join(patience)
        if self.thread is not None and not self.thread.is_alive():
            self.thread = None

    def _ask_all(self, client: Client, names: set[str]) -> None:
        space = {"source": inspect.getsource(probe)}
        workers = sorted(names - {SCHEDULER})
        try:
            if SCHEDULER in names:
                self.answers.put({SCHEDULER: client.run_on_scheduler(eval, QUESTION, space)})
            self.answers.put(client.run(eval, QUESTION, space, workers=workers, on_error="return"))
        except Exception as error:  # the scheduler is lost, which `Watch` reports
            lost = OSError(str(error))
            self.answers.put(dict.fromkeys(names, lost))


_QUESTIONS: WeakKeyDictionary[Client, Questions] = WeakKeyDictionary()


def find_misfits(
    own_facts: Mapping[str, str], answers: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield a line for every kind of misfit: which worker, what it has, what this process has.

    Both arguments hold what `probe.answer` returns, `answers` by the name of the worker.
    """
    kinds: dict[str, list[str]] = {}
    for name, worker_facts in answers.items():
        for reason in _find_reasons(own_facts, worker_facts):
            kinds.setdefault(reason, []).append(name)
    for reason, names in kinds.items():
        first = names[0] if names[0] == SCHEDULER else f"worker {names[0]}"
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{first}{others}: {reason}"


def _find_reasons(own_facts: Mapping[str, str], worker_facts: Mapping[str, str]) -> Iterator[str]:
    if worker_facts["beside"] and not worker_facts["safe"]:
        remedy = "start workers with PYTHONSAFEPATH=1, or rename that file"
    else:
        remedy = "remove its folder from PYTHONPATH there, or rename it"
    if worker_facts["stranger"]:
        yield f"imports steadystack from {worker_facts['file']}, which is not the package: {remedy}"
        return
    if worker_facts["error"]:
        problem = f"cannot import steadystack ({worker_facts['error']})"
        if worker_facts["beside"]:
            yield f"{problem}; {worker_facts['beside']} is imported instead of a library: {remedy}"
        else:
            yield f"{problem}: install it there"
    # Another Python does not matter: tasks are sent by the names of their functions.
    for name in probe.PACKAGES:
        worker_version, own_version = worker_facts[name], own_facts[name]
        if worker_version and own_version and worker_version != own_version:
            yield (
                f"has {name} {worker_version}, and this process has {own_version}: install the "
                "same version there"
            )
