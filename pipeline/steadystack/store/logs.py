"""A log as a file; on an object store it is put there anew now and then."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from steadystack.model import InputError, RunError
from steadystack.store import objects
from steadystack.store.appender import BRIEFLY_S, Appender
from steadystack.store.remote import is_remote

SENT_S = 30.0  # lines are sent so often at most
FLUSH_S = 20.0  # what is waited for a store that is away


def log_file(path: str) -> logging.Handler:
    """What appends the lines of a log to a file; raises OSError if it cannot be written."""
    if is_remote(path):
        return _Sent(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(path, encoding="utf-8")


class _Sent(logging.Handler):
    """Lines appended to an object. A store that is away is no error of the log: it is tried later.

    Logs of other runs in the same object stay.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.unsent, self.away, self.ended = path, b"", False, False
        self.lines = Appender(self._send, SENT_S)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)}\n".encode())

    def flush(self) -> None:
        if not self.ended:
            self.lines.flush(BRIEFLY_S if self.away else FLUSH_S)

    def close(self) -> None:
        if not self.ended:
            self.lines.close(BRIEFLY_S if self.away else FLUSH_S)
        self.ended = True
        super().close()

    def _send(self, content: bytes) -> None:
        self.unsent += content
        self.away = True
        with suppress(RunError, InputError):
            objects.append(self.path, self.unsent)
            self.unsent, self.away = b"", False
