"""Allow one run at a time per output: with a lock on this machine, or a lease on an object store.

The lease is an object beside the output, which is renewed; it is written only if there is none, or
if it is still the version that was read. It says who holds it. A lease that is no longer renewed,
or whose process on this machine is dead, is taken over.
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

from steadystack.durable import files, objects
from steadystack.model import InputError, OutputError, RunError

log = logging.getLogger(__name__)

# Renewal interval of a lease, and the time after which it counts as abandoned, seconds.
RENEWAL_S, EXPIRY_S = 20.0, 120.0
# How long ending a lease may wait for the store, seconds; a lease expires by itself, too.
END_TIMEOUT_S = 10.0
MAX_TRIES = 5
TARGET = "target"  # the key of outputs given to a command as a path, without a setting
# The beginning, or all, of a local lock file's content; or part of it, after a full disk.
LOCK_BEGINS = b'{"host": ', b"{}"

_held: dict[str, Lease] = {}  # the leases of this process, by their tokens
_late: list[threading.Thread] = []  # threads ending leases on a store that does not answer


@contextmanager
def hold_flock(path: str, key: str = "") -> Iterator[None]:
    """Keep other runs off the output at `path` of this machine during the block.

    The lock is the system's (``flock``) on a small hidden file beside the output: it ends with the
    process, however that ends. The file stays, except for outputs besides the shifts, whose `key`
    is as in `places.Place`. On NFS the lock holds between machines. If the file system has no
    locks, the run continues with a warning.

    Raises InputError that says who holds it, or that a foreign file is in the place of the lock.
    """
    output = Path(path)
    file = output.with_name(f".{output.name}.lock")
    _check_own(file)
    new_folders = [folder for folder in output.parents if not folder.exists()]  # innermost first
    try:
        lock = _acquire_in_folder(file)
    except Timeout:
        if not file.exists() and (reason := _find_refusal(file)):
            raise InputError(f"{path} cannot be written: {reason}") from None
        raise InputError(
            f"{path} is being written by another run ({_read_holder(file)}): {_advise(key)}"
        ) from None
    except (OSError, NotImplementedError) as error:
        if not os.access(output.parent, os.W_OK) or not output.parent.is_dir():
            raise InputError(f"{path} cannot be written: {error}") from error
        if key and isinstance(error, PermissionError):
            raise InputError(
                f"{path} cannot be locked: {file} is another user's: {_advise(key)}"
            ) from error
        if not key:
            log.warning("%s cannot be locked (%s): do not start a second run on it", path, error)
        yield
        return
    try:
        with suppress(OSError):  # a full disk: the lock holds without saying who holds it
            file.write_text(json.dumps(identify_process()), encoding="utf-8")
        yield
    finally:
        if key:  # one that opened it meanwhile finds that it is deleted, and has no lock
            with suppress(OSError):
                file.unlink()
                for folder in new_folders:
                    folder.rmdir()  # it is not empty, unless the output was refused
        lock.release()


def _acquire_in_folder(file: Path) -> FileLock:
    """Acquire a lock in a folder that is made if need be, again if another run took it away."""
    with suppress(FileNotFoundError):
        file.parent.mkdir(parents=True, exist_ok=True)
        return _acquire(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    return _acquire(file)


def _check_own(file: Path) -> None:
    """Raise InputError if a foreign file is in the place of a lock."""
    try:
        begin = b""
        if file.is_file():
            with file.open("rb") as opened:
                begin = opened.read(len(LOCK_BEGINS[0]))
    except OSError:
        return  # acquiring the lock shows why
    if not any(ours.startswith(begin) for ours in LOCK_BEGINS):
        raise files.explain_stranger(file)


def _acquire(file: Path) -> FileLock:
    """Acquire the lock of a file; Timeout if another run holds it and is not just ending."""
    lock = FileLock(file, blocking=False, fallback_to_soft=False, is_singleton=False)
    try:
        lock.acquire()
    except Timeout:
        if file.exists():
            raise
        lock.acquire()
    return lock


def _advise(key: str) -> str:
    other = f", stop it, or set another output.{key}" if key else ", or stop it"
    other = ", stop it, or choose another path" if key == TARGET else other
    return f"wait for it{other}"


def _find_refusal(file: Path) -> str:
    """Find out why the file cannot be created; "" if it can."""
    try:
        file.touch()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _read_holder(file: Path) -> str:
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process is not known yet"


@contextmanager
def hold_lease(path: str, key: str = "") -> Iterator[None]:
    """Keep other runs off the remote output at `path` during the block.

    `key` is as in `places.Place`.

    Raises
    ------
    InputError
        That tells who holds it and for how long, why nothing can be written there, or of an object
        of others in the place of the lease.
    """
    lease = Lease(path, key)
    _held[lease.token] = lease
    try:
        with objects.explaining_refusals(path):
            lease.take()
        renewing = threading.Thread(target=lease.keep, name="steadystack-lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            lease.end_event.set()
            ending = threading.Thread(target=lease.end, args=(renewing,), daemon=True)
            ending.start()
            # if one has waited in vain, the others of a run do not wait, too
            ending.join(0 if any(late.is_alive() for late in _late) else END_TIMEOUT_S)
            _late[:] = [thread for thread in (*_late, ending) if thread.is_alive()]
    finally:
        del _held[lease.token]


def check_held() -> None:
    """Raise OutputError if another run has taken over an output that this process writes."""
    for lease in list(_held.values()):
        if lease.is_lost:
            raise OutputError(
                f"{lease.path} was taken over by another run, because this one gave no sign "
                f"of life for {EXPIRY_S:g} s: this run stops"
            )


class Lease:
    """A lease on the output at `path`; `lost` is set once another run has taken it over."""

    def __init__(self, path: str, key: str = "") -> None:
        self.path, self.lock_path = path, objects.get_hidden_sibling(path, ".lock")
        self.key = key
        self.token = uuid4().hex
        self.holder = identify_process() | {"token": self.token}
        self.end_event, self.is_lost = threading.Event(), False
        self.version: objects.Version | None = None
        self.has_conditions = True

    def take(self) -> None:
        """Take the lease; raises InputError naming the holder if another run has it."""
        for _ in range(MAX_TRIES):
            current = objects.get(self.lock_path)
            if current is not None:
                if not _is_lease(current):
                    raise files.explain_stranger(self.lock_path)
                self._check_expired(current)
            try:
                self.version = self._put(None if current is None else current.version)
                has_conditions = current is not None or objects.supports_conditions(self.lock_path)
            except objects.ConditionsUnknown:
                has_conditions = False
            if not has_conditions:
                if not self.key:
                    log.warning(
                        "%s cannot be locked (its store has no conditional requests): do not start "
                        "a second run on it",
                        self.path,
                    )
                self.has_conditions = False
                self.version = self._put(None)
            if self.version is not None:
                return
        raise InputError(f"{self.path} is being written by another run, which came first")

    def keep(self) -> None:
        """Renew the lease until it ends; for a thread of its own."""
        while self.version is not None and not self.end_event.wait(RENEWAL_S):
            with suppress(RunError):  # the run itself reports an unreachable store
                renewed = self._put(self.version) or self._read_own_version()
                if renewed is None:
                    log.error("%s was taken over by another run", self.path)
                    self.is_lost = True
                self.version = renewed

    def end(self, renewing: threading.Thread) -> None:
        """Delete the lease, if it is still this run's, once the thread `renewing` has ended."""
        renewing.join()
        with suppress(RunError, InputError):
            if self._read_own_version() is not None:
                objects.delete(self.lock_path)

    def _put(self, version: objects.Version | None) -> objects.Version | None:
        holder = self.holder | {"renewed": datetime.now(UTC).isoformat()}
        content = json.dumps(holder).encode()
        if self.has_conditions:
            return objects.put_if(self.lock_path, content, version)
        objects.put(self.lock_path, content)  # others that look first see it
        return {"e_tag": None}

    def _read_own_version(self) -> objects.Version | None:
        """Read the version of the lease object; None unless this run holds the lease."""
        current = objects.get(self.lock_path)
        is_own = current is not None and _parse_holder(current).get("token") == self.token
        return current.version if current is not None and is_own else None

    def _check_expired(self, current: objects.Content) -> None:
        """Raise InputError if a lease belongs to a run that may be alive.

        Its run is dead if its process is gone from this machine, or it expired.
        """
        holder = _parse_holder(current)
        # By the clocks of both the store and the holder, as either may be wrong.
        age = objects.compute_age_s(current.modified)
        with suppress(KeyError, ValueError):
            age = min(age, objects.compute_age_s(datetime.fromisoformat(holder["renewed"])))
        who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
        if is_dead(holder):
            log.info("%s is taken over from %s, which has ended", self.path, who)
            return
        if age > EXPIRY_S:
            log.warning("%s is taken over from %s, silent for %.0f s", self.path, who, age)
            return
        raise InputError(
            f"{self.path} is being written by another run ({who}, since "
            f"{holder.get('since', 'not known')}): {_advise(self.key)}; if it has died, its "
            f"lock expires in {EXPIRY_S - age:.0f} s"
        )


