"""Every advice text of a verdict, and the findings from the checks.

`AdviceSettings` words each advice by what is set already. `advise_on_mask`,
`advise_on_fixed_pattern` and `advise_on_moving_parts` make findings of what the checks measured.
Findings from the tables of pairs and frames are in `judge`, which takes its advice from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from steadystack.checks import NO_MOTION_PX
from steadystack.model import (
    Finding,
    FixedPatternEffect,
    LocalMotion,
    MaskCheck,
    OtherConditioning,
    ProbeCheck,
    Reason,
    SharpnessCheck,
    Trust,
)


@dataclass(frozen=True)
class AdviceSettings:
    """The settings that advice depends on, and the advice: nobody is told to set what is set.

    Attributes
    ----------
    max_shift, min_overlap : of `register`; None: not set
    high_pass : of `preprocess`, px; None: not set
    fixed_pattern : whether a fixed pattern is taken away
    masked : whether a mask, or anything else, takes pixels away
    initial_shifts : whether searches are centred on shifts known before
    strategy, width, separations, extra : of `pairs`
    helps : a conditioning under which refused pairs were seen to have a shift
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
    helps: OtherConditioning | None = None

    @property
    def wider_search(self) -> str:
        """Advice for shifts beyond the search."""
        above = f" above {self.max_shift}" if self.max_shift is not None else ""
        initial = ", or check kind, scale and unit of initial_shifts" if self.initial_shifts else ""
        return f"raise register.max_shift{above}{initial}"

    @property
    def narrower_search(self) -> str:
        """Advice for shifts that are found where there are none."""
        if self.max_shift is None:
            return "set register.max_shift"
        return f"lower register.max_shift below {self.max_shift}"

    @property
    def less_overlap(self) -> str:
        """Advice for pairs that overlap too little."""
        below = f" below {self.min_overlap:g}" if self.min_overlap is not None else ""
        return f"lower register.min_overlap{below}"

    @property
    def clearer_scene(self) -> str:
        """Advice for frames in which too little of the scene is seen."""
        if self.helps is not None:
            return self._conditioning
        mask = "check the mask" if self.masked else "mask what is not the scene"
        return f"{mask}, {self._high_pass}"

    @property
    def distinct_scene(self) -> str:
        """Advice for pairs that fit equally well at another shift."""
        return self.narrower_search if self.helps is None else self._conditioning

    @property
    def _conditioning(self) -> str:
        """Advice for pairs that have a shift under another conditioning."""
        assert self.helps is not None
        found = f"{self.helps.found} of {self.helps.pairs} that were tried then have a shift"
        return f"set preprocess: {{{self.helps.settings}}} ({found})"

    @property
    def inverted_contrast(self) -> str:
        """Advice for pairs that are negatives of each other."""
        return "set register.allow_inverted: true"

    @property
    def another_run(self) -> str:
        """Advice for pairs that are not measured yet, or failed."""
        return "run again"

    @property
    def another_anchor(self) -> str:
        """Advice for an anchor without a usable pair, after the frame that is used instead."""
        return "set solve.anchor to it"

    @property
    def residual_check(self) -> str:
        """Advice for pairs that contradict the others."""
        return "look at pair_residual"

    @property
    def _high_pass(self) -> str:
        """Advice for uneven light."""
        if self.high_pass is None:
            return "try preprocess.high_pass"
        return f"try a preprocess.high_pass other than {self.high_pass:g}"

    @property
    def masking(self) -> str:
        """Advice for what is seen in the frames and is no scene."""
        return "extend the mask over it" if self.masked else "mask it"

    @property
    def static_removal(self) -> str:
        """Advice for what stands still in the camera."""
        if self.fixed_pattern:
            return f"{self.masking}: the fixed pattern does not remove all of it"
        return f"{self.masking}, or set preprocess.fixed_pattern: estimate"

    @property
    def more_pairs(self) -> str:
        """Advice for a graph of pairs that is too weak."""
        extra = f"raise pairs.extra above {self.extra:g}" if self.extra else "set pairs.extra: 0.2"
        change_by_strategy = {
            "window": f"raise pairs.width above {self.width}",
            "multiscale": f"raise pairs.width above {self.width}",
            "separations": f"add to pairs.separations: {_format_list(self.separations)}",
            "list": "list more pairs",
        }
        if self.strategy == "all":
            return "look at the frames between the parts, as all pairs are measured"
        change = change_by_strategy.get(self.strategy, "set pairs.strategy: window")
        return f"measure more pairs ({change}, or {extra})"

    @property
    def far_pairs(self) -> str:
        """Advice for shifts that pairs far apart contradict."""
        if self.strategy in ("multiscale", "all"):
            return f"{self.masking}, or {self._high_pass}"
        return f"measure such pairs, too (pairs.strategy: multiscale), {self._high_pass}"

    @property
    def detail(self) -> str:
        """Advice for fine detail that moves otherwise than the rest."""
        return f"{self.masking}, or {self._high_pass}"

    def advise_on_separation(self, separation: int) -> str:
        """Advice for pairs that many frames apart, if something pulls them."""
        estimate = (
            ""
            if self.fixed_pattern
            else " (or fixed_pattern: estimate, if the scene stays the same)"
        )
        others = self._advise_other_separations(separation)
        return f"{self.masking}, {self._high_pass}{estimate}, {others}"

    def _advise_other_separations(self, separation: int) -> str:
        """Advice for measuring pairs other than those that many frames apart."""
        kept = [number for number in self.separations if number != separation]
        if self.strategy != "separations" or separation not in self.separations or not kept:
            return "or rely on pairs further apart (pairs.strategy: separations)"
        if math.gcd(*kept) != 1:  # the pair graph would fall into components
            kept.append(next(n for n in count(separation + 1) if math.gcd(*kept, n) == 1))
        return f"or measure other pairs (pairs.separations: {_format_list(sorted(kept))})"


