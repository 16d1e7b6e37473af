"""Whether to trust a result, and why not: from statuses and residuals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from pipeline.model import (
    Bools,
    FrameStatus,
    FrameTable,
    LocalMotion,
    PairStatus,
    PairTable,
    StaticEffect,
)

# Pairs that agree do so within a small part of a pixel.
LARGE_RESIDUAL_PX = 1.0
# Pairs of one distance, so many at least, are off if their mean residual is this many standard
# errors, this many px, and this part of their mean shift away from 0.
FEWEST_OF_LAG, OFF_ERRORS, OFF_PX, OFF_PART = 30, 6.0, 0.005, 0.05
# Less than this in every pair is what a picture of the camera itself does.
NO_MOTION_PX = 0.05
# What stands still is told of if it takes this much away from a shift and so many standard errors,
# and wins where it leaves less than that part of it.
PULL_PX, PULL_ERRORS, WINS = 0.02, 4.0, 0.5
# Where hardly anything moves, a scene that changes looks like one that is held back: more is asked.
PULL_AT_REST_PX = 0.15
# More parts of the frame than these that move by themselves leave open which is the scene.
MOVES = 0.3
# A fraction of frames or pairs that is worth a look, and one that spoils the whole.
FEW, MANY = 0.05, 0.5
# Frames that are told by their number, at most.
NAMED = 5


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


HAS_PIXELS = (FrameStatus.OK, FrameStatus.INCOMPLETE)

Finding: TypeAlias = tuple[Trust, str]  # how bad it is, and what it is

ADVICE = {
    PairStatus.AT_BOUND: "stop at the edge of the search: raise register.max_shift",
    PairStatus.LOW_NCC: "are no more alike than chance: check the mask, try preprocess.high_pass",
    PairStatus.AMBIGUOUS: "fit as well at another shift: lower register.max_shift",
    PairStatus.LOW_OVERLAP: "overlap too little: lower register.min_overlap",
    PairStatus.INVERTED: "are each other's negative: set register.contrast to either",
}


def judge(
    pairs: PairTable,
    frames: FrameTable,
    anchor: int = 0,
    *,
    max_shift: object = None,
    static: StaticEffect | None = None,
    motion: LocalMotion | None = None,
) -> Verdict:
    """The verdict on a solved series; causes come before what follows from them.

    `anchor` and `max_shift` are what was asked for, `static` and `motion` what was found of what
    stands still and of what moves by itself.
    """
    findings = [
        *_doubtful_pairs(pairs, frames, max_shift),
        *_pull(static),
        *_parts_apart(motion),
        *_lost_frames(pairs, frames),
        *_unlike_frames(frames),
        *_parts(frames),
        *_rejected_pairs(pairs, frames),
        *_contradictions(pairs, frames),
        *_lags_apart(pairs, frames),
        *_lost_anchor(frames, anchor),
    ]
    worst = max((list(Trust).index(trust) for trust, _ in findings), default=0)
    return Verdict(list(Trust)[worst], tuple(reason for _, reason in findings))


def _known(frames: FrameTable) -> Bools:
    interpolated = frames.status == FrameStatus.INTERPOLATED.code
    return np.asarray(np.isfinite(frames.shift).all(axis=1) & ~interpolated, bool)


def _lost_frames(pairs: PairTable, frames: FrameTable) -> Iterator[Finding]:
    """Frames that have no shift, and pairs that nobody measured."""
    known = _known(frames)
    total, lost = len(known), int((~known).sum())
    if lost:
        share = lost / total
        trust = Trust.NOT if share > MANY else Trust.LOOK if share > FEW else Trust.GOOD
        own = " of their own" if np.isfinite(frames.shift[~known]).any() else ""
        yield trust, f"{lost} of {total} frames have no shift{own}: {_causes(frames, known)}"
    unmeasured = pairs.count([PairStatus.UNMEASURED])
    if unmeasured:
        count = len(pairs.status)
        yield Trust.LOOK, f"{unmeasured} of {count} pairs are not measured yet: run again"
    failed = pairs.count([PairStatus.FAILED])
    if failed:
        reason = next(iter(pairs.failures.values()), "unknown")
        yield (
            Trust.LOOK,
            f"{failed} of {len(pairs.status)} pairs failed ({reason}): run again",
        )


def _unlike_frames(frames: FrameTable) -> Iterator[Finding]:
    """Frames with a shift in which hardly anything of the scene is to be seen."""
    unlike = np.flatnonzero(frames.status == FrameStatus.UNLIKE.code)
    total, count = len(frames.status), len(unlike)
    if count:
        which = ", ".join(map(str, unlike[:NAMED])) + (", ..." if count > NAMED else "")
        yield (
            Trust.LOOK if count > FEW * total else Trust.GOOD,
            f"{count} of {total} frames fit far less well than those around them, and their shifts "
            f"may be off (out of focus, covered?): {which}",
        )


def _parts(frames: FrameTable) -> Iterator[Finding]:
    """A series that falls apart."""
    parts = int(frames.component.max(initial=-1)) + 1
    if parts > 1:
        known = _known(frames)
        share = (frames.component[known] == 0).mean()
        yield (
            Trust.LOOK if share >= 1 - FEW else Trust.NOT,
            f"the series falls into {parts} parts without a usable pair between them, and shifts "
            "of different parts do not compare: measure more pairs (pairs.extra, pairs.width, "
            "pairs.lags)",
        )


def _doubtful_pairs(pairs: PairTable, frames: FrameTable, max_shift: object) -> Iterator[Finding]:
    """Pairs without a shift between frames that have one; or between any, if most have none.

    Pairs that are no more alike than chance are a loss and no danger: scenes change with time.
    """
    known = _known(frames)
    if known.mean() < MANY:
        known = np.isin(pairs.frame_status, [status.code for status in HAS_PIXELS])
    usable = known[pairs.reference] & known[pairs.moving]
    total = int(usable.sum())
    for status, advice in ADVICE.items():
        count = int((pairs.status[usable] == status.code).sum())
        if count > FEW * total:
            dangerous = status is not PairStatus.LOW_NCC and count > MANY * total
            limit = f" above {max_shift}" if status is PairStatus.AT_BOUND and max_shift else ""
            trust = Trust.NOT if dangerous else Trust.LOOK
            yield trust, f"{count} of {total} pairs {advice}{limit}"


def _rejected_pairs(pairs: PairTable, frames: FrameTable) -> Iterator[Finding]:
    """Pairs that contradict the rest, between frames that have a shift: more than a few of them.

    Those of a frame that fits nothing are counted with the frame.
    """
    known = _known(frames)
    usable = pairs.ok & known[pairs.reference] & known[pairs.moving]
    total, count = int(usable.sum()), int((usable & frames.rejected).sum())
    if count > FEW * total:
        yield (
            Trust.NOT if count > MANY * total else Trust.LOOK,
            f"{count} of {total} pairs contradict the others and are rejected: look at "
            "pair_residual, lower register.max_shift, measure more pairs",
        )


def _contradictions(pairs: PairTable, frames: FrameTable) -> Iterator[Finding]:
    """Pairs that cannot all be right, and pairs that all say the same of a camera at rest."""
    used = pairs.ok & ~frames.rejected
    if not used.any():
        return
    residual = np.abs(frames.residual[used]).max(axis=1)
    if residual.max() > LARGE_RESIDUAL_PX:
        count = int((residual > LARGE_RESIDUAL_PX).sum())
        yield (
            Trust.LOOK,
            f"{count} pairs contradict the others by up to {residual.max():.1f} px: look at "
            "pair_residual",
        )
    if np.abs(pairs.shift[used]).max() < NO_MOTION_PX:
        yield (
            Trust.LOOK,
            f"no pair moves by more than {NO_MOTION_PX} px: either nothing drifts, or what stands "
            "still in the camera wins over the scene: mask it, or set preprocess.static: estimate",
        )


def _lags_apart(pairs: PairTable, frames: FrameTable) -> Iterator[Finding]:
    """Pairs so many frames apart that are all off the solution the same way.

    A single one does not show it, and pairs of one distance agree with each other; what stands
    still or changes pulls close pairs and far ones differently.
    """
    used = pairs.ok & ~frames.rejected & np.isfinite(frames.residual).all(axis=1)
    apart = pairs.moving - pairs.reference
    worst: tuple[float, int, float] | None = None
    for lag in np.unique(np.abs(apart[used])).tolist():
        rows = used & (np.abs(apart) == lag)
        if rows.sum() < FEWEST_OF_LAG:
            continue
        way = np.sign(apart[rows])[:, None]
        residual, shift = frames.residual[rows] * way, pairs.shift[rows] * way
        off, error = residual.mean(axis=0), residual.std(axis=0) / np.sqrt(len(residual))
        size = float(np.linalg.norm(off))
        part = size / max(float(np.linalg.norm(shift.mean(axis=0))), 1e-9)
        certain = bool((np.abs(off) > OFF_ERRORS * error).any())
        if certain and size > OFF_PX and part > OFF_PART and (worst is None or part > worst[0]):
            worst = part, lag, size
    if worst is not None:
        part, lag, size = worst
        yield (
            Trust.LOOK,
            f"pairs {lag} frame(s) apart are off what all pairs say by {size:.3f} px on average, "
            f"{part:.0%} of how far they move: something that stands still or changes pulls them; "
            "mask it, try preprocess.high_pass (static: estimate only where the scene stays the "
            "same), trust pairs further apart (pairs.lags)",
        )


def _pull(static: StaticEffect | None) -> Iterator[Finding]:
    """What stands still in the camera and makes shifts too small."""
    if static is None or not static.certain:
        return
    least = PULL_AT_REST_PX if static.with_it < NO_MOTION_PX else PULL_PX
    if static.without_it - static.with_it > max(least, PULL_ERRORS * static.error):
        yield (
            Trust.NOT if static.with_it < WINS * static.without_it else Trust.LOOK,
            f"what stands still in the camera pulls shifts towards zero: {static.pairs} pairs, on "
            f"average {static.with_it:.2f} px, are {static.without_it:.2f} px without it: mask it, "
            "or set preprocess.static: estimate",
        )


def _parts_apart(motion: LocalMotion | None) -> Iterator[Finding]:
    """Parts of the frame that do not move as the whole does."""
    if motion is None or not motion.moving:
        return
    if motion.linear:
        yield (
            Trust.LOOK,
            "the frames turn or stretch: parts of them are off the shift of the whole by up to "
            f"{motion.size:.1f} px between the frames of a pair, and a shift is only the best "
            "translation",
        )
        return
    yield (
        Trust.NOT if motion.moving > MOVES * motion.parts else Trust.LOOK,
        f"something moves by itself: {motion.moving} of {motion.parts} parts of the frame are off "
        f"the shift of the whole, by up to {motion.size:.1f} px between the frames of a pair "
        f"({motion.where}): mask it, or measure on a channel where it does not show",
    )


def _lost_anchor(frames: FrameTable, anchor: int) -> Iterator[Finding]:
    if frames.anchors and frames.anchors[0] != anchor:
        yield (
            Trust.LOOK,
            f"the anchor, frame {anchor}, has no usable pair: shifts are relative to frame "
            f"{frames.anchors[0]}, set solve.anchor",
        )


def _causes(frames: FrameTable, known: Bools) -> str:
    """What became of the frames without a shift of their own, counted."""
    words = [FrameStatus.from_code(code) for code in frames.status[~known]]
    return ", ".join(f"{words.count(name)} {name}" for name in FrameStatus if name in words)
