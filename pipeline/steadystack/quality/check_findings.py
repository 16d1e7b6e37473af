"""The findings from the results of the checks; those from the tables are in `judge`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from steadystack.checks import name_parts
from steadystack.common_frame import ChannelTurning
from steadystack.model import (
    FieldOfView,
    Finding,
    FrameTable,
    LocalMotion,
    MajorityCheck,
    MaskCheck,
    ProbeCheck,
    Reason,
    SharpnessCheck,
    StrangeParts,
    Trust,
    write_number,
)
from steadystack.motion import UnmodelledMotion
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.static_findings import WINS, advise_on_pulled_probes

# Parts that stand still make shifts unreliable if they pull them by more than this.
SPOILT_PX = 0.5
# Parts that stand still and are left out are reported if they still pull by more than this.
STILL_PULLS_PX = 0.1
# If more than this share of the parts were not used, the others are a bare majority. (Of 80 random
# series with an object or a label, 16 had three of nine parts not used; none of these was off by
# more than 1.8 times the stated error; of 9 with four of nine, one was unreliable as it was off by
# more.)
MANY_PARTS = 1 / 3
# At least this share of the frame must be used, or else most of it did not agree. (One random
# series with four of nine parts used was off by 0.8 px, and would be called good.)
LEAST_USED = 0.5
# If more than this share of the parts move by themselves, it is unclear which of them is the scene.
MOVES = 0.3

# Pairs of large separation are reported if they are off by FAR times the stated error. Since errors
# are widened by that, shifts are unreliable only above TOO_FAR times and TOO_FAR_PX pixels.
FAR, TOO_FAR, TOO_FAR_PX = 2.0, 4.0, 1.0
# ... for linear motion, whose errors are stated more cautiously. (Of 97 series that turned, three
# were above this, two of which were off by over twice the stated errors; and so were eight of eight
# behind patterns that stood still, with corners off by 1 to 3.6 px.)
FAR_LINEAR = 1.25
# Changes of pairs without one part of the frame, or in fine detail, that are reported: pixels, and
# stated errors without a part, in fine detail, and in fine detail if unreliable. (Of 110 random
# series that were right none changed that much.)
CHANGES_PX, PART_CHANGES, DETAIL_CHANGES, DETAIL_DIFFERS = 0.1, 1.5, 1.3, 2.0
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


def advise_on_moving_parts(
    motion: LocalMotion | None, advice: AdviceSettings, left_out: int = 0
) -> Iterator[Finding]:
    """Report parts of the frame that do not move like the whole; up to two findings.

    The `left_out` parts that are left out of the shifts are not reported, if they do not pull them.
    """
    if motion is None:
        return
    if motion.still > left_out or motion.still_pull > STILL_PULLS_PX:
        yield _judge_still_parts(motion, advice)
    if motion.moving <= left_out:
        return
    if motion.linear:
        frames_apart = "frames far apart" if motion.far else "the frames of a pair"
        what, best = "the shift of the whole", "a shift is only the best translation"
        if advice.motion != "translation":
            what, best = (
                f"the {advice.motion} motion of the whole",
                "this is only the best such motion",
            )
        yield Finding(
            Trust.CHECK,
            Reason.TURNING,
            f"the frames rotate or stretch: parts of them differ from {what} by up to "
            f"{motion.size:.1f} px between {frames_apart}, so that {best}"
            f"{advice.advise_on_turning(motion.suits)}",
        )
        return
    yield Finding(
        Trust.UNRELIABLE if motion.moving > MOVES * motion.parts else Trust.CHECK,
        Reason.MOVING_PARTS,
        f"something moves independently: {motion.moving} of {motion.parts} parts of the frame "
        f"differ from the shift of the whole, by up to {motion.size:.1f} px between the frames of "
        f"a pair ({motion.where}): {advice.masking}, or measure a channel that does not show it"
        f"{advice.deforming if motion.moving > motion.parts / 2 else ''}",
    )


def advise_on_unmodelled_motion(
    motion: UnmodelledMotion | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report linear motion that the model of the frames does not have; at most one finding."""
    if motion is not None and motion.seen:
        does = " and ".join(f"{kind} by {each.size:.2g} px" for kind, each in motion.seen.items())
        yield Finding(
            Trust.CHECK,
            Reason.TURNING,
            f"the frames seem to {does} (root mean square of their pixels) beyond their motion by "
            f"the model {advice.motion}, which is then only the best of its kind"
            f"{advice.advise_on_turning(motion.suits)}",
        )


def find_turning_channels(
    turning: ChannelTurning | None, channels: Sequence[str]
) -> Iterator[Finding]:
    """Report channels that rotate or stretch relative to the first, one finding for each."""
    for number, size in enumerate(turning.sizes if turning else ()):
        if size:
            yield Finding(
                Trust.CHECK,
                Reason.TURNING,
                f"channels {channels[0]} and {channels[number]} rotate or stretch relative to each "
                f"other: parts of the frame differ by up to {size:.1f} px from the offset, which "
                "is only the best translation: align the channels first, or measure only one",
            )


def _judge_still_parts(motion: LocalMotion, advice: AdviceSettings) -> Finding:
    """Report parts that stand still; how bad it is depends on how far most parts move."""
    parts = f"{motion.still} of {motion.parts} parts of the frame ({motion.still_where})"
    if motion.still_pull > WINS * motion.scene:
        return Finding(
            Trust.UNRELIABLE,
            Reason.STILL_PARTS,
            f"something that stands still outweighs the scene in {parts}, while most parts move "
            f"by {motion.scene:.1f} px between the frames of a pair (dirt, a label, a scale "
            f"bar?): {advice.static_removal}",
        )
    return Finding(
        Trust.UNRELIABLE if motion.still_pull > SPOILT_PX else Trust.CHECK,
        Reason.STILL_PARTS,
        f"something stands still in {parts} while the scene moves, and pulls shifts by "
        f"{motion.still_pull:.2f} px (dirt, a label, a scale bar?): {advice.static_removal}",
    )


def advise_on_probes(
    probes: ProbeCheck | None,
    advice: AdviceSettings,
    sharpness: SharpnessCheck | None = None,
    *,
    is_told: bool = False,
) -> Iterator[Finding]:
    """Report probe pairs that contradict the shifts; up to five findings.

    If the mean of the frames gets sharper by moving them, the verdict is "check" at worst, as a
    changing scene differs in distant frames. `is_told` suppresses the finding that shifts depend on
    one part, because it was reported before.
    """
    if probes is None:
        return
    worst = _choose_worst(sharpness)
    if decides_alone(probes):
        yield Finding(
            worst,
            Reason.ONE_PART,
            f"one part of the frame decides the shifts ({probes.part}): without it, pairs move by "
            f"{probes.part_pull:.2f} px, {probes.part_excess:.1f} times the stated error (a "
            f"label, dirt, an object?): {advice.masking}",
        )
    elif probes.lost > LOST_WITHOUT_ONE and probes.lost_next < LOST_WITHOUT_NEXT and not is_told:
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
