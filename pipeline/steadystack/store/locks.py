"""One run at a time on an output."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from steadystack.model import InputError
from steadystack.store.leases import leased, this_process
from steadystack.store.remote import is_remote

log = logging.getLogger(__name__)


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Keep other runs off the output at `path` for as long as this lasts.

    The lock is the system's (``flock``) on a small hidden file beside the output: it ends with the
    process, however that ends; the file stays. On NFS it holds between machines. Where the file
    system knows no locks the run goes on with a warning. On an object store it is a lease.

    Raises InputError that tells who holds it.
    """
    if is_remote(path):
        with leased(path):
            yield
        return
    output = Path(path.rstrip("/"))
    file = output.with_name(f".{output.name}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, blocking=False, fallback_to_soft=False, is_singleton=False)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{path} is being written by another run ({_holder(file)}): wait for it, or stop it"
        ) from None
    except (OSError, NotImplementedError) as error:
        if not os.access(output.parent, os.W_OK) or not output.parent.is_dir():
            raise InputError(f"{path} cannot be written: {error}") from error
        log.warning("%s cannot be locked (%s): start no second run on it", path, error)
        yield
        return
    try:
        file.write_text(json.dumps(this_process()), encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(file: Path) -> str:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return f"process {found['process']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not told its name yet"
