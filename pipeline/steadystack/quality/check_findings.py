"""The findings from the results of the checks; those from the tables are in `judge`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from steadystack.checks import name_parts
from steadystack.model import (
    FieldOfView,
    Finding,
    FrameTable,
    MajorityCheck,
    MaskCheck,
    ProbeCheck,
    Reason,
    SharpnessCheck,
    StrangeParts,
    Trust,
    write_number,
)
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.static_findings import advise_on_pulled_probes

# If more than this share of the parts were not used, the others are a bare majority. (Of 80 random
# series with an object or a label, 16 had three of nine parts not used; none of these was off by
# more than 1.8 times the stated error; of 9 with four of nine, one was unreliable as it was off by
# more.)
MANY_PARTS = 1 / 3
# At least this share of the frame must be used, or else most of it did not agree. (One random
# series with four of nine parts used was off by 0.8 px, and would be called good.)
LEAST_USED = 0.5
# Pairs of large separation are reported if they are off by FAR times the stated error. Since errors
# are widened by that, shifts are unreliable only above TOO_FAR times and TOO_FAR_PX pixels.
FAR, TOO_FAR, TOO_FAR_PX = 2.0, 4.0, 1.0
# ... for linear motion, whose errors are stated more cautiously. (Of 97 series that turned, three
# were above this, two of which were off by over twice the stated errors; and so were eight of eight
# behind patterns that stood still, with corners off by 1 to 3.6 px.)
FAR_LINEAR = 1.25
# Changes of pairs without one part of the frame, or in fine detail, that are reported: pixels, and
# stated errors without a part, in fine detail, and in fine detail if unreliable. (Of 110 random
# series that were right none changed that much without a part; of 162, three that were wrong and
# two that were right did in fine detail.)
CHANGES_PX, PART_CHANGES, DETAIL_CHANGES, DETAIL_DIFFERS = 0.1, 1.5, 1.0, 2.0
# The same without parts that most others contradict. (12 to 30 times if a label decided against a
# scene; up to 2.2 if most of the scene was in one of them, and pairs without it were poor.)
OUTVOTED = 4.0
# Shifts depend on one part if this share of pairs is lost without it, but not the second share
# without another: then pairs are easily lost, as in scenes of coarse detail. (Of 110 random series
# that were right one lost that many.)
LOST_WITHOUT_ONE, LOST_WITHOUT_NEXT = 0.8, 0.6
# Fine detail of the mean lost by moving the frames: share, and standard errors. (Of 110 random
# series that were right three lost 2 to 3 %, with an object that moves by itself.)
LESS_SHARP, SHARP_ERRORS = 0.015, 4.0
# Gain of fine detail that confirms the shifts: a label that outweighs the scene gives none.
SHARPER = 1.05

OPPOSITE = "True (nonzero) means valid; mask.invert, or ~mask in Python, swaps the two"


def advise_on_mask(mask: MaskCheck | None) -> Iterator[Finding]:
    """Report a mask that may exclude the scene and keep the rest; at most one finding."""
    if mask is None:
        return
    if mask.inverted:
        yield Finding(
            Trust.CHECK,
            Reason.MASK_INVERTED,
            "the mask looks inverted: what it excludes looks like a scene, and what it keeps does "
            f"not; {OPPOSITE}",
        )
    elif mask.taken_moves:
        yield Finding(
            Trust.CHECK,
            Reason.MASK_MAY_BE_INVERTED,
            f"the mask may be inverted: what it excludes moves, by {mask.taken_moves:.1f} px "
            f"between the frames of a pair, and what it keeps does not; {OPPOSITE}",
        )


def ask_about_far_value(mask: MaskCheck | None, found: Sequence[Finding]) -> Iterator[Finding]:
    """Ask whether a value far from all others is "no data", if something else was found."""
    if mask is None or mask.far_value is None or all(f.trust is Trust.GOOD for f in found):
        return
    value = write_number(mask.far_value)
    yield Finding(
        Trust.CHECK,
        Reason.NO_DATA,
        f"{mask.far_share:.1%} of the pixels are {value}, far from all others: if that is no data, "
        f"set mask.invalid_values: [{value}]",
    )


def find_area_left_out(field: FieldOfView | None) -> Iterator[Finding]:
    """Report that part of the frame shows no scene, and was not used."""
    if field is not None and field.boxes:
        yield Finding(
            Trust.GOOD,
            Reason.FIELD_OF_VIEW,
            f"{field.share:.0%} of the frame, along its border, shows no scene (outside a round "
            "field of view, a stop?), and was not used",
        )


def find_parts_left_out(
    frames: FrameTable, before: StrangeParts | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report the parts of the frame that the majority outvoted, before and after measuring.

    Each majority is one of the parts still used: after both, less than half may be left.
    """
    used = 1.0  # of the frame
    if before is not None and before.is_all:
        yield Finding(
            Trust.UNRELIABLE,
            Reason.ONE_PART,
            f"one part of the frame holds the shifts at zero ({before.names}; a label, dirt, an "
            f"object?), and without it hardly any pair has a shift: {advice.masking}",
        )
    elif before is not None and before.boxes:
        share = len(before.boxes) / before.of
        used -= share
        question = ": is the rest the scene to be aligned?" if share > MANY_PARTS else ""
        yield Finding(
            Trust.CHECK if question else Trust.GOOD,
            Reason.PARTS_NOT_USED,
            f"{len(before.boxes)} of {before.of} parts of the frame go their own way "
            f"({before.names}; an object, a label, dirt?), and were not used{question}",
        )
    parts, ndim = frames.parts_left_out, frames.shift.shape[1]
    if parts:
        names = name_parts(parts, ndim)
        count = int(np.isfinite(frames.part_weight).any(axis=0).sum())
        used *= 1 - len(parts) / count
        question = f": only {used:.0%} of the frame is used; is that the scene to be aligned?"
        question = question if used < LEAST_USED else ""
        yield Finding(
            Trust.CHECK if question else Trust.GOOD,
            Reason.PARTS_LEFT_OUT,
            f"{len(parts)} of {count} parts of the frame go their own way and are left out of the "
            f"shifts ({names}; an object, a label, dirt?){question}",
        )


