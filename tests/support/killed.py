"""Work that is killed at a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Ends things here as a kill does: nothing is tidied up on the way."""


class Steps:
    """Counts the calls of what it wraps, and ends the one numbered `stop_at`; None: none."""

    def __init__(self) -> None:
        self.stop_at: int | None = None
        self.count = 0

    def begin(self, stop_at: int | None) -> None:
        self.count, self.stop_at = 0, stop_at

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            if self.count == self.stop_at:
                raise Killed
            return call(*arguments, **keywords)

        return step
