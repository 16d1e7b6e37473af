"""Verdicts: how far to trust a result, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from steadystack.model.words import Word

EDITED = "edited"  # the attribute that says when shifts were edited, "" if that is not known


class Trust(Word):
    """How far to trust a result, from the best to the worst."""

    GOOD = "good", "nothing speaks against it"
    CHECK = "check", "finished, but there is something to look at"
    UNRELIABLE = "unreliable", "finished, but not to be used as it is"


class Reason(Word):
    """The kinds of findings: a code, its meaning, and the key of the settings that helps first.

    Where no key helps, it is "". Causes come before effects.
    """

    key: str

    def __new__(cls, word: str, meaning: str = "", key: str = "") -> Self:
        new = str.__new__(cls, word)
        new._value_, new.meaning, new.key = word, meaning, key
        return new

    EDITED = "edited", "the shifts of frames were changed after the solve"
    MASK_INVERTED = (
        "mask_inverted",
        "what the mask excludes looks like a scene, and what it keeps does not",
        "mask.invert",
    )
    MASK_MAY_BE_INVERTED = (
        "mask_may_be_inverted",
        "what the mask excludes moves, and what it keeps does not",
        "mask.invert",
    )
    NO_DATA = (
        "no_data",
        "many pixels have a value far from all others, and something else was found",
        "mask.invalid_values",
    )
    TAKING_TURNS = (
        "taking_turns",
        "frames of several kinds take turns, as channels, planes or lights in one stack do",
        "input.frames",
    )
    PAIRS_AT_SEARCH_LIMIT = (
        "pairs_at_search_limit",
        "more than a few pairs end at the edge of the search",
        "register.max_shift",
    )
    PAIRS_LOW_NCC = (
        "pairs_low_ncc",
        "more than a few pairs correlate no better than unrelated images",
        "preprocess.high_pass",
    )
    PAIRS_AMBIGUOUS = (
        "pairs_ambiguous",
        "more than a few pairs fit equally well at another shift",
        "register.max_shift",
    )
    PAIRS_LOW_OVERLAP = (
        "pairs_low_overlap",
        "more than a few pairs overlap too little",
        "register.min_overlap",
    )
    PAIRS_INVERTED = (
        "pairs_inverted",
        "more than a few pairs are each other's negative",
        "register.allow_inverted",
    )
    STILL_PARTS = (
        "still_parts",
        "a part of the frame stands still while the scene moves",
        "mask.path",
    )
    PARTS_LEFT_OUT = (
        "parts_left_out",
        "parts of the frame go their own way, and are left out of the shifts",
        "solve.leave_out_parts",
    )
    PARTS_NOT_USED = (
        "parts_not_used",
        "parts of the frame go their own way, and were not used",
        "mask.parts",
    )
    FIELD_OF_VIEW = (
        "field_of_view",
        "part of the frame shows no scene, and was not used",
        "mask.field_of_view",
    )
    TURNING = (
        "turning",
        "frames, series or channels turn or stretch, and a shift is only the best translation",
        "motion.model",
    )
    UNKNOWN_MOTION = (
        "unknown_motion",
        "motion.model is auto, and frames may move in ways that the chosen model does not have",
        "motion.model",
    )
    MOVING_PARTS = "moving_parts", "something in the frame moves independently", "mask.path"
    REPEATED_BLOCKS = (
        "repeated_blocks",
        "frames repeat parts of others exactly, as recordings do that skip what hardly changes",
    )
    FIXED_PATTERN = (
        "fixed_pattern",
        "what stands still in the camera pulls shifts towards zero",
        "preprocess.fixed_pattern",
    )
    ONE_PART = (
        "one_part",
        "without one part of the frame, or a few, shifts differ, or there are none",
        "mask.path",
    )
    CHANNELS = "channels", "channels contradict each other, or one has no shifts", "input.channel"
    DETAIL = "detail", "fine detail alone gives different shifts", "preprocess.high_pass"
    COARSE_DETAIL = (
        "coarse_detail",
        "coarse detail alone moves further: fine detail that stands still may hold shifts back",
        "preprocess.low_pass",
    )
    UNEVEN_PLANES = (
        "uneven_planes",
        "light that falls off along z pulls shifts: equally bright planes move otherwise",
        "preprocess.high_pass",
    )
    FAR_PAIRS = (
        "far_pairs",
        "pairs far apart differ from the shifts by more than the stated errors",
        "pairs.strategy",
    )
    LESS_SHARP = "less_sharp", "the mean of the frames is less sharp when they are moved"
    LOST_FRAMES = "lost_frames", "frames have no shift of their own"
    UNMEASURED_PAIRS = "unmeasured_pairs", "pairs are not measured yet: run again"
    FAILED_PAIRS = "failed_pairs", "the tasks of some pairs were given up: run again"
    FAILED_CHECKS = "failed_checks", "checks could not be made: run again"
    DISSIMILAR_FRAMES = "dissimilar_frames", "frames fit far less well than those around them"
    PARTS = (
        "parts",
        "the series falls into parts without a usable pair between them",
        "pairs.strategy",
    )
    REJECTED_PAIRS = (
        "rejected_pairs",
        "more than a few pairs contradict the others and are rejected",
        "register.max_shift",
    )
    CONTRADICTIONS = "contradictions", "pairs that are used contradict the others by over a pixel"
    NO_MOTION = (
        "no_motion",
        "no pair moves: something in the camera outweighs the scene, or nothing drifts",
        "mask.path",
    )
    DISTANCE = (
        "distance",
        "pairs with the same separation all differ from the solution in the same way",
        "preprocess.high_pass",
    )
    PARTS_DISAGREE = (
        "parts_disagree",
        "parts of the frame disagree by far more than noise, in too few frames to tell why",
        "mask.path",
    )
    LARGE_ERRORS = "large_errors", "the stated errors of the shifts are a large fraction of a pixel"
    REFERENCE_NOT_FOUND = (
        "reference_not_found",
        "the external reference was not found: shifts are relative to the anchor",
        "external_reference.path",
    )
    SERIES_NOT_JOINED = (
        "series_not_joined",
        "a series was not found in those that it should be joined with: its frames have no shift",
    )
    NO_MAJORITY = (
        "no_majority",
        "positions that share a drift contradict each other, and no majority of them agrees",
    )
    OWN_DRIFT = "own_drift", "a position does not move as the others that share its drift"
    ANCHOR = (
        "anchor",
        "the anchor has no usable pair, and another frame is held at 0",
        "solve.anchor",
    )


@dataclass(frozen=True)
class Finding:
    """Something that speaks against a result, or about it.

    Attributes
    ----------
    trust : how bad it is
    code : its kind, by a stable name, such as "lost_frames"
    words : what it is and what to do, a line
    key : of the settings that helps first, such as "register.max_shift"; "": none does
    """

    trust: Trust
    code: Reason
    words: str

    @property
    def key(self) -> str:
        return self.code.key

    def row(self) -> dict[str, str]:
        """The finding as plain text, as stored in a shifts dataset."""
        return {"trust": self.trust, "code": self.code, "words": self.words, "key": self.key}


@dataclass(frozen=True)
class Verdict:
    """How far to trust a result, with the findings behind it; causes come before effects."""

    trust: Trust
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Verdict:
        """The verdict on findings: as bad as the worst of them."""
        all_findings, order = tuple(findings), list(Trust)
        return cls(
            max((finding.trust for finding in all_findings), key=order.index, default=Trust.GOOD),
            all_findings,
        )

    @classmethod
    def read(cls, attributes: Mapping[Any, Any]) -> Self:
        """Read a verdict from the attributes of a dataset, as made by `attributes`."""
        rows = json.loads(attributes["verdict_reasons"])
        findings = [Finding(Trust(r["trust"]), Reason(r["code"]), r["words"]) for r in rows]
        return cls(Trust(attributes["verdict"]), tuple(findings))

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings in words, a line each."""
        return tuple(finding.words for finding in self.findings)

    def __str__(self) -> str:
        return self.trust + (f" ({'; '.join(self.reasons)})" if self.findings else "")

    def attributes(self) -> dict[str, str]:
        """As attributes of a shifts dataset: the word, and the findings as JSON."""
        return {
            "verdict": str(self.trust),
            "verdict_reasons": json.dumps([finding.row() for finding in self.findings]),
        }
