"""What a verdict is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

# Less than this in every pair is what a picture of the camera itself does.
NO_MOTION_PX = 0.05


class Trust(StrEnum):
    """How far to trust a result."""

    GOOD = "good"
    LOOK = "look at it"
    NOT = "not to be trusted"


@dataclass(frozen=True)
class Verdict:
    """How far to trust a result, with reasons in plain words that say what to change."""

    trust: Trust
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return self.trust + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


Finding: TypeAlias = tuple[Trust, str]  # how bad it is, and what it is
