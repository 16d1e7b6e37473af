"""The verdict, and the findings from the tables of pairs and frames.

The functions here say what is wrong with pairs and frames; what the checks found is made into
findings in `check_findings`. What to do about it is worded in `advice`, as properties of
`AdviceSettings`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from steadystack.checks import NO_MOTION_PX
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
    ProbeCheck,
    Reason,
    SharpnessCheck,
    StrangeParts,
    Trust,
    Verdict,
)
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.check_findings import (
    advise_on_fixed_pattern,
    advise_on_mask,
    advise_on_moving_parts,
    advise_on_probes,
    advise_on_sharpness,
    find_parts_left_out,
)

# Pairs that agree do so within a small part of a pixel.
LARGE_RESIDUAL_PX = 1.0
# Pairs of one separation, at least this many, are off if their mean residual is more than this many
# standard errors, this many pixels, and this share of their mean shift.
FEWEST_OF_LAG, OFF_ERRORS, OFF_PX, OFF_PART = 30, 6.0, 0.005, 0.05
# The share of frames or pairs that is worth a look, and the share that spoils the whole.
FEW, MANY = 0.05, 0.5
# The share of frames that may be lost before that is worth a look: a lost frame is told by its
# status, and the others are none the worse for it.
MAY_BE_LOST = 0.15
# A stated error that is typical of a series and worth a look, px: the shifts are in the right place
# and no more.
LARGE_ERROR_PX = 0.3
# If more than this share of the pairs end at the edge of the search, the others are those that move
# least, and what stands still wins most easily there: all frames but a few must then have at least
# this many usable pairs. (Of 200 series whose max_shift was too small none had a wrong pair. With
# dirt in the camera errors were up to 0.17 px where all frames had two pairs, and up to 0.6 px
# where some had one; 0.03 to 0.08 px with a max_shift that was large enough.)
EDGE, HOLDING = 0.3, 2
# Most frames that a finding names by their number.
NAMED = 5

NOTHING_SET = AdviceSettings()
HAS_PIXELS = (FrameStatus.OK, FrameStatus.INCOMPLETE)

# What is wrong with pairs without a shift, by status.
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
    advice: AdviceSettings = NOTHING_SET,
    fixed_pattern: FixedPatternEffect | None = None,
    motion: LocalMotion | None = None,
    mask: MaskCheck | None = None,
    probes: ProbeCheck | None = None,
    sharpness: SharpnessCheck | None = None,
    parts: StrangeParts | None = None,
) -> Verdict:
    """The verdict on a solved series; causes come before what follows from them.

    `anchor` and `advice` follow from the settings; `fixed_pattern`, `motion`, `mask`, `probes` and
    `sharpness` are the results of the checks, `parts` one of the pilot; None where there is none.
    """
    is_told = parts is not None and parts.still and not parts.boxes
    still = list(advise_on_fixed_pattern(fixed_pattern, advice))
    blurred = [] if still else list(advise_on_sharpness(sharpness, advice))  # it is sharp, unmoved
    return Verdict.of(
        [
            *advise_on_mask(mask),
            *_find_doubtful_pairs(pairs, frames, advice),
            *find_parts_left_out(frames, parts, advice),
            *advise_on_moving_parts(motion, advice, len(frames.parts_left_out)),
            *still,
            *advise_on_probes(probes, advice, sharpness, is_told=is_told),
            *blurred,
            *_find_lost_frames(pairs, frames, advice),
            *_find_dissimilar_frames(frames),
            *_find_components(frames, advice),
            *_find_rejected_pairs(pairs, frames, advice),
            *_find_contradictions(pairs, frames, advice),
            *_find_biased_separations(pairs, frames, advice),
            *_find_large_errors(frames),
            *_find_lost_anchor(frames, anchor, advice),
        ]
    )


def _has_own_shift(frames: FrameTable) -> Bools:
    """Which frames (frames,) have a shift that is not interpolated."""
    interpolated = frames.status == FrameStatus.INTERPOLATED.code
    return np.asarray(np.isfinite(frames.shift).all(axis=1) & ~interpolated, bool)


def _is_readable(pairs: PairTable) -> Bools:
    """Which frames (frames,) were read and have pixels."""
    return np.isin(pairs.frame_read_status, [status.code for status in HAS_PIXELS])


def _are_weakly_held(pairs: PairTable, frames: FrameTable) -> bool:
    """Whether more than a few frames have fewer pairs than would show a wrong one."""
    is_readable = _is_readable(pairs)
    is_held = (frames.component == 0) & (frames.pair_count >= HOLDING)
    return bool((is_readable & ~is_held).sum() > FEW * is_readable.sum())


def _find_lost_frames(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find frames that have no shift, and pairs that are not measured or failed."""
    has_shift = _has_own_shift(frames)
    total, lost = len(has_shift), int((~has_shift).sum())
    if lost:
        share = lost / total
        trust = (
            Trust.UNRELIABLE if share > MANY else Trust.CHECK if share > MAY_BE_LOST else Trust.GOOD
        )
        note = " of their own" if np.isfinite(frames.shift[~has_shift]).any() else ""
        words = f"{lost} of {total} frames have no shift{note}: {_count_causes(frames, has_shift)}"
        yield Finding(trust, Reason.LOST_FRAMES, words)
    unmeasured = pairs.count([PairStatus.UNMEASURED])
    if unmeasured:
        count = len(pairs.status)
        words = f"{unmeasured} of {count} pairs are not measured yet: {advice.another_run}"
        yield Finding(Trust.CHECK, Reason.UNMEASURED_PAIRS, words)
    failed = pairs.count([PairStatus.FAILED])
    if failed:
        reason = next(iter(pairs.failures.values()), "unknown")
        yield Finding(
            Trust.CHECK,
            Reason.FAILED_PAIRS,
            f"{failed} of {len(pairs.status)} pairs failed ({reason}): {advice.another_run}",
        )