def _format_list(numbers: Iterable[int]) -> str:
    """Whole numbers as a YAML list."""
    return f"[{', '.join(map(str, numbers))}]"


# A static image is reported if it shortens shifts by more than this many pixels, this many standard
# errors and this share of them; it wins if it leaves less than that share of a shift.
PULL_PX, PULL_ERRORS, PULL_SHARE, WINS = 0.02, 4.0, 0.05, 0.5
# Where hardly anything moves, a changing scene looks like a shortened shift: the pull must be more.
PULL_AT_REST_PX = 0.15
# Parts that stand still spoil shifts that they pull by more pixels than this.
SPOILT_PX = 0.5
# If more than this share of the parts move by themselves, it is open which of them is the scene.
MOVES = 0.3

# Pairs far apart that are off by so many times what is stated are told. As errors are widened by
# that, they spoil the whole only where they are off by more times, and by so many pixels.
FAR, TOO_FAR, TOO_FAR_PX = 2.0, 4.0, 1.0
# Without one part of the frame, or in fine detail, pairs change by so many pixels and times what is
# stated; the share of them that have no shift without one part. Of 110 random series that were
# right one lost so many, and none changed so much.
CHANGES_PX, PART_CHANGES, DETAIL_CHANGES, DETAIL_DIFFERS, HANGS = 0.1, 1.5, 1.3, 2.0, 0.8
# Fine detail of the mean that is lost by moving the frames: this share, so many standard errors.
# Of 110 random series that were right three lost 2 to 3 %, with an object that goes its way.
LESS_SHARP, SHARP_ERRORS = 0.015, 4.0

OPPOSITE = "True (nonzero) means valid; mask.invert, or ~mask in Python, swaps the two"


