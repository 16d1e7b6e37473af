"""The findings on what stands still in the camera, and pulls shifts towards zero."""

from __future__ import annotations

from collections.abc import Iterator

from steadystack.checks import is_at_rest
from steadystack.model import Finding, FixedPatternEffect, ProbeCheck, Reason, Trust
from steadystack.quality.advice import AdviceSettings

# A fixed pattern is reported if it shortens shifts by more than this many pixels, this many
# standard errors and this share of them; it wins if less than the last share of a shift remains.
PULL_PX, PULL_ERRORS, PULL_SHARE, WINS = 0.02, 4.0, 0.05, 0.5
# In a series that rests between jumps, pairs across jumps lose this share of their NCC if a fixed
# pattern may pull them by an amount that their shifts without it do not determine.
JUMPS_LOSE = 0.018
# A scene that moves in at most this share of the frame may as well be an object.
MAJORITY = 0.5
# At rest, a changing scene and noise look like a shortened shift: the pull must be larger, px.
PULL_AT_REST_PX = 0.15
# At rest, changes over most of the frame are reported above this share of its detail.
CHANGES = 0.04
# In series of few frames, what shifts leave unexplained is reported above this share of the detail.
# (Of 256 random series of 2 to 12 frames with faults but right shifts, ten were reported for this
# alone, mostly for living features; of 27 with something that stood still and wrong shifts, 23.)
UNEXPLAINED = 0.01
# A pull that may as well come from a scene that changes is reported above these standard errors,
# this share of the shift, and PULL_AT_REST_PX. (Of 75 random series none had one, but four of 14
# from which their first frame was subtracted: 8 to 12 errors, a third to half of the shift.)
MAYBE_ERRORS, MAYBE_SHARE = 6.0, 0.2
# An estimated fixed pattern also removes the part of the scene that cannot be separated from it:
# errors are about the stated ones over the share that remains, from 1.9 at 0.5 to 15 at 0.01.
SEPARABLE, LEAST_SEPARABLE = 0.7, 0.01
# Stated errors by which coarse detail moves further ("check" and worse), and px. (Of 128 random
# series that were right one was above the first, and of 27 that a fine pattern made wrong 26; of 38
# that were right under moving light three were, two of them above the second.)
HELD_BACK, HELD_BACK_FAR, HELD_BACK_PX = 2.5, 4.0, 0.05
# Stated errors by which equally bright planes change shifts, and `ProbeCheck.plane_light`. (The
# latter was 0.7 at most in 50 volumes that do not darken.)
UNEVEN, STILL_LIGHT = 1.5, 4.0


def is_pulled(effect: FixedPatternEffect) -> bool:
    """Whether something certainly stands still, and makes shifts clearly too small."""
    least = PULL_AT_REST_PX if is_at_rest(effect) else PULL_PX
    pull = effect.without_it - effect.with_it
    told = max(least, PULL_ERRORS * effect.error, PULL_SHARE * effect.without_it)
    return effect.certain and pull > told


def advise_on_fixed_pattern(
    effect: FixedPatternEffect | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report something that stands still in the camera and makes shifts too small."""
    if effect is not None and is_pulled(effect):
        pull = effect.without_it - effect.with_it
        wins = effect.with_it < WINS * effect.without_it and pull > PULL_AT_REST_PX
        if wins and effect.moving_share <= MAJORITY:
            yield Finding(
                Trust.CHECK,
                Reason.FIXED_PATTERN,
                f"most of the frame stands still, and only {effect.moving_share:.0%} of it moves, "
                f"by {effect.without_it:.2f} px between the frames of a pair: this is right for "
                "an object in front of a scene that stands still, but wrong for a specimen "
                "behind something that stands still in the camera; in that case, "
                f"{advice.static_removal}",
            )
            return
        yield Finding(
            Trust.UNRELIABLE if wins else Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"something that stands still in the camera pulls shifts towards zero: {effect.pairs} "
            f"pairs have a mean shift of {effect.with_it:.2f} px with it, and of "
            f"{effect.without_it:.2f} px without it: {advice.static_removal}",
        )


def advise_on_possible_pull(
    effect: FixedPatternEffect | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Report that something that stands still may outweigh the scene, although no pull was found.

    That is if most of the frame changes while nothing seems to move, or in ways that shifts do not
    explain; if most pairs have no shift without it, or a far larger one in a scene that may change;
    or if an estimated pattern is not separable.
    """
    if effect is None:
        return
    pull = effect.without_it - effect.with_it
    least = max(MAYBE_ERRORS * effect.error, MAYBE_SHARE * effect.without_it, PULL_AT_REST_PX)
    if effect.pairs and not effect.certain and pull > least:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"without what may stand still in the camera, {effect.pairs} pairs have a mean shift "
            f"of {effect.without_it:.2f} px, not {effect.with_it:.2f}: either the scene changes, "
            "or something stands still and pulls shifts towards zero (their own first frame, "
            f"subtracted?): {advice.static_removal}",
        )
    if effect.lost:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"without what stands still in the camera, {effect.lost:.0%} of the pairs have no "
            f"shift: it may outweigh the scene: {advice.static_removal}",
        )
    if effect.changes > CHANGES:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            "hardly anything moves, but most of the frame changes: either the scene changes where "
            "it is, or something that stands still in the camera outweighs a scene that moves: "
            f"{advice.static_removal}",
        )
    if effect.separable_share < SEPARABLE:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"only {effect.separable_share:.0%} of the detail by which shifts are found moves far "
            "enough to be told from what stands still, which was estimated from the same frames; "
            "stated errors are widened accordingly: give an image of what stands still "
            "(preprocess.fixed_pattern), or, if it is fine detail, leave it in and set "
            "preprocess.low_pass",
        )
    if effect.unexplained > UNEXPLAINED:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"shifts leave at least {effect.unexplained:.0%} of the detail of a frame unexplained, "
            "in too few frames to tell why: either the scene changes, or something that stands "
            f"still in the camera pulls shifts or outweighs the scene: {advice.masking}, give an "
            "image of it (preprocess.fixed_pattern), or measure more frames",
        )


