"""One run at a time on an output: a lock on this machine, a lease on an object store.

The lease is an object beside the output, which is renewed; it is only written where nothing is, or
where it is what was read before. It says who holds it. One that is not renewed any more, or whose
process is dead on this machine, is taken over.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from steadystack.durable import objects
from steadystack.model import InputError, OutputError, RunError

log = logging.getLogger(__name__)

# How often a lease is renewed, and after how long without that it counts as left behind, seconds.
RENEWED_S, LEFT_S = 20.0, 120.0
# What the end of a lease waits for a store at most, seconds; it ends by itself, too.
END_S = 10.0
TRIES = 5

_held: dict[str, Lease] = {}  # of this process, by their tokens


@contextmanager
def hold_flock(path: str) -> Iterator[None]:
    """Keep other runs off the output at `path` of this machine for as long as this lasts.

    The lock is the system's (``flock``) on a small hidden file beside the output: it ends with the
    process, however that ends; the file stays. On NFS it holds between machines. Where the file
    system knows no locks the run goes on with a warning.

    Raises InputError that tells who holds it.
    """
    output = Path(path)
    file = output.with_name(f".{output.name}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, blocking=False, fallback_to_soft=False, is_singleton=False)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{path} is being written by another run ({_read_holder(file)}): wait for it, or "
            "stop it"
        ) from None
    except (OSError, NotImplementedError) as error:
        if not os.access(output.parent, os.W_OK) or not output.parent.is_dir():
            raise InputError(f"{path} cannot be written: {error}") from error
        log.warning("%s cannot be locked (%s): do not start a second run on it", path, error)
        yield
        return
    try:
        file.write_text(json.dumps(identify_process()), encoding="utf-8")
        yield
    finally:
        lock.release()


def _read_holder(file: Path) -> str:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process is not known yet"


@contextmanager
def hold_lease(path: str) -> Iterator[None]:
    """Keep other runs off the remote output at `path` for as long as this lasts.

    Raises
    ------
    InputError
        That tells who holds it and for how long, or why nothing can be written there.
    """
    lease = Lease(path)
    _held[lease.token] = lease
    try:
        with objects.explaining_refusals(path):
            lease.take()
        renewing = threading.Thread(target=lease.keep, name="steadystack-lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            lease.ended.set()
            ending = threading.Thread(target=lease.end, args=(renewing,), daemon=True)
            ending.start()
            ending.join(END_S)
    finally:
        del _held[lease.token]


def check_held() -> None:
    """Raise OutputError if another run has taken over an output that this process writes."""
    for lease in list(_held.values()):
        if lease.lost:
            raise OutputError(
                f"{lease.path} was taken over by another run, because this one gave no sign for "
                f"{LEFT_S:g} s: this run stops"
            )


class Lease:
    """A lease on the output at `path`; `lost` once another run has taken it over."""

    def __init__(self, path: str) -> None:
        self.path, self.object = path, objects.get_hidden_sibling(path, ".lock")
        self.token = uuid4().hex
        self.about = identify_process() | {"token": self.token}
        self.ended, self.lost = threading.Event(), False
        self.version: objects.Version | None = None
        self.conditions = True

    def take(self) -> None:
        """Become the holder; raises InputError that tells of another one."""
        for _ in range(TRIES):
            there = objects.get(self.object)
            if there is not None:
                self._check_left(there)
            try:
                self.version = self._put(None if there is None else there.version)
                known = there is not None or objects.knows_conditions(self.object)
            except objects.ConditionsUnknown:
                known = False
            if not known:
                log.warning(
                    "%s cannot be locked (its store has no conditional requests): do not start a "
                    "second run on it",
                    self.path,
                )
                self.conditions = False
                self.version = self._put(None)
            if self.version is not None:
                return
        raise InputError(f"{self.path} is being written by another run, which came first")

    def keep(self) -> None:
        """Renew it until it ends."""
        while self.version is not None and not self.ended.wait(RENEWED_S):
            with suppress(RunError):  # the run itself tells of a store that is away
                renewed = self._put(self.version) or self._own_version()
                if renewed is None:
                    log.error("%s was taken over by another run", self.path)
                    self.lost = True
                self.version = renewed

    def end(self, renewing: threading.Thread) -> None:
        """Give it back, if it is still this run's."""
        renewing.join()
        with suppress(RunError, InputError):
            if self._own_version() is not None:
                objects.delete(self.object)

    def _put(self, version: objects.Version | None) -> objects.Version | None:
        told = self.about | {"renewed": datetime.now(UTC).isoformat()}
        content = json.dumps(told).encode()
        if self.conditions:
            return objects.put_if(self.object, content, version)
        objects.put(self.object, content)  # others that look first see it
        return {"e_tag": None}

    def _own_version(self) -> objects.Version | None:
        """The version of what is there, if that is this lease."""
        there = objects.get(self.object)
        own = there is not None and _parse_holder(there).get("token") == self.token
        return there.version if there is not None and own else None

    def _check_left(self, there: objects.Content) -> None:
        """Raise InputError if a lease is another's, and it is not left behind."""
        holder = _parse_holder(there)
        # By the clock of the store, and of its holder: one of them may be wrong.
        age = objects.compute_age_s(there.modified)
        with suppress(KeyError, ValueError):
            age = min(age, objects.compute_age_s(datetime.fromisoformat(holder["renewed"])))
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
        if is_dead(holder):
            log.info("%s is taken over from %s, which has ended", self.path, who)
            return
        if age > LEFT_S:
            log.warning("%s is taken over from %s, silent for %.0f s", self.path, who, age)
            return
        raise InputError(
            f"{self.path} is being written by another run ({who}, since "
            f"{holder.get('since', 'not known')}): wait for it, or stop it; if it has died, its "
            f"lock expires in {LEFT_S - age:.0f} s"
        )


def identify_process() -> dict[str, str]:
    """What tells a process from all others, and where it is."""
    return {
        "host": socket.gethostname(),
        "process": str(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "born": _read_start_time(os.getpid()) or "",
        "machine": _identify_machine(),
    }


def is_dead(holder: dict[str, str]) -> bool:
    """Whether a run was of this machine, as far as that can be told, and is not any more."""
    number, machine = holder.get("process", ""), holder.get("machine")
    here = machine == _identify_machine() and holder.get("host") == socket.gethostname()
    if not (machine and here and number.isdecimal()):
        return False
    if _read_start_time(int(number)) != holder.get("born"):
        return True
    # A run of this process that could not give its lease back.
    return int(number) == os.getpid() and holder.get("token") not in _held


def _parse_holder(there: objects.Content) -> dict[str, str]:
    """What a lease says; nothing if it is not one."""
    try:
        found = json.loads(there.data)
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


@lru_cache(maxsize=1)
def _identify_machine() -> str:
    """The system since it started, and the space in which its processes are numbered; or ""."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{booted} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _read_start_time(process: int) -> str | None:
    """When a process of this machine began, in the system's count; None if it is not there."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]
