"""The findings on how frames, their parts and their channels move beyond shifts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steadystack.common_frame import ChannelTurning
from steadystack.model import Finding, LocalMotion, Reason, Trust
from steadystack.motion import ModelChoice, UnmodelledMotion
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.static_findings import WINS

# Parts that stand still make shifts unreliable if they pull them by more than this.
SPOILT_PX = 0.5
# Parts that stand still and are left out are reported if they still pull by more than this.
STILL_PULLS_PX = 0.1
# If more than this share of the parts move by themselves, it is unclear which of them is the scene.
MOVES = 0.3
# What parts of the frame do then looks a little like a rotation or a stretch of the whole.
PARTS_DISAGREE = {Reason.TURNING, Reason.MOVING_PARTS, Reason.STILL_PARTS, Reason.ONE_PART}
VERBS = {"turn": "rotate", "scale": "grow or shrink", "shear": "shear"}


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
            f"{motion.size:.1f} px between the frames of a pair, so that {best}"
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
    measured: UnmodelledMotion | None,
    choice: ModelChoice | None,
    found: Sequence[Finding],
    advice: AdviceSettings,
) -> Iterator[Finding]:
    """Report linear motion that the model of the frames does not have; at most one finding.

    As `measured` by the checks, or else when the model was chosen; none if the parts of the frame
    say more, as `found`: that frames turn, that some of them move or stand still, or that a few
    decide the shifts; nor if the choice of the model is in doubt.
    """
    if {finding.code for finding in found} & PARTS_DISAGREE:
        return
    if choice is not None and choice.doubt:
        return
    for motion in (measured, choice.unmodelled if choice else None):
        if motion is None or not motion.reported:
            continue
        does = " and ".join(
            f"{VERBS[kind]} by {each.size:.2g} px" for kind, each in motion.reported.items()
        )
        yield Finding(
            Trust.CHECK,
            Reason.TURNING,
            f"the frames seem to {does} (root mean square of their pixels), which the model "
            f"{advice.motion} does not have{advice.advise_on_turning(motion.suits)}",
        )
        return


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


def find_unknown_motion(choice: ModelChoice | None) -> Iterator[Finding]:
    """Report that frames may move otherwise than the model that `motion.model: auto` chose."""
    if choice is not None and choice.doubt:
        yield Finding(
            Trust.CHECK,
            Reason.UNKNOWN_MOTION,
            f"motion.model: auto chose {choice.model}, {choice.doubt}: how frames move beyond that "
            "is not known: set motion.model to what they do, or to translation if they only shift",
        )