def _find_dissimilar_frames(frames: FrameTable) -> Iterator[Finding]:
    """Find frames with a shift in which hardly anything of the scene is to be seen."""
    unlike = np.flatnonzero(frames.status == FrameStatus.DISSIMILAR.code)
    total, count = len(frames.status), len(unlike)
    if count:
        listed = ", ".join(map(str, unlike[:NAMED])) + (", ..." if count > NAMED else "")
        yield Finding(
            Trust.CHECK if count > FEW * total else Trust.GOOD,
            Reason.DISSIMILAR_FRAMES,
            f"{count} of {total} frames fit far worse than those around them, so that their "
            f"shifts may be off (out of focus, covered?): {listed}",
        )


def _find_components(frames: FrameTable, advice: AdviceSettings) -> Iterator[Finding]:
    """Find out whether the pair graph falls into several components."""
    count = int(frames.component.max(initial=-1)) + 1
    if count > 1:
        has_shift = _has_own_shift(frames)
        share = (frames.component[has_shift] == 0).mean()
        yield Finding(
            Trust.CHECK if share >= 1 - MAY_BE_LOST else Trust.UNRELIABLE,
            Reason.PARTS,
            f"the series falls into {count} parts with no usable pair between them, and shifts of "
            f"different parts cannot be compared: {advice.more_pairs}",
        )


