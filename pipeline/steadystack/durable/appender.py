"""What grows: bytes that are sent to a store in the background, many at a time."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from steadystack.durable import objects
from steadystack.durable.locks import check_held
from steadystack.model import InputError, RunError, UnreachableError

# So often at most, seconds; later after this part of the time that has gone by, as every time is
# another object.
OFTEN_S, PART = 1.0, 1 / 500
# What is waited for at the end where the store is out of reach anyway, seconds.
BRIEFLY_S = 5.0
# Lines of a log are sent so often at most; what is waited for a store that is away, seconds.
SENT_S, FLUSH_S = 30.0, 20.0


class Appender:
    """Sends bytes in the order in which they came; who appends them does not wait.

    Parameters
    ----------
    send : gets what has come together since it was called before; called by one thread at a time
    often_s : it is called so often at most

    What it raises is raised by the next call of a method.
    """

    def __init__(self, send: Callable[[bytes], None], often_s: float | None = None) -> None:
        self._send, self._often_s = send, OFTEN_S if often_s is None else often_s
        self._begun, self._next = time.monotonic(), 0.0
        self._waiting, self._sending = bytearray(), False
        self._hurry = self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="steadystack-sends", daemon=True)
        self._thread.start()

    def append(self, content: bytes) -> None:
        with self._changed:
            self._raise()
            self._waiting += content
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all is sent."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._error or not (self._waiting or self._sending), timeout
            )
            self._hurry = False
            self._raise()

    def close(self, timeout: float | None = None) -> None:
        """Send the rest; nothing can be appended any more."""
        try:
            self.flush(timeout)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        # What happened is raised, and not what comes of it here.
        away = issubclass(kind, UnreachableError)
        try:
            self.close(BRIEFLY_S if away else None)
        except Exception:
            return

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                pause = max(self._next - time.monotonic(), 0)
                self._changed.wait_for(lambda: self._hurry or self._closed, pause)
                content = bytes(self._waiting)
                self._waiting.clear()
                self._sending = True
            error: BaseException | None = None
            try:
                self._send(content)
            except BaseException as raised:  # it is raised by who appends
                error = raised
            now = time.monotonic()
            with self._changed:
                self._sending, self._error = False, error
                self._next = now + max(self._often_s, PART * (now - self._begun))
                self._changed.notify_all()
                if error is not None:
                    return


@dataclass(frozen=True)
class ObjectRecords:
    """Records in objects under a path, each of which has some of them: their numbers are names."""

    path: str

    def read(self) -> Iterator[tuple[str, bytes]]:
        yield from objects.get_all(self.path, self._names())

    def write(self, good: Mapping[str, int], title: bytes = b"") -> Appender:
        objects.delete(self.path, [name for name, length in good.items() if not length])
        last = max(map(int, self._names()), default=0)
        numbers = itertools.count(last + 1)

        def put(records: bytes) -> None:
            check_held()
            objects.put(f"{self.path}/{next(numbers):08d}", title + records)

        return Appender(put)

    def _names(self) -> list[str]:
        names = (name for name in objects.list_below(self.path) if name.isdecimal())
        return sorted(names, key=int)


class SentLog(logging.Handler):
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