def identify_process() -> dict[str, str]:
    """Describe this process so that no other one is the same: host, number, start, machine."""
    return {
        "host": socket.gethostname(),
        "process": str(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "born": _read_start_time(os.getpid()) or "",
        "machine": _identify_machine(),
    }


def is_dead(holder: dict[str, str]) -> bool:
    """Whether a run of this machine has ended; False if that cannot be known."""
    process, machine = holder.get("process", ""), holder.get("machine")
    is_this_machine = machine == _identify_machine() and holder.get("host") == socket.gethostname()
    if not (machine and is_this_machine and process.isdecimal()):
        return False
    if _read_start_time(int(process)) != holder.get("born"):
        return True
    # An earlier run of this same process that could not delete its lease.
    return int(process) == os.getpid() and holder.get("token") not in _held


def _is_lease(content: objects.Content) -> bool:
    """Whether an object is one of our leases; an empty one was a test for conditional requests."""
    return content.data in (b"", b"{}") or {"host", "process"} <= _parse_holder(content).keys()


def _parse_holder(content: objects.Content) -> dict[str, str]:
    """Parse the holder from the content of a lease; empty if it is not a lease."""
    try:
        holder = json.loads(content.data)
    except ValueError:
        return {}
    if not isinstance(holder, dict):
        return {}
    return {str(key): str(value) for key, value in holder.items()}


@lru_cache(maxsize=1)
def _identify_machine() -> str:
    """Identify the running system and its process namespace, as text; "" where it is unknown."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{booted} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _read_start_time(process: int) -> str | None:
    """Read when a process of this machine began, in clock ticks; None if it is not running."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]