def _find_doubtful_pairs(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find pairs without a shift, by status, between frames that have one (any, if most have none).

    Pairs that are no more alike than chance are a loss and no danger: scenes change with time.
    """
    has_shift, is_readable = _has_own_shift(frames), _is_readable(pairs)
    if has_shift.mean() < MANY:
        has_shift = is_readable
    advice_by_status = {
        PairStatus.AT_SEARCH_LIMIT: advice.wider_search,
        PairStatus.LOW_NCC: advice.clearer_scene,
        PairStatus.AMBIGUOUS: advice.distinct_scene,
        PairStatus.LOW_OVERLAP: advice.less_overlap,
        PairStatus.INVERTED: advice.inverted_contrast,
    }
    for status, problem in DOUBTFUL.items():
        # Frames may be lost because their pairs end at the edge: they count, too.
        is_counted = is_readable if status is PairStatus.AT_SEARCH_LIMIT else has_shift
        usable = is_counted[pairs.reference] & is_counted[pairs.moving]
        total = int(usable.sum())
        count = int((pairs.status[usable] == status.code).sum())
        if count > FEW * total:
            limit = (
                EDGE
                if status is PairStatus.AT_SEARCH_LIMIT and _are_weakly_held(pairs, frames)
                else MANY
            )
            dangerous = status is not PairStatus.LOW_NCC and count > limit * total
            trust = Trust.UNRELIABLE if dangerous else Trust.CHECK
            way_out = advice_by_status[status]
            if status is PairStatus.AMBIGUOUS:
                shares = pairs.fixed_pattern_share[usable & (pairs.status == status.code)]
                if (shares > 0).mean() > MANY and advice.helps is None:
                    problem += f", as {np.nanmedian(shares[shares > 0]):.0%} of them stands still"
                    way_out = advice.static_removal
            words = f"{count} of {total} pairs {problem}: {way_out}"
            yield Finding(trust, Reason(f"pairs_{status}"), words)


def _find_rejected_pairs(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find out whether more than a few pairs between frames with a shift contradict the rest.

    The pairs of a frame that fits nothing count with that frame, as lost.
    """
    has_shift = _has_own_shift(frames)
    usable = pairs.ok & has_shift[pairs.reference] & has_shift[pairs.moving]
    total, count = int(usable.sum()), int((usable & frames.rejected).sum())
    if count > FEW * total:
        yield Finding(
            Trust.UNRELIABLE if count > MANY * total else Trust.CHECK,
            Reason.REJECTED_PAIRS,
            f"{count} of {total} pairs contradict the others and are rejected: "
            f"{advice.residual_check}, {advice.narrower_search}, or {advice.more_pairs}",
        )


def _find_contradictions(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find pairs that cannot all be right, and pairs that all show a camera at rest."""
    used = pairs.ok & ~frames.rejected
    if not used.any():
        return
    residual = np.abs(frames.residual[used]).max(axis=1)
    if residual.max() > LARGE_RESIDUAL_PX:
        count = int((residual > LARGE_RESIDUAL_PX).sum())
        yield Finding(
            Trust.CHECK,
            Reason.CONTRADICTIONS,
            f"{count} pairs contradict the others by up to {residual.max():.1f} px: "
            f"{advice.residual_check}",
        )
    if np.abs(pairs.shift[used]).max() < NO_MOTION_PX:
        yield Finding(
            Trust.CHECK,
            Reason.NO_MOTION,
            f"no pair moves by more than {NO_MOTION_PX} px: either nothing drifts, or something "
            f"that stands still in the camera outweighs the scene: {advice.static_removal}",
        )


def _find_biased_separations(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find the separation whose pairs are all off the solution in the same direction.

    A single pair does not show it, and pairs of one separation agree with each other; what stands
    still or changes pulls close pairs and far ones differently.
    """
    if np.isfinite(frames.part_weight).any():  # what pulls the whole pulls them differently, too
        return
    used = pairs.ok & ~frames.rejected & np.isfinite(frames.residual).all(axis=1)
    apart = pairs.moving - pairs.reference
    worst: tuple[float, int, float] | None = None
    for separation in np.unique(np.abs(apart[used])).tolist():
        rows = used & (np.abs(apart) == separation)
        if rows.sum() < FEWEST_OF_LAG:
            continue
        direction = np.sign(apart[rows])[:, None]
        residual, shift = frames.residual[rows] * direction, pairs.shift[rows] * direction
        offset, error = residual.mean(axis=0), residual.std(axis=0) / np.sqrt(len(residual))
        size = float(np.linalg.norm(offset))
        share = size / max(float(np.linalg.norm(shift.mean(axis=0))), 1e-9)
        certain = bool((np.abs(offset) > OFF_ERRORS * error).any())
        if certain and size > OFF_PX and share > OFF_PART and (worst is None or share > worst[0]):
            worst = share, separation, size
    if worst is not None:
        share, separation, size = worst
        yield Finding(
            Trust.CHECK,
            Reason.DISTANCE,
            f"pairs {separation} frame(s) apart differ from the solution by {size:.3f} px on "
            f"average, {share:.0%} of their shift: something that stands still or changes pulls "
            f"them: {advice.advise_on_separation(separation)}",
        )


def _find_large_errors(frames: FrameTable) -> Iterator[Finding]:
    """Find out whether the shifts are known to no better than a good part of a pixel."""
    errors = frames.shift_std[frames.component == 0].max(axis=1, initial=0)
    errors = errors[errors > 0]  # without the anchor, and what is not known
    if len(errors) and (typical := float(np.median(errors))) > LARGE_ERROR_PX:
        yield Finding(
            Trust.CHECK,
            Reason.LARGE_ERRORS,
            f"the shifts are known to about {typical:.1f} px only",
        )


def _find_lost_anchor(frames: FrameTable, anchor: int, advice: AdviceSettings) -> Iterator[Finding]:
    """Find out whether the shifts are relative to another frame than the settings ask for."""
    if frames.anchors and frames.anchors[0] != anchor:
        yield Finding(
            Trust.CHECK,
            Reason.ANCHOR,
            f"the anchor, frame {anchor}, has no usable pair: shifts are relative to frame "
            f"{frames.anchors[0]} instead; {advice.another_anchor}",
        )


def _count_causes(frames: FrameTable, has_shift: Bools) -> str:
    """Count the frames without a shift of their own by status, in words."""
    words = [FrameStatus.from_code(code) for code in frames.status[~has_shift]]
    return ", ".join(f"{words.count(name)} {name}" for name in FrameStatus if name in words)
