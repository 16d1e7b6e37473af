"""What the settings asked for, and what to change in them next."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class Asked:
    """The settings that advice depends on: nobody is told to set what is set.

    Attributes
    ----------
    max_shift, min_overlap : of `register`; None: not set
    high_pass : of `preprocess`, px; None: not set
    static : whether a static image is taken away
    masked : whether a mask, or anything else, takes pixels away
    prior : whether searches are centred on shifts known before
    strategy, width, lags, extra : of `pairs`
    """

    max_shift: object = None
    min_overlap: float | None = None
    high_pass: float | None = None
    static: bool = False
    masked: bool = False
    prior: bool = False
    strategy: str = "window"
    width: int = 5
    lags: tuple[int, ...] = (1, 2, 4, 8)
    extra: float = 0.0

    @property
    def wider(self) -> str:
        """For shifts beyond the search."""
        above = f" above {self.max_shift}" if self.max_shift is not None else ""
        prior = ", or check kind, scale and unit of the prior" if self.prior else ""
        return f"raise register.max_shift{above}{prior}"

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
        mask = "check the mask" if self.masked else "mask what is no scene"
        return f"{mask}, {self._high_pass}"

    @property
    def _high_pass(self) -> str:
        if self.high_pass is None:
            return "try preprocess.high_pass"
        return f"try another preprocess.high_pass than {self.high_pass:g}"

    @property
    def mask_it(self) -> str:
        """For what is seen in the frames and is no scene."""
        return "extend the mask over it" if self.masked else "mask it"

    @property
    def without_still(self) -> str:
        """For what stands still in the camera."""
        if self.static:
            return f"{self.mask_it}: the static image does not take all of it away"
        return f"{self.mask_it}, or set preprocess.static: estimate"

    @property
    def more_pairs(self) -> str:
        """For a graph that is too weak."""
        extra = f"raise pairs.extra above {self.extra:g}" if self.extra else "set pairs.extra: 0.2"
        further = {
            "window": f"raise pairs.width above {self.width}",
            "strides": f"raise pairs.width above {self.width}",
            "lags": f"add lags to pairs.lags beside {_listed(self.lags)}",
            "list": "list more pairs",
        }
        if self.strategy == "all":
            return "all pairs are measured: look at the frames between the parts"
        return f"{further.get(self.strategy, 'set pairs.strategy: window')}, or {extra}"

    def without_lag(self, lag: int) -> str:
        """For pairs so many frames apart that something pulls."""
        static = "" if self.static else " (static: estimate only where the scene stays the same)"
        return f"{self.mask_it}, {self._high_pass}{static}, {self._other_lags(lag)}"

    def _other_lags(self, lag: int) -> str:
        kept = [one for one in self.lags if one != lag]
        if self.strategy != "lags" or lag not in self.lags or not kept:
            return "trust pairs further apart (pairs.strategy: lags)"
        if math.gcd(*kept) != 1:  # else frames would fall into parts
            kept.append(next(n for n in count(lag + 1) if math.gcd(*kept, n) == 1))
        return f"or measure others (pairs.lags: {_listed(sorted(kept))})"


def _listed(numbers: Iterable[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"