def advise_on_jumps(effect: FixedPatternEffect | None, advice: AdviceSettings) -> Iterator[Finding]:
    """Report that something that stands still may pull jumps, although no pull was found.

    This is not certain: moving the frames by these shifts may not blur their mean.
    """
    if effect is not None and effect.certain and effect.loss > JUMPS_LOSE:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"pairs across a jump are {effect.loss:.0%} less alike than pairs at rest: something "
            "stands still in the camera and may pull shifts towards zero, or the scene changed: "
            f"{advice.static_removal}",
        )


def advise_on_subtraction(effect: FixedPatternEffect | None) -> Iterator[Finding]:
    """Report frames from which a background made of themselves was subtracted."""
    if effect is not None and effect.subtracted:
        yield Finding(
            Trust.CHECK,
            Reason.FIXED_PATTERN,
            "the mean or median of these frames over time was subtracted from them: it leaves a "
            "negative of the scene that stands still and pulls shifts towards zero: measure the "
            "frames as recorded",
        )


def advise_on_repeats(effect: FixedPatternEffect | None) -> Iterator[Finding]:
    """Report frames that repeat parts of others exactly, where shifts are pulled towards zero."""
    if effect is not None and effect.repeated:
        yield Finding(
            Trust.CHECK,
            Reason.REPEATED_BLOCKS,
            f"frames repeat blocks of earlier ones exactly, {effect.repeated:.0%} of their detail: "
            "a codec or a recorder skipped what hardly changed, which pulls shifts towards zero "
            "(stated errors are widened by that): record without loss, or every frame by itself",
        )


def is_held_back(probes: ProbeCheck | None) -> bool:
    """Whether pairs move further in coarse detail, by clearly more than the stated error."""
    if probes is None:
        return False
    return probes.coarse_excess > HELD_BACK and probes.coarse_pull > HELD_BACK_PX


def is_held_along_z(probes: ProbeCheck | None) -> bool:
    """Whether light that varies along z changes shifts by clearly more than the stated error."""
    if probes is None or probes.plane_light <= STILL_LIGHT:
        return False
    return probes.plane_excess > UNEVEN and probes.plane_pull > HELD_BACK_PX


def advise_on_pulled_probes(
    probes: ProbeCheck, advice: AdviceSettings, worst: Trust, *, is_sharper: bool
) -> Iterator[Finding]:
    """Report fine detail, or light along z, that pulls pairs towards zero; up to two findings.

    `worst` is the worst verdict; `is_sharper`: moving the frames makes their mean sharper.
    """
    if is_held_back(probes):
        yield Finding(
            worst if probes.coarse_excess > HELD_BACK_FAR else Trust.CHECK,
            Reason.COARSE_DETAIL,
            f"smoothed by {probes.coarse_low_pass:g} px, the frames of pairs move by "
            f"{probes.coarse_moves:.2f} px, {probes.coarse_pull:.2f} px further than as they are, "
            f"{probes.coarse_excess:.1f} times the stated error"
            f"{'' if is_sharper else ', which is widened accordingly'}: either "
            "something fine that stands still in the camera holds shifts back: "
            f"{advice.static_detail(probes.coarse_low_pass)}; or light moves over the scene, and "
            "they are right",
        )
    if is_held_along_z(probes):
        yield Finding(
            worst if probes.plane_excess > HELD_BACK_FAR else Trust.CHECK,
            Reason.UNEVEN_PLANES,
            "light that falls off along z pulls shifts: with all planes equally bright, pairs that "
            f"move by {probes.plane_moves:.2f} px along z change by {probes.plane_pull:.2f} px, "
            f"{probes.plane_excess:.1f} times the stated error, which is widened accordingly: "
            f"{advice.even_planes}",
        )
