"""Findings of what was looked for in the frames: masks, what stands still, what moves by itself."""

from __future__ import annotations

from collections.abc import Iterator

from steadystack.model import LocalMotion, MaskSeen, StaticEffect
from steadystack.verdict.asked import Asked
from steadystack.verdict.words import NO_MOTION_PX, Finding, Trust

# What stands still is told of if it takes this much away from a shift and so many standard errors,
# and wins where it leaves less than that part of it.
PULL_PX, PULL_ERRORS, WINS = 0.02, 4.0, 0.5
# Where hardly anything moves, a scene that changes looks like one that is held back: more is asked.
PULL_AT_REST_PX = 0.15
# What stands still in a part of the frame spoils shifts that it pulls by more than this.
SPOILT_PX = 0.5
# More parts of the frame than these that move by themselves leave open which is the scene.
MOVES = 0.3

OPPOSITE = "True (not 0) means valid; mask.invert, or ~mask, takes the opposite"


def wrong_mask(mask: MaskSeen | None) -> Iterator[Finding]:
    """A mask that takes the scene away and leaves the rest."""
    if mask is None:
        return
    if mask.inverted:
        yield (
            Trust.LOOK,
            "the mask looks inverted: what it takes away looks like a scene, what it leaves does "
            f"not; {OPPOSITE}",
        )
    elif mask.taken_moves:
        yield (
            Trust.LOOK,
            "the mask may be inverted: what it takes away moves, by "
            f"{mask.taken_moves:.1f} px between the frames of a pair, and what it leaves does not; "
            f"{OPPOSITE}",
        )


def pull(static: StaticEffect | None, asked: Asked) -> Iterator[Finding]:
    """What stands still in the camera and makes shifts too small."""
    if static is None or not static.certain:
        return
    least = PULL_AT_REST_PX if static.with_it < NO_MOTION_PX else PULL_PX
    if static.without_it - static.with_it > max(least, PULL_ERRORS * static.error):
        yield (
            Trust.NOT if static.with_it < WINS * static.without_it else Trust.LOOK,
            f"what stands still in the camera pulls shifts towards zero: {static.pairs} pairs, on "
            f"average {static.with_it:.2f} px, are {static.without_it:.2f} px without it: "
            f"{asked.without_still}",
        )


def parts_apart(motion: LocalMotion | None, asked: Asked) -> Iterator[Finding]:
    """Parts of the frame that do not move as the whole does."""
    if motion is None:
        return
    if motion.still:
        yield _still(motion, asked)
    if not motion.moving:
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
        f"({motion.where}): {asked.mask_it}, or measure on a channel where it does not show",
    )


def _still(motion: LocalMotion, asked: Asked) -> Finding:
    """Some of the frame stands still: what it does to the shifts follows from how far most move."""
    where = f"{motion.still} of {motion.parts} parts of the frame ({motion.still_where})"
    if motion.still_pull > WINS * motion.scene:
        return (
            Trust.NOT,
            f"what stands still in the frame wins over the scene: in {where}, while most parts "
            f"move by {motion.scene:.1f} px between the frames of a pair; dirt, a label or a scale "
            f"bar in the images: {asked.without_still}",
        )
    return (
        Trust.NOT if motion.still_pull > SPOILT_PX else Trust.LOOK,
        f"something stands still in the frame while the scene moves: in {where}, and pulls "
        f"shifts by {motion.still_pull:.2f} px; dirt, a label or a scale bar in the images: "
        f"{asked.without_still}",
    )
