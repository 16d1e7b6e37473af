"""The text of every piece of advice in a verdict, worded according to the settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from steadystack.model import OtherConditioning
from steadystack.motion import LINEAR_MODELS


@dataclass(frozen=True)
class AdviceSettings:
    """The settings that advice depends on, and the advice, which never suggests what is set.

    Attributes
    ----------
    max_shift, min_overlap : of `register`; None: not set
    high_pass : of `preprocess`, px; None: not set
    fixed_pattern : whether a fixed pattern is subtracted
    masked : whether a mask, or anything else, excludes pixels
    initial_shifts : whether searches are centred on initial shifts
    strategy, width, separations, extra : of `pairs`
    motion : `motion.model`
    helps : a conditioning under which refused pairs were found to have a shift
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
    motion: str = "translation"
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
        """Advice for frames that show too little of the scene."""
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
        """Advice for an anchor without a usable pair; it follows the number of the frame used."""
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
        """Advice for things in the frames that are not the scene."""
        return "extend the mask over it" if self.masked else "mask it"

    @property
    def static_removal(self) -> str:
        """Advice for what stands still in the camera."""
        if self.fixed_pattern:
            return (
                f"{self.masking}, or give an image of it (preprocess.fixed_pattern): the one that "
                "was subtracted does not remove all of it"
            )
        return f"{self.masking}, or set preprocess.fixed_pattern: estimate"

    def static_detail(self, low_pass: float) -> str:
        """Advice for fine detail that stands still; a low-pass of this sigma, px, removes it."""
        return f"{self.masking}, or set preprocess.low_pass: {low_pass:g}"

    @property
    def even_planes(self) -> str:
        """Advice for volumes whose planes are not equally bright."""
        return self._high_pass if self.high_pass is not None else "set preprocess.high_pass: 3"

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
            return "look at the frames between the parts, as all pairs are already measured"
        change = change_by_strategy.get(self.strategy, "set pairs.strategy: window")
        return f"measure more pairs ({change}, or {extra})"

    @property
    def far_pairs(self) -> str:
        """Advice for shifts contradicted by pairs of large separation."""
        if self.strategy in ("multiscale", "all"):
            return f"{self.masking}, or {self._high_pass}"
        return f"measure such pairs, too (pairs.strategy: multiscale), {self._high_pass}"

    @property
    def detail(self) -> str:
        """Advice for fine detail that moves differently from the rest."""
        return f"{self.masking}, or {self._high_pass}"

    def advise_on_turning(self, suits: str) -> str:
        """Advice for frames that turn or stretch; `suits` is the model for it, "" if none."""
        simpler = ("translation", *LINEAR_MODELS[: LINEAR_MODELS.index(suits)]) if suits else ()
        return f": set motion: {{model: {suits}}}" if self.motion in simpler else ""

    @property
    def deforming(self) -> str:
        """Advice for frames most of whose parts move by themselves; "": none."""
        if self.motion in ("auto", "local"):
            return ""
        return ", or, if the specimen deforms, set motion: {model: auto}"

    def advise_on_separation(self, separation: int) -> str:
        """Advice for pairs of this separation, if something pulls them."""
        estimate = (
            ""
            if self.fixed_pattern
            else " (or fixed_pattern: estimate, if the scene stays the same)"
        )
        others = self._advise_other_separations(separation)
        return f"{self.masking}, {self._high_pass}{estimate}, {others}"

    def _advise_other_separations(self, separation: int) -> str:
        """Advice for measuring pairs of other separations than this one."""
        kept = [number for number in self.separations if number != separation]
        if self.strategy != "separations" or separation not in self.separations or not kept:
            return "or rely on pairs further apart (pairs.strategy: separations)"
        if math.gcd(*kept) != 1:  # the pair graph would fall into components
            kept.append(next(n for n in count(separation + 1) if math.gcd(*kept, n) == 1))
        return f"or measure other pairs (pairs.separations: {_format_list(sorted(kept))})"


def _format_list(numbers: Iterable[int]) -> str:
    """Format whole numbers as a YAML list."""
    return f"[{', '.join(map(str, numbers))}]"
