"""The verdict: findings on pairs and frames, and the worst of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from steadystack.model import (
    Bools,
    Finding,
    FixedPatternEffect,
    FrameStatus,
    FrameTable,
    LocalMotion,
    MaskCheck,
    PairStatus,
    PairTable,
    Reason,
    Trust,
    Verdict,
)
from steadystack.quality.advice import (
    NO_MOTION_PX,
    AdviceSettings,
    advise_on_fixed_pattern,
    advise_on_mask,
    advise_on_moving_parts,
)

# Pairs that agree do so within a small part of a pixel.
LARGE_RESIDUAL_PX = 1.0
# Pairs of one distance, so many at least, are off if their mean residual is this many standard
# errors, this many px, and this part of their mean shift away from 0.
FEWEST_OF_LAG, OFF_ERRORS, OFF_PX, OFF_PART = 30, 6.0, 0.005, 0.05
# A fraction of frames or pairs that is worth a look, and one that spoils the whole.
FEW, MANY = 0.05, 0.5
# With more than this of the pairs at the edge of the search, what is left is what moves least, and
# what stands still wins most easily there: frames have to be held by so many pairs, but for a few.
# (Of 200 series whose max_shift was too small none had a wrong pair. With dirt in the camera errors
# were up to 0.17 px where all frames had two pairs, and up to 0.6 px where some had one; 0.03 to
# 0.08 px with a max_shift that holds.)
EDGE, HOLDING = 0.3, 2
# Frames that are told by their number, at most.
NAMED = 5

NOTHING_SET = AdviceSettings()
HAS_PIXELS = (FrameStatus.OK, FrameStatus.INCOMPLETE)

# What pairs without a shift are, by status; what to do about them follows from the settings.
DOUBTFUL = {
    PairStatus.AT_SEARCH_LIMIT: "end at the edge of the search",
    PairStatus.LOW_NCC: "correlate no better than unrelated images",
    PairStatus.AMBIGUOUS: "fit equally well at another shift",
    PairStatus.LOW_OVERLAP: "overlap too little",
    PairStatus.INVERTED: "are negatives of each other",
}


def judge_series(
    pairs: PairTable,
    frames: FrameTable,
    anchor: int = 0,
    *,
    asked: AdviceSettings = NOTHING_SET,
    static: FixedPatternEffect | None = None,
    motion: LocalMotion | None = None,
    mask: MaskCheck | None = None,
) -> Verdict:
    """The verdict on a solved series; causes come before what follows from them.

    `anchor` and `asked` are what the settings say; `static`, `motion` and `mask` what was found of
    what stands still, of what moves by itself, and of what masks take away.
    """
    return Verdict.of(
        [
            *advise_on_mask(mask),
            *_find_doubtful_pairs(pairs, frames, asked),
            *advise_on_moving_parts(motion, asked),
            *advise_on_fixed_pattern(static, asked),
            *_find_lost_frames(pairs, frames),
            *_find_dissimilar_frames(frames),
            *_find_components(frames, asked),
            *_find_rejected_pairs(pairs, frames, asked),
            *_find_contradictions(pairs, frames, asked),
            *_find_biased_separations(pairs, frames, asked),
            *_find_lost_anchor(frames, anchor),
        ]
    )


def _have_shift(frames: FrameTable) -> Bools:
    interpolated = frames.status == FrameStatus.INTERPOLATED.code
    return np.asarray(np.isfinite(frames.shift).all(axis=1) & ~interpolated, bool)


def _are_readable(pairs: PairTable) -> Bools:
    return np.isin(pairs.frame_read_status, [status.code for status in HAS_PIXELS])


def _hang_on_few_pairs(pairs: PairTable, frames: FrameTable) -> bool:
    """Whether more than a few frames hang on fewer pairs than would show a wrong one."""
    readable = _are_readable(pairs)
    held = (frames.component == 0) & (frames.pair_count >= HOLDING)
    return bool((readable & ~held).sum() > FEW * readable.sum())


def _find_lost_frames(pairs: PairTable, frames: FrameTable) -> Iterator[Finding]:
    """Frames that have no shift, and pairs that nobody measured."""
    known = _have_shift(frames)
    total, lost = len(known), int((~known).sum())
    if lost:
        share = lost / total
        trust = Trust.UNRELIABLE if share > MANY else Trust.CHECK if share > FEW else Trust.GOOD
        own = " of their own" if np.isfinite(frames.shift[~known]).any() else ""
        words = f"{lost} of {total} frames have no shift{own}: {_count_causes(frames, known)}"
        yield Finding(trust, Reason.LOST_FRAMES, words)
    unmeasured = pairs.count([PairStatus.UNMEASURED])
    if unmeasured:
        count = len(pairs.status)
        words = f"{unmeasured} of {count} pairs are not measured yet: run again"
        yield Finding(Trust.CHECK, Reason.UNMEASURED_PAIRS, words)
    failed = pairs.count([PairStatus.FAILED])
    if failed:
        reason = next(iter(pairs.failures.values()), "unknown")
        yield Finding(
            Trust.CHECK,
            Reason.FAILED_PAIRS,
            f"{failed} of {len(pairs.status)} pairs failed ({reason}): run again",
        )


def _find_dissimilar_frames(frames: FrameTable) -> Iterator[Finding]:
    """Frames with a shift in which hardly anything of the scene is to be seen."""
    unlike = np.flatnonzero(frames.status == FrameStatus.DISSIMILAR.code)
    total, count = len(frames.status), len(unlike)
    if count:
        which = ", ".join(map(str, unlike[:NAMED])) + (", ..." if count > NAMED else "")
        yield Finding(
            Trust.CHECK if count > FEW * total else Trust.GOOD,
            Reason.DISSIMILAR_FRAMES,
            f"{count} of {total} frames fit far worse than those around them, so that their "
            f"shifts may be off (out of focus, covered?): {which}",
        )


def _find_components(frames: FrameTable, asked: AdviceSettings) -> Iterator[Finding]:
    """A series that falls apart."""
    parts = int(frames.component.max(initial=-1)) + 1
    if parts > 1:
        known = _have_shift(frames)
        share = (frames.component[known] == 0).mean()
        yield Finding(
            Trust.CHECK if share >= 1 - FEW else Trust.UNRELIABLE,
            Reason.PARTS,
            f"the series falls into {parts} parts with no usable pair between them, and shifts of "
            f"different parts cannot be compared: {asked.more_pairs}",
        )


def _find_doubtful_pairs(
    pairs: PairTable, frames: FrameTable, asked: AdviceSettings
) -> Iterator[Finding]:
    """Pairs without a shift between frames that have one; or between any, if most have none.

    Pairs that are no more alike than chance are a loss and no danger: scenes change with time.
    """
    known, readable = _have_shift(frames), _are_readable(pairs)
    if known.mean() < MANY:
        known = readable
    advice = {
        PairStatus.AT_SEARCH_LIMIT: asked.wider,
        PairStatus.LOW_NCC: asked.likeness,
        PairStatus.AMBIGUOUS: asked.narrower,
        PairStatus.LOW_OVERLAP: asked.less_overlap,
        PairStatus.INVERTED: "set register.allow_inverted: true",
    }
    for status, what in DOUBTFUL.items():
        # Frames may be lost because their pairs stop there: they count, too.
        ends = readable if status is PairStatus.AT_SEARCH_LIMIT else known
        usable = ends[pairs.reference] & ends[pairs.moving]
        total = int(usable.sum())
        count = int((pairs.status[usable] == status.code).sum())
        if count > FEW * total:
            most = (
                EDGE
                if status is PairStatus.AT_SEARCH_LIMIT and _hang_on_few_pairs(pairs, frames)
                else MANY
            )
            dangerous = status is not PairStatus.LOW_NCC and count > most * total
            trust = Trust.UNRELIABLE if dangerous else Trust.CHECK
            words = f"{count} of {total} pairs {what}: {advice[status]}"
            yield Finding(trust, Reason(f"pairs_{status}"), words)


def _find_rejected_pairs(
    pairs: PairTable, frames: FrameTable, asked: AdviceSettings
) -> Iterator[Finding]:
    """Pairs that contradict the rest, between frames that have a shift: more than a few of them.

    Those of a frame that fits nothing are counted with the frame.
    """
    known = _have_shift(frames)
    usable = pairs.ok & known[pairs.reference] & known[pairs.moving]
    total, count = int(usable.sum()), int((usable & frames.rejected).sum())
    if count > FEW * total:
        yield Finding(
            Trust.UNRELIABLE if count > MANY * total else Trust.CHECK,
            Reason.REJECTED_PAIRS,
            f"{count} of {total} pairs contradict the others and are rejected: look at "
            f"pair_residual, {asked.narrower}, or {asked.more_pairs}",
        )


def _find_contradictions(
    pairs: PairTable, frames: FrameTable, asked: AdviceSettings
) -> Iterator[Finding]:
    """Pairs that cannot all be right, and pairs that all say the same of a camera at rest."""
    used = pairs.ok & ~frames.rejected
    if not used.any():
        return
    residual = np.abs(frames.residual[used]).max(axis=1)
    if residual.max() > LARGE_RESIDUAL_PX:
        count = int((residual > LARGE_RESIDUAL_PX).sum())
        yield Finding(
            Trust.CHECK,
            Reason.CONTRADICTIONS,
            f"{count} pairs contradict the others by up to {residual.max():.1f} px: look at "
            "pair_residual",
        )
    if np.abs(pairs.shift[used]).max() < NO_MOTION_PX:
        yield Finding(
            Trust.CHECK,
            Reason.NO_MOTION,
            f"no pair moves by more than {NO_MOTION_PX} px: either nothing drifts, or something "
            f"that stands still in the camera outweighs the scene: {asked.without_still}",
        )


def _find_biased_separations(
    pairs: PairTable, frames: FrameTable, asked: AdviceSettings
) -> Iterator[Finding]:
    """Pairs so many frames apart that are all off the solution the same way.

    A single one does not show it, and pairs of one distance agree with each other; what stands
    still or changes pulls close pairs and far ones differently.
    """
    used = pairs.ok & ~frames.rejected & np.isfinite(frames.residual).all(axis=1)
    apart = pairs.moving - pairs.reference
    worst: tuple[float, int, float] | None = None
    for separation in np.unique(np.abs(apart[used])).tolist():
        rows = used & (np.abs(apart) == separation)
        if rows.sum() < FEWEST_OF_LAG:
            continue
        way = np.sign(apart[rows])[:, None]
        residual, shift = frames.residual[rows] * way, pairs.shift[rows] * way
        off, error = residual.mean(axis=0), residual.std(axis=0) / np.sqrt(len(residual))
        size = float(np.linalg.norm(off))
        part = size / max(float(np.linalg.norm(shift.mean(axis=0))), 1e-9)
        certain = bool((np.abs(off) > OFF_ERRORS * error).any())
        if certain and size > OFF_PX and part > OFF_PART and (worst is None or part > worst[0]):
            worst = part, separation, size
    if worst is not None:
        part, separation, size = worst
        yield Finding(
            Trust.CHECK,
            Reason.DISTANCE,
            f"pairs {separation} frame(s) apart differ from the solution by {size:.3f} px on "
            f"average, {part:.0%} of their shift: something that stands still or changes pulls "
            f"them: {asked.without_separation(separation)}",
        )


def _find_lost_anchor(frames: FrameTable, anchor: int) -> Iterator[Finding]:
    if frames.anchors and frames.anchors[0] != anchor:
        yield Finding(
            Trust.CHECK,
            Reason.ANCHOR,
            f"the anchor, frame {anchor}, has no usable pair: shifts are relative to frame "
            f"{frames.anchors[0]} instead; set solve.anchor to it",
        )


def _count_causes(frames: FrameTable, known: Bools) -> str:
    """What became of the frames without a shift of their own, counted."""
    words = [FrameStatus.from_code(code) for code in frames.status[~known]]
    return ", ".join(f"{words.count(name)} {name}" for name in FrameStatus if name in words)
