"""The verdict on a series, and the findings on its frames.

The findings on pairs are in `pair_findings`, those from the checks in `check_findings`, and those
on what stands still in the camera in `static_findings`. Advice is worded in `advice`, as properties
of `AdviceSettings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from steadystack.common_frame import ChannelTurning
from steadystack.model import (
    Bools,
    FieldOfView,
    Finding,
    FixedPatternEffect,
    FrameStatus,
    FrameTable,
    LocalMotion,
    MajorityCheck,
    MaskCheck,
    OutsideOutcome,
    PairStatus,
    PairTable,
    ProbeCheck,
    Reason,
    SharpnessCheck,
    StrangeParts,
    Trust,
    Verdict,
)
from steadystack.motion import ModelChoice, UnmodelledMotion
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.check_findings import (
    advise_on_majority,
    advise_on_mask,
    advise_on_probes,
    advise_on_sharpness,
    ask_about_far_value,
    decides_alone,
    find_area_left_out,
    find_parts_left_out,
)
from steadystack.quality.motion_findings import (
    advise_on_moving_parts,
    advise_on_unmodelled_motion,
    find_turning_channels,
    find_unknown_motion,
)
from steadystack.quality.pair_findings import (
    FEW,
    MANY,
    find_biased_separations,
    find_contradicting_channels,
    find_contradictions,
    find_doubtful_pairs,
    find_frames_taking_turns,
    find_rejected_pairs,
    has_own_shift,
)
from steadystack.quality.static_findings import (
    advise_on_fixed_pattern,
    advise_on_jumps,
    advise_on_possible_pull,
    advise_on_repeats,
    advise_on_subtraction,
)

# The share of frames that may be lost with the verdict still "good": lost frames have a status, and
# the others are not affected.
MAY_BE_LOST = 0.15
# If the median stated error is above this, px, the verdict is "check".
LARGE_ERROR_PX = 0.3
# Parts that disagree by this many times what noise explains, and by this many px, are reported in
# series with fewer frames than the check for a fixed pattern needs. Of random series of 6 to 14
# frames that were called good but off by over 0.5 px, seen through a round field of view with
# another level or noise around it, 5 of 5 are reported, and 3 of 4 of an independent set; of those
# that were right without one, 4 of 52 and 1 of 50 (changing scenes, jittering rows, uneven light).
FEW_FRAMES, DISAGREE, DISAGREE_PX = 16, 2.0, 0.15
# Most frames that a finding lists.
NAMED = 5

NOTHING_SET = AdviceSettings()


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
    majority: MajorityCheck | None = None,
    sharpness: SharpnessCheck | None = None,
    parts: StrangeParts | None = None,
    field: FieldOfView | None = None,
    outside: OutsideOutcome | None = None,
    choice: ModelChoice | None = None,
    unmodelled: UnmodelledMotion | None = None,
    channels: Sequence[str] = (),
    turning: ChannelTurning | None = None,
) -> Verdict:
    """Judge a solved series; causes come before their effects.

    `anchor` and `advice` follow from the settings. `fixed_pattern`, `motion`, `mask`, `probes`,
    `majority`, `sharpness`, `unmodelled` and `turning` are results of the checks, `parts` and
    `field` of the pilot, `outside` of an external reference, and `choice` of `motion.model: auto`;
    None if there is none. `channels` are the names of those measured.
    """
    outvoted = []
    if not decides_alone(probes) and not frames.parts_left_out:  # those are named elsewhere
        outvoted = list(advise_on_majority(majority, frames.shift.shape[1], advice, sharpness))
    is_reported = bool(outvoted) or (parts is not None and parts.is_all)
    strange = list(advise_on_moving_parts(motion, advice, len(frames.parts_left_out)))
    still = list(advise_on_fixed_pattern(fixed_pattern, advice))
    blurred = [] if still else list(advise_on_sharpness(sharpness, advice))  # sharp where still
    are_few = fixed_pattern is None or fixed_pattern.unexplained > 0  # too few for the check
    still = still or [
        *advise_on_jumps(fixed_pattern, advice),
        *advise_on_possible_pull(None if are_few and strange else fixed_pattern, advice),
    ]
    found = [
        *find_contradicting_channels(pairs, channels),
        *find_turning_channels(turning, channels),
        *find_frames_taking_turns(pairs),
        *find_doubtful_pairs(pairs, frames, advice),
        *advise_on_subtraction(fixed_pattern),
        *advise_on_repeats(fixed_pattern),
        *find_area_left_out(field),
        *find_parts_left_out(frames, parts, advice),
        *strange,
        *advise_on_unmodelled_motion(unmodelled, choice, [*strange, *outvoted], advice),
        *find_unknown_motion(choice),
        *still,
        *outvoted,
        *advise_on_probes(probes, advice, sharpness, is_reported=is_reported),
        *blurred,
        *_find_lost_frames(pairs, frames, advice),
        *_find_dissimilar_frames(frames),
        *_find_components(frames, advice),
        *find_rejected_pairs(pairs, frames, advice),
        *find_contradictions(pairs, frames, advice),
        *find_biased_separations(pairs, frames, advice),
        *(_find_disagreeing_parts(frames, advice) if are_few and not strange else []),
        *_find_large_errors(frames),
        *_find_lost_reference(outside),
        *([] if outside and outside.is_found else _find_lost_anchor(frames, anchor, advice)),
    ]
    return Verdict.of([*advise_on_mask(mask), *ask_about_far_value(mask, found), *found])


def _find_lost_frames(
    pairs: PairTable, frames: FrameTable, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report frames without a shift, and pairs that are not measured or failed."""
    has_shift = has_own_shift(frames)
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
    """Report frames with a shift that hardly show anything of the scene."""
    unlike = np.flatnonzero(frames.status == FrameStatus.DISSIMILAR.code)
    total, count = len(frames.status), len(unlike)
    if count:
        listed = ", ".join(map(str, unlike[:NAMED])) + (", ..." if count > NAMED else "")
        yield Finding(
            Trust.CHECK if count > FEW * total else Trust.GOOD,
            Reason.DISSIMILAR_FRAMES,
            f"{count} of {total} frames fit far worse than those around them, so their shifts may "
            f"be off (out of focus, covered?): {listed}",
        )


