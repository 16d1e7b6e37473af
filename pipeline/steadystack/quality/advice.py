"""What a verdict is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from steadystack.model import Finding, FixedPatternEffect, LocalMotion, MaskCheck, Reason, Trust

# Less than this in every pair is what a picture of the camera itself does.
NO_MOTION_PX = 0.05


@dataclass(frozen=True)
class AdviceSettings:
    """The settings that advice depends on: nobody is told to set what is set.

    Attributes
    ----------
    max_shift, min_overlap : of `register`; None: not set
    high_pass : of `preprocess`, px; None: not set
    fixed_pattern : whether a fixed pattern is taken away
    masked : whether a mask, or anything else, takes pixels away
    initial_shifts : whether searches are centred on shifts known before
    strategy, width, separations, extra : of `pairs`
    """

    max_shift: object = None
    min_overlap: float | None = None
    high_pass: float | None = None
    fixed_pattern: bool = False
    masked: bool = False
    initial_shifts: bool = False
    strategy: str = "window"
    width: int = 5
    separations: tuple[int, ...] = (1, 2, 4, 8)
    extra: float = 0.0

    @property
    def wider(self) -> str:
        """For shifts beyond the search."""
        above = f" above {self.max_shift}" if self.max_shift is not None else ""
        initial = ", or check kind, scale and unit of initial_shifts" if self.initial_shifts else ""
        return f"raise register.max_shift{above}{initial}"

    @property
    def narrower(self) -> str:
        """For shifts that are found where there are none."""
        if self.max_shift is None:
            return "set register.max_shift"
        return f"lower register.max_shift below {self.max_shift}"

    @property
    def less_overlap(self) -> str:
        below = f" below {self.min_overlap:g}" if self.min_overlap is not None else ""
        return f"lower register.min_overlap{below}"

    @property
    def likeness(self) -> str:
        """For frames in which too little of the scene is seen."""
        mask = "check the mask" if self.masked else "mask what is not the scene"
        return f"{mask}, {self._high_pass}"

    @property
    def _high_pass(self) -> str:
        if self.high_pass is None:
            return "try preprocess.high_pass"
        return f"try a preprocess.high_pass other than {self.high_pass:g}"

    @property
    def mask_it(self) -> str:
        """For what is seen in the frames and is no scene."""
        return "extend the mask over it" if self.masked else "mask it"

    @property
    def without_still(self) -> str:
        """For what stands still in the camera."""
        if self.fixed_pattern:
            return f"{self.mask_it}: the fixed pattern does not remove all of it"
        return f"{self.mask_it}, or set preprocess.fixed_pattern: estimate"

    @property
    def more_pairs(self) -> str:
        """For a graph that is too weak."""
        extra = f"raise pairs.extra above {self.extra:g}" if self.extra else "set pairs.extra: 0.2"
        further = {
            "window": f"raise pairs.width above {self.width}",
            "multiscale": f"raise pairs.width above {self.width}",
            "separations": f"add to pairs.separations: {_listed(self.separations)}",
            "list": "list more pairs",
        }
        if self.strategy == "all":
            return "look at the frames between the parts, as all pairs are measured"
        way = further.get(self.strategy, "set pairs.strategy: window")
        return f"measure more pairs ({way}, or {extra})"

    def without_separation(self, separation: int) -> str:
        """For pairs so many frames apart that something pulls."""
        static = (
            ""
            if self.fixed_pattern
            else " (or fixed_pattern: estimate, if the scene stays the same)"
        )
        return f"{self.mask_it}, {self._high_pass}{static}, {self._other_separations(separation)}"

    def _other_separations(self, separation: int) -> str:
        kept = [one for one in self.separations if one != separation]
        if self.strategy != "separations" or separation not in self.separations or not kept:
            return "or rely on pairs further apart (pairs.strategy: separations)"
        if math.gcd(*kept) != 1:  # else frames would fall into parts
            kept.append(next(n for n in count(separation + 1) if math.gcd(*kept, n) == 1))
        return f"or measure other pairs (pairs.separations: {_listed(sorted(kept))})"


def _listed(numbers: Iterable[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


# What stands still is told of if it takes this much away from a shift and so many standard errors,
# and wins where it leaves less than that part of it.
PULL_PX, PULL_ERRORS, WINS = 0.02, 4.0, 0.5
# Where hardly anything moves, a scene that changes looks like one that is held back: more is asked.
PULL_AT_REST_PX = 0.15
# What stands still in a part of the frame spoils shifts that it pulls by more than this.
SPOILT_PX = 0.5
# More parts of the frame than these that move by themselves leave open which is the scene.
MOVES = 0.3

OPPOSITE = "True (nonzero) means valid; mask.invert, or ~mask in Python, swaps the two"


def advise_on_mask(mask: MaskCheck | None) -> Iterator[Finding]:
    """A mask that takes the scene away and leaves the rest."""
    if mask is None:
        return
    if mask.inverted:
        yield Finding(
            Trust.CHECK,
            Reason.MASK_INVERTED,
            "the mask looks inverted: what it excludes looks like a scene, what it keeps does "
            f"not; {OPPOSITE}",
        )
    elif mask.taken_moves:
        yield Finding(
            Trust.CHECK,
            Reason.MASK_MAY_BE_INVERTED,
            f"the mask may be inverted: what it excludes moves, by {mask.taken_moves:.1f} px "
            f"between the frames of a pair, and what it keeps does not; {OPPOSITE}",
        )


def advise_on_fixed_pattern(
    static: FixedPatternEffect | None, asked: AdviceSettings
) -> Iterator[Finding]:
    """What stands still in the camera and makes shifts too small."""
    if static is None or not static.certain:
        return
    least = PULL_AT_REST_PX if static.with_it < NO_MOTION_PX else PULL_PX
    if static.without_it - static.with_it > max(least, PULL_ERRORS * static.error):
        yield Finding(
            Trust.UNRELIABLE if static.with_it < WINS * static.without_it else Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"something that stands still in the camera pulls shifts towards zero: {static.pairs} "
            f"pairs have a mean shift of {static.with_it:.2f} px with it, and of "
            f"{static.without_it:.2f} px without: {asked.without_still}",
        )


def advise_on_moving_parts(motion: LocalMotion | None, asked: AdviceSettings) -> Iterator[Finding]:
    """Parts of the frame that do not move as the whole does."""
    if motion is None:
        return
    if motion.still:
        yield _still(motion, asked)
    if not motion.moving:
        return
    if motion.linear:
        yield Finding(
            Trust.CHECK,
            Reason.TURNING,
            "the frames rotate or stretch: parts of them differ from the shift of the whole by up "
            f"to {motion.size:.1f} px between the frames of a pair, so that a shift is only the "
            "best translation",
        )
        return
    yield Finding(
        Trust.UNRELIABLE if motion.moving > MOVES * motion.parts else Trust.CHECK,
        Reason.MOVING_PARTS,
        f"something moves independently: {motion.moving} of {motion.parts} parts of the frame "
        f"differ from the shift of the whole, by up to {motion.size:.1f} px between the frames of "
        f"a pair ({motion.where}): {asked.mask_it}, or measure a channel that does not show it",
    )


def _still(motion: LocalMotion, asked: AdviceSettings) -> Finding:
    """Some of the frame stands still: what it does to the shifts follows from how far most move."""
    where = f"{motion.still} of {motion.parts} parts of the frame ({motion.still_where})"
    if motion.still_pull > WINS * motion.scene:
        return Finding(
            Trust.UNRELIABLE,
            Reason.STILL_PARTS,
            f"something that stands still outweighs the scene in {where}, while most parts move "
            f"by {motion.scene:.1f} px between the frames of a pair (dirt, a label, a scale "
            f"bar?): {asked.without_still}",
        )
    return Finding(
        Trust.UNRELIABLE if motion.still_pull > SPOILT_PX else Trust.CHECK,
        Reason.STILL_PARTS,
        f"something stands still in {where} while the scene moves, and pulls shifts by "
        f"{motion.still_pull:.2f} px (dirt, a label, a scale bar?): {asked.without_still}",
    )
