"""How far to trust a result, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Trust(StrEnum):
    """How far to trust a result, from the best to the worst."""

    GOOD = "good"
    CHECK = "check"  # finished, and something to look at
    UNRELIABLE = "unreliable"


@dataclass(frozen=True)
class Finding:
    """Something that speaks against a result, or about it.

    Attributes
    ----------
    trust : how bad it is
    code : a name that stays the same, such as "lost_frames"
    words : what it is and what to do, a line
    key : of the settings that helps first, such as "register.max_shift"; "": none does
    """

    trust: Trust
    code: str
    words: str
    key: str = ""


@dataclass(frozen=True)
class Verdict:
    """How far to trust a result, with the findings behind it; causes come before effects."""

    trust: Trust
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Verdict:
        """As bad as the worst of the findings."""
        found, order = tuple(findings), list(Trust)
        return cls(max((one.trust for one in found), key=order.index, default=Trust.GOOD), found)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings in words, a line each."""
        return tuple(finding.words for finding in self.findings)

    def __str__(self) -> str:
        return self.trust + (f" ({'; '.join(self.reasons)})" if self.findings else "")

    def attributes(self) -> dict[str, str]:
        """What a shifts dataset holds of it: the word, and the findings as JSON."""
        return {
            "verdict": str(self.trust),
            "verdict_reasons": json.dumps([asdict(finding) for finding in self.findings]),
        }