def _find_components(frames: FrameTable, advice: AdviceSettings) -> Iterator[Finding]:
    """Report a pair graph with several components."""
    count = int(frames.component.max(initial=-1)) + 1
    if count > 1:
        has_shift = has_own_shift(frames)
        share = (frames.component[has_shift] == 0).mean()
        yield Finding(
            Trust.CHECK if share >= 1 - MAY_BE_LOST else Trust.UNRELIABLE,
            Reason.PARTS,
            f"the series falls into {count} parts with no usable pair between them, and shifts of "
            f"different parts cannot be compared: {advice.more_pairs}",
        )


def _find_disagreeing_parts(frames: FrameTable, advice: AdviceSettings) -> Iterator[Finding]:
    """Report parts of the frames of a short series that disagree by far more than their noise.

    Not if frames have local motion, in which parts do disagree.
    """
    known = (frames.component == 0) & (frames.shift_std > 0).all(axis=1)  # not the anchor
    by_parts, stated = frames.part_std[known], frames.stated_std[known]
    told = np.isfinite(by_parts).all(axis=1) & (stated > 0).all(axis=1)
    by_parts, stated = by_parts[told], stated[told]
    if not 0 < len(by_parts) < FEW_FRAMES - 1 or np.isfinite(frames.local_shift).any():
        return
    times, largest = np.sqrt((by_parts**2).mean() / (stated**2).mean()), by_parts.max()
    if times > DISAGREE and largest > DISAGREE_PX:
        yield Finding(
            Trust.CHECK,
            Reason.PARTS_DISAGREE,
            f"parts of the frame disagree about shifts by up to {largest:.1f} px, {times:.1f} "
            "times what noise explains, in too few frames to tell why: if something stands "
            "still, such as the edge of a round field of view, or goes its own way, "
            f"{advice.masking}",
        )


def _find_large_errors(frames: FrameTable) -> Iterator[Finding]:
    """Report shifts with a large median error."""
    errors = frames.shift_std[frames.component == 0].max(axis=1, initial=0)
    errors = errors[errors > 0]  # without the anchor and unknown ones
    if len(errors) and (typical := float(np.median(errors))) > LARGE_ERROR_PX:
        yield Finding(
            Trust.CHECK,
            Reason.LARGE_ERRORS,
            f"the shifts are known only to about {typical:.1f} px",
        )


def _find_lost_reference(outside: OutsideOutcome | None) -> Iterator[Finding]:
    """Report components that were not found in the external reference."""
    lost = [] if outside is None else [fit for fit in outside.fits if not fit.is_known]
    if outside is not None and lost:
        count = len(outside.fits)
        of_parts = (
            f"{len(lost)} of {count} parts of the series were" if count > 1 else "frames were"
        )
        effect = "and their shifts are relative to the anchor"
        if outside.is_found:
            effect = (
                "and their shifts cannot be compared with those of the others, so they are "
                "not corrected"
            )
        yield Finding(
            Trust.UNRELIABLE,
            Reason.REFERENCE_NOT_FOUND,
            f"{of_parts} not found in the external reference {outside.path}".rstrip()
            + f" ({lost[0].status}), {effect}: give an image that shows the same scene "
            "(external_reference.path), or leave it out",
        )


def _find_lost_anchor(frames: FrameTable, anchor: int, advice: AdviceSettings) -> Iterator[Finding]:
    """Report shifts that are relative to another frame than the settings ask for."""
    if frames.anchors and frames.anchors[0] != anchor:
        yield Finding(
            Trust.CHECK,
            Reason.ANCHOR,
            f"the anchor, frame {anchor}, has no usable pair: shifts are relative to frame "
            f"{frames.anchors[0]} instead; {advice.another_anchor}",
        )


def _count_causes(frames: FrameTable, has_shift: Bools) -> str:
    """Describe how many frames without a shift of their own have each status."""
    words = [FrameStatus.from_code(code) for code in frames.status[~has_shift]]
    return ", ".join(f"{words.count(name)} {name}" for name in FrameStatus if name in words)
