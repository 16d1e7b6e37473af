"""What grows: bytes that are sent to a store in the background, many at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from steadystack.model import UnreachableError
from steadystack.store import objects
from steadystack.store.leases import check_held

# So often at most, seconds; later after this part of the time that has gone by, as every time is
# another object.
OFTEN_S, PART = 1.0, 1 / 500
# What is waited for at the end where the store is out of reach anyway, seconds.
BRIEFLY_S = 5.0


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


class Numbered:
    """Puts one object after the other under a remote path: their number is their name."""

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        self.last = max((int(name) for name in numbers(objects.below(self.path))), default=0)

    def __call__(self, content: bytes) -> None:
        check_held()
        objects.put(f"{self.path}/{self.last + 1:08d}", content)
        self.last += 1


def numbers(names: Iterable[str]) -> list[str]:
    """Those of the names that are numbers, in their order."""
    return sorted((name for name in names if name.isdecimal()), key=int)
