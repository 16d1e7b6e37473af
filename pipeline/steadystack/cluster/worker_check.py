"""Whether workers run what this process runs; where they do not, why, and the way out."""

from __future__ import annotations

import inspect
import logging
import queue
from collections.abc import Iterable, Iterator, Mapping
from threading import Thread
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client

from steadystack.cluster import probe
from steadystack.model import InputError

log = logging.getLogger(__name__)

# How long an answer is waited for where it is wanted, seconds: a worker has to import the package,
# as it would for its first task. One that takes longer is told of when it answers.
PATIENCE_S = 30.0
# A function would be sent by its name, which a worker without the package cannot look up.
ASK = "(there := {}, exec(source, there), there['answer']())[-1]"
SCHEDULER = "scheduler"


def ask(client: Client, workers: Iterable[str], patience: float = 0.0) -> None:
    """Ask the workers that were not asked before, and the scheduler, which reads tasks as well.

    Parameters
    ----------
    workers : the addresses of those that are there
    patience : seconds to wait for their answers; what comes later is heard by a later call

    Raises
    ------
    InputError
        If one that has answered cannot import steadystack, or has other versions.
    """
    _QUESTIONS.setdefault(client, Questions()).ask(client, workers, patience)


class Questions:
    """What was asked of a cluster and not yet heard.

    It is asked in a thread: one worker that is slow or stuck would hold up all the others.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.thread: Thread | None = None
        self.answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def ask(self, client: Client, workers: Iterable[str], patience: float) -> None:
        self._wait(patience)
        new = {SCHEDULER, *workers} - self.asked
        if new and self.thread is None:
            self.asked |= new
            self.thread = Thread(
                target=self._put, args=(client, new), name="steadystack-ask", daemon=True
            )
            self.thread.start()
            self._wait(patience)
        answers: dict[str, Any] = {}
        while not self.answers.empty():
            answers |= self.answers.get()
        # Whom the question did not reach is asked again, if it is there again.
        self.asked -= {name for name, given in answers.items() if isinstance(given, OSError)}
        heard = {name: given for name, given in answers.items() if isinstance(given, dict)}
        log.debug("worker answers: %s", answers)
        if heard and (lines := list(find_misfits(probe.answer(), heard))):
            raise InputError("\n".join(lines))

    def _wait(self, patience: float) -> None:
        if self.thread is not None and patience:
            self.thread.join(patience)
        if self.thread is not None and not self.thread.is_alive():
            self.thread = None

    def _put(self, client: Client, names: set[str]) -> None:
        space = {"source": inspect.getsource(probe)}
        workers = sorted(names - {SCHEDULER})
        try:
            if SCHEDULER in names:
                self.answers.put({SCHEDULER: client.run_on_scheduler(eval, ASK, space)})
            self.answers.put(client.run(eval, ASK, space, workers=workers, on_error="return"))
        except Exception as error:  # the scheduler is lost, which others tell
            lost = OSError(str(error))
            self.answers.put(dict.fromkeys(names, lost))


_QUESTIONS: WeakKeyDictionary[Client, Questions] = WeakKeyDictionary()


def find_misfits(
    ours: Mapping[str, str], answers: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """A line for every kind of misfit: who, what it has and what we have, and the way out."""
    kinds: dict[str, list[str]] = {}
    for name, theirs in answers.items():
        for reason in _find_reasons(ours, theirs):
            kinds.setdefault(reason, []).append(name)
    for reason, names in kinds.items():
        first = names[0] if names[0] == SCHEDULER else f"worker {names[0]}"
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{first}{others}: {reason}"


def _find_reasons(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[str]:
    if theirs["beside"] and not theirs["safe"]:
        way = "start workers with PYTHONSAFEPATH=1, or rename that file"
    else:
        way = "remove its folder from PYTHONPATH there, or rename it"
    if theirs["stranger"]:
        yield f"imports steadystack from {theirs['file']}, which is not the package: {way}"
        return
    if theirs["error"]:
        why = f"cannot import steadystack ({theirs['error']})"
        if theirs["beside"]:
            yield f"{why}; {theirs['beside']} is imported instead of a library: {way}"
        else:
            yield f"{why}: install it there"
    # Another Python does not matter: tasks are sent by the names of their functions.
    for name in probe.PACKAGES:
        there, here = theirs[name], ours[name]
        if there and here and there != here:
            yield f"has {name} {there}, and this process has {here}: install the same version there"