def advise_on_probes(
    probes: ProbeCheck | None,
    advice: AdviceSettings,
    sharpness: SharpnessCheck | None = None,
    *,
    is_reported: bool = False,
) -> Iterator[Finding]:
    """Report probe pairs that contradict the shifts; up to five findings.

    If the mean of the frames gets sharper by moving them, the verdict is "check" at worst, as a
    changing scene differs in distant frames. `is_reported`: that shifts depend on one part was
    reported before, and is not again.
    """
    if probes is None:
        return
    worst = _choose_worst(sharpness)
    needs_one_part = probes.lost > LOST_WITHOUT_ONE and probes.lost_next < LOST_WITHOUT_NEXT
    if decides_alone(probes):
        yield Finding(
            worst,
            Reason.ONE_PART,
            f"one part of the frame decides the shifts ({probes.part}): without it, pairs move by "
            f"{probes.part_pull:.2f} px, {probes.part_excess:.1f} times the stated error (a "
            f"label, dirt, an object?): {advice.masking}",
        )
    elif needs_one_part and not is_reported:
        yield Finding(
            Trust.CHECK,
            Reason.ONE_PART,
            f"the shifts depend on one part of the frame ({probes.lost_part}): without it, "
            f"{probes.lost:.0%} of the pairs looked at have no shift; if it is a label, dirt or "
            f"an object, {advice.masking}",
        )
    if probes.detail_excess > DETAIL_CHANGES and probes.detail_pull > CHANGES_PX:
        yield Finding(
            worst if probes.detail_excess > DETAIL_DIFFERS else Trust.CHECK,
            Reason.DETAIL,
            f"fine detail alone moves pairs by {probes.detail_pull:.2f} px, "
            f"{probes.detail_excess:.1f} times the stated error (light that changes, something "
            f"in front of the scene?): {advice.detail}",
        )
    is_sharper = gets_sharper(sharpness)
    yield from advise_on_pulled_probes(probes, advice, worst, is_sharper=is_sharper)
    is_linear = advice.motion not in ("translation", "local")
    if probes.excess > (FAR_LINEAR if is_linear else FAR):
        spoils = probes.excess > TOO_FAR and probes.off > TOO_FAR_PX
        what = f"{advice.motion} motion" if is_linear else "shifts"
        yield Finding(
            worst if spoils else Trust.CHECK,
            Reason.FAR_PAIRS,
            f"pairs {probes.separation} frames apart are off the {what} by {probes.off:.2f} px, "
            f"{probes.excess:.1f} times the stated error, which is widened accordingly: "
            f"something changes or stands still: {advice.far_pairs}",
        )


def advise_on_majority(
    majority: MajorityCheck | None,
    ndim: int,
    advice: AdviceSettings,
    sharpness: SharpnessCheck | None = None,
) -> Iterator[Finding]:
    """Report parts that decide the shifts against most other parts; at most one finding.

    They were not left out, because pairs without them do not confirm the others.
    """
    if majority is None or majority.off_all <= CHANGES_PX or majority.excess <= OUTVOTED:
        return
    is_one = len(majority.parts) == 1
    decide, them = ("one part decides", "it") if is_one else ("some parts decide", "them")
    yield Finding(
        _choose_worst(sharpness),
        Reason.ONE_PART,
        f"{decide} the shifts ({name_parts(majority.parts, ndim)}) against most others: "
        f"without {them}, pairs move by {majority.off_all:.2f} px, {majority.excess:.1f} times "
        f"the stated error (a label, dirt, an object?): {advice.masking}",
    )


def decides_alone(probes: ProbeCheck | None) -> bool:
    """Whether pairs without one part of the frame differ from the shifts."""
    if probes is None:
        return False
    return probes.part_excess > PART_CHANGES and probes.part_pull > CHANGES_PX


def _choose_worst(sharpness: SharpnessCheck | None) -> Trust:
    """The worst verdict: "check" if moving the frames makes their mean sharper."""
    return Trust.CHECK if gets_sharper(sharpness) else Trust.UNRELIABLE


def gets_sharper(sharpness: SharpnessCheck | None) -> bool:
    """Whether moving the frames makes their mean clearly sharper, which confirms the shifts."""
    return sharpness is not None and sharpness.moved > SHARPER * sharpness.still


def advise_on_sharpness(
    sharpness: SharpnessCheck | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report if moving the frames blurs their mean; at most one finding."""
    if sharpness is None:
        return
    loss = sharpness.still - sharpness.moved
    if loss > max(LESS_SHARP * sharpness.still, SHARP_ERRORS * sharpness.error):
        yield Finding(
            Trust.UNRELIABLE,
            Reason.LESS_SHARP,
            f"the mean of the frames has {loss / sharpness.still:.0%} less contrast in fine "
            "detail when they are moved: what most of the frame shows does not move like that: "
            f"{advice.masking}",
        )
