"""Append to a store: bytes are collected, and sent in the background."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from steadystack.durable import objects
from steadystack.durable.locks import check_held
from steadystack.model import UnreachableError

# The shortest time between two sends, seconds; later in a run this fraction of the elapsed time, as
# every send makes another object.
MIN_INTERVAL_S, ELAPSED_FRACTION = 1.0, 1 / 500
# How long closing waits for a store that is out of reach anyway, seconds.
AWAY_TIMEOUT_S = 5.0
# The shortest time between two sends of a log's lines, and the wait for a slow store, seconds.
LOG_INTERVAL_S, FLUSH_TIMEOUT_S = 30.0, 20.0


class Appender:
    """Sends bytes in the order in which they are appended, without making the caller wait.

    Parameters
    ----------
    send : gets the bytes that were appended since its last call; called by one thread at a time.
        What it raises is raised by the next call of a method.
    interval_s : the shortest time between two calls of `send`; None: `MIN_INTERVAL_S`
    """

    def __init__(self, send: Callable[[bytes], None], interval_s: float | None = None) -> None:
        self._send, self._interval_s = send, MIN_INTERVAL_S if interval_s is None else interval_s
        self._started, self._next_send = time.monotonic(), 0.0
        self._pending, self._is_sending = bytearray(), False
        self._is_flushing = self._is_closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._send_pending, name="steadystack-sends", daemon=True
        )
        self._thread.start()

    def append(self, content: bytes) -> None:
        with self._changed:
            self._raise_error()
            self._pending += content
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything is sent, at most `timeout` seconds."""
        with self._changed:
            self._is_flushing = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._error or not (self._pending or self._is_sending), timeout
            )
            self._is_flushing = False
            self._raise_error()

    def close(self, timeout: float | None = None) -> None:
        """Send the rest; nothing can be appended any more."""
        try:
            self.flush(timeout)
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
            self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        # The error that ended the block is raised, not one that closing adds to it.
        is_away = issubclass(kind, UnreachableError)
        try:
            self.close(AWAY_TIMEOUT_S if is_away else None)
        except Exception:
            return

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _send_pending(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closed)
                if not self._pending:
                    return
                pause = max(self._next_send - time.monotonic(), 0)
                self._changed.wait_for(lambda: self._is_flushing or self._is_closed, pause)
                content = bytes(self._pending)
                self._pending.clear()
                self._is_sending = True
            error: BaseException | None = None
            try:
                self._send(content)
            except BaseException as raised:  # the thread that appends raises it
                error = raised
            now = time.monotonic()
            with self._changed:
                self._is_sending, self._error = False, error
                elapsed = now - self._started
                self._next_send = now + max(self._interval_s, ELAPSED_FRACTION * elapsed)
                self._changed.notify_all()
                if error is not None:
                    return


@dataclass(frozen=True)
class ObjectRecords:
    """Records in numbered objects under a path; each object holds some of them."""

    path: str

    def read(self) -> Iterator[tuple[str, bytes]]:
        yield from objects.get_all(self.path, self._list_names())

    def write(self, good: Mapping[str, int], title: bytes = b"") -> Appender:
        objects.delete(self.path, [name for name, length in good.items() if not length])
        last_number = max(map(int, self._list_names()), default=0)
        numbers = itertools.count(last_number + 1)

        def put(records: bytes) -> None:
            check_held()
            objects.put(f"{self.path}/{next(numbers):08d}", title + records)

        return Appender(put)

    def _list_names(self) -> list[str]:
        names = (name for name in objects.list_below(self.path) if name.isdecimal())
        return sorted(names, key=int)


class SentLog(logging.Handler):
    """Appends log lines to an object, keeping what other runs have written there.

    If a store takes no lines, nothing is raised: they are sent later.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self._unsent, self._is_away, self._is_closed = path, b"", False, False
        self._appender = Appender(self._send, LOG_INTERVAL_S)

    def emit(self, record: logging.LogRecord) -> None:
        self._appender.append(f"{self.format(record)}\n".encode())

    def flush(self) -> None:
        if not self._is_closed:
            self._appender.flush(AWAY_TIMEOUT_S if self._is_away else FLUSH_TIMEOUT_S)

    def close(self) -> None:
        if not self._is_closed:
            self._appender.close(AWAY_TIMEOUT_S if self._is_away else FLUSH_TIMEOUT_S)
        self._is_closed = True
        super().close()

    def _send(self, content: bytes) -> None:
        self._unsent += content
        self._is_away = True
        with suppress(Exception):  # a log that cannot be written must not end a run
            objects.append(self.path, self._unsent)
            self._unsent, self._is_away = b"", False


class FileLog(logging.FileHandler):
    """Appends log lines to a file.

    A full disk neither ends the run nor prints anything: lines without space are lost.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()

    def close(self) -> None:
        with suppress(OSError):
            super().close()