def advise_on_mask(mask: MaskCheck | None) -> Iterator[Finding]:
    """Find out whether the mask excludes the scene and keeps the rest; at most one finding."""
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
    effect: FixedPatternEffect | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find out whether something that stands still in the camera makes shifts too small."""
    if effect is None or not effect.certain:
        return
    least = PULL_AT_REST_PX if effect.with_it < NO_MOTION_PX else PULL_PX
    pull = effect.without_it - effect.with_it
    if pull > max(least, PULL_ERRORS * effect.error, PULL_SHARE * effect.without_it):
        wins = effect.with_it < WINS * effect.without_it and pull > PULL_AT_REST_PX
        yield Finding(
            Trust.UNRELIABLE if wins else Trust.CHECK,
            Reason.FIXED_PATTERN,
            f"something that stands still in the camera pulls shifts towards zero: {effect.pairs} "
            f"pairs have a mean shift of {effect.with_it:.2f} px with it, and of "
            f"{effect.without_it:.2f} px without: {advice.static_removal}",
        )


def advise_on_moving_parts(motion: LocalMotion | None, advice: AdviceSettings) -> Iterator[Finding]:
    """Find parts of the frame that do not move as the whole does; up to two findings."""
    if motion is None:
        return
    if motion.still:
        yield _judge_still_parts(motion, advice)
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
        f"a pair ({motion.where}): {advice.masking}, or measure a channel that does not show it",
    )


def _judge_still_parts(motion: LocalMotion, advice: AdviceSettings) -> Finding:
    """The finding on parts that stand still: how bad it is follows from how far most parts move."""
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


def advise_on_probes(probes: ProbeCheck | None, advice: AdviceSettings) -> Iterator[Finding]:
    """Find out whether pairs that the run has not say something else; up to three findings."""
    if probes is None:
        return
    if probes.part_excess > PART_CHANGES and probes.part_pull > CHANGES_PX:
        yield Finding(
            Trust.UNRELIABLE,
            Reason.ONE_PART,
            f"one part of the frame decides the shifts ({probes.part}): without it pairs move by "
            f"{probes.part_pull:.2f} px, {probes.part_excess:.1f} times what is stated (a label, "
            f"dirt, an object?): {advice.masking}",
        )
    elif probes.lost > HANGS:
        yield Finding(
            Trust.CHECK,
            Reason.ONE_PART,
            f"all hangs on one part of the frame ({probes.lost_part}): without it "
            f"{probes.lost:.0%} of the pairs looked at have no shift (a label, dirt, an object?)",
        )
    if probes.detail_excess > DETAIL_CHANGES and probes.detail_pull > CHANGES_PX:
        yield Finding(
            Trust.UNRELIABLE if probes.detail_excess > DETAIL_DIFFERS else Trust.CHECK,
            Reason.DETAIL,
            f"fine detail alone moves pairs by {probes.detail_pull:.2f} px, "
            f"{probes.detail_excess:.1f} times what is stated (light that changes, something in "
            f"front of the scene?): {advice.detail}",
        )
    if probes.excess > FAR:
        spoils = probes.excess > TOO_FAR and probes.off > TOO_FAR_PX
        yield Finding(
            Trust.UNRELIABLE if spoils else Trust.CHECK,
            Reason.FAR_PAIRS,
            f"pairs {probes.separation} frames apart are off the shifts by {probes.off:.2f} px, "
            f"{probes.excess:.1f} times what was stated; the stated errors are widened by that: "
            f"something changes or stands still: {advice.far_pairs}",
        )


def advise_on_sharpness(
    sharpness: SharpnessCheck | None, advice: AdviceSettings
) -> Iterator[Finding]:
    """Find out whether moving the frames blurs their mean; at most one finding."""
    if sharpness is None:
        return
    loss = sharpness.still - sharpness.moved
    if loss > max(LESS_SHARP * sharpness.still, SHARP_ERRORS * sharpness.error):
        yield Finding(
            Trust.UNRELIABLE,
            Reason.LESS_SHARP,
            f"the mean of the frames has {loss / sharpness.still:.0%} less contrast in fine detail "
            "when they are moved: what is seen in most of the frame does not move so: "
            f"{advice.masking}",
        )
