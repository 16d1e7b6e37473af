"""A pair under several conditionings, and the one whose parts agree best.

Whatever a fit assumes of noise and sharpness, real images do not keep it; but a conditioning under
which the parts of the frame agree about the shift is a good one, and needs no truth to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.conditioning import Conditioning
from steadystack.model import PairStatus, Registration, Surface
from steadystack.peak import find_peak
from steadystack.register.gradient_fit import fit_gradients
from steadystack.register.leave_out import DISAGREES, PairImages, Spread, measure_spread, widen
from steadystack.register.plain_pair import PlainPair
from steadystack.register.search import Search, make_surface, register_surfaces

TRIED = (
    Conditioning(high_pass=3),
    Conditioning(high_pass=10),
    Conditioning(high_pass=30),
    Conditioning(low_pass=1),
    Conditioning(low_pass=2),
    Conditioning(low_pass=1, high_pass=10),
    Conditioning(low_pass=1.5, high_pass=30),
)
# Others are tried where the parts disagree by more than the noise explains, where the NCC is less
# than this, or where there is no shift for one of these reasons.
MOSTLY_NOISE = 0.3
CAN_BE_HELPED = (PairStatus.LOW_NCC, PairStatus.AMBIGUOUS)
# The slopes of the images are asked, too, where the shift is this many times less certain along one
# axis than along another, or the frame has fewer pixels along one: detail may be as long as that.
LESS_CERTAIN, THIN = 2.0, 16
# Along axes of so few pixels a fit to the slopes of the images is good to this, px.
FEWEST, FEWEST_STD = 3, 0.1
# Of images of so few pixels along an axis, a filter makes a peak where there is none.
FEW = 8
# Another is better than none if its deviation is less than this part.
CLEARLY = 0.7
# Two shifts agree within so many deviations of both, or this many pixels.
AGREE_DEVIATIONS, AGREE_PIXELS = 4.0, 0.5
# One with this many times the deviation of the best at most says no to it, if it does not agree.
AS_GOOD = 2.0
# Without one as the images are, the shift must be known this well, px, and its rival be at most
# this part as significant.
LARGEST_STD, RIVAL = 1.0, 0.7
# Where one conditioning alone finds a shift, the highest peak of all others, which see other detail
# of the scene, must be at the same lag, to so many pixels and deviations along each axis, and the
# shift be known this well, px: along an edge it is not.
SAME_LAG, SAME_LAG_DEVIATIONS, ALONE_STD = 1.0, 2.0, 0.35
# At least so many others must have one; not at lag zero, where fine detail of the camera has it.
FEWEST_VOTES = 3


@dataclass(frozen=True)
class Attempt:
    """A pair as measured under a conditioning, which the registration names.

    Attempts are compared by what parts of the frame disagree about.

    Attributes
    ----------
    stated : its registration before it was widened to that
    spread : what parts, and bands of them, disagree about; None: there is no shift
    highest : the lag of the highest peak where that is not believed, px
    """

    pair: PlainPair
    stated: Registration
    registration: Registration
    spread: Spread | None = None
    by_gradients: bool = False
    highest: NDArray[np.float64] | None = None

    @classmethod
    def make(
        cls, pair: PlainPair, name: str, make_search: Callable[[PlainPair], Search]
    ) -> Attempt:
        """Measure a pair that was conditioned in the way of that name."""
        images = PairImages(pair, make_search(pair))
        surface = make_surface(images.compute_terms(), images.search)
        (stated,) = register_surfaces([surface], images.search)
        if stated.status is not PairStatus.OK:
            can_be_helped = stated.status in CAN_BE_HELPED
            highest = _find_highest(surface, images.search) if can_be_helped else None
            return cls(pair, stated, stated, highest=highest)
        spread = measure_spread(stated, images)
        widened = replace(widen(stated, spread.of_parts), conditioning=name)
        return cls(pair, stated, widened, spread)

    def condition(self) -> Iterator[tuple[PlainPair, str]]:
        """Condition the pair in all ways, on top of what was done to it."""
        done = self.registration.conditioning
        for way in TRIED:
            yield self.pair.condition(way), f"{done}, {way}" if done else str(way)

    @property
    def asks_for_others(self) -> bool:
        """Whether another conditioning may be better."""
        if not self.is_ok:
            return self.registration.status in CAN_BE_HELPED
        if abs(self.registration.ncc) < MOSTLY_NOISE and not self.by_gradients:
            return True
        before, after = np.diag(self.stated.covariance), np.diag(self.registration.covariance)
        return bool((after > DISAGREES**2 * before).any())

    @property
    def asks_for_gradients(self) -> bool:
        """Whether a fit to the slopes of the images may be better."""
        if not self.is_ok:
            return False
        variances = np.diag(self.registration.covariance)
        searched = variances > 0
        is_long = variances.max() > LESS_CERTAIN**2 * variances.min(where=searched, initial=np.inf)
        is_thin = min(np.array(self.pair.reference.shape)[searched], default=THIN) < THIN
        return bool(is_long or is_thin) or self.asks_for_others

    def fit_gradients(self) -> Attempt:
        """The same by the slopes of the images, if that is found nearby and is more certain.

        If it is found elsewhere, the shift is as uncertain as both are apart.
        """
        found = fit_gradients(self.registration, self.pair)
        if found is None:
            return self
        stated, spread = found
        widened = widen(stated, spread.of_parts)
        other = replace(self, stated=stated, registration=widened, spread=spread, by_gradients=True)
        searched = np.array(self.pair.reference.shape)[np.diag(self.registration.covariance) > 0]
        is_thin = searched.min() <= FEWEST
        if self.differs_from(other) > 1:  # neither is known better than that
            return replace(
                self,
                registration=widen(
                    self.registration, np.abs(stated.shift - self.registration.shift)
                ),
            )
        return other if is_thin or other.std < self.std else self

    def widen_thin(self) -> Attempt:
        """The same, no more certain along axes of few pixels than can be known there."""
        if not self.by_gradients:
            return self
        is_thin = np.array(self.pair.reference.shape) <= FEWEST
        is_thin &= np.diag(self.registration.covariance) > 0
        return replace(
            self, registration=widen(self.registration, np.where(is_thin, FEWEST_STD, 0.0))
        )

    @property
    def result(self) -> Registration:
        """The registration, no more certain than bands of the frame agree."""
        if self.spread is None or not self.is_ok:
            return self.registration
        return widen(self.registration, self.spread.of_bands)

    @property
    def is_ok(self) -> bool:
        return self.registration.status is PairStatus.OK

    @property
    def valid_count(self) -> int:
        """How many pixels are valid in either image, at least."""
        pair = self.pair
        images = (pair.reference, pair.reference_mask), (pair.moving, pair.moving_mask)
        return min(image.size if mask is None else int(mask.sum()) for image, mask in images)

    @property
    def has_rival(self) -> bool:
        """Whether another lag is nearly as good."""
        return self.registration.second_peak_ratio > RIVAL

    @property
    def std(self) -> float:
        """Root of the sum of the variances along all axes, px."""
        return float(np.sqrt(np.trace(self.registration.covariance)))

    def widen_to(self, other: Attempt) -> Attempt:
        """The same, as uncertain as another at least.

        The smallest of several estimated deviations is too small by chance, the next hardly.
        """
        std = np.sqrt(np.diag(other.registration.covariance))
        spread = self.spread
        if spread is not None and other.spread is not None:
            spread = Spread(spread.of_parts, np.fmax(spread.of_bands, other.spread.of_bands))
        return replace(self, registration=widen(self.registration, std), spread=spread)

    @property
    def is_still(self) -> bool:
        """Whether the shift is about zero, as that of the camera's own detail is."""
        return bool((np.abs(self.registration.shift) < SAME_LAG).all())

    def give_up(self) -> Attempt:
        """The same without a shift: there are two motions, and one may be none of the scene."""
        lost = replace(self.registration.without_shift(PairStatus.AMBIGUOUS), conditioning="")
        return replace(self, registration=lost) if self.is_ok else self

    def contradicts(self, other: Attempt) -> bool:
        """Whether the other has another shift."""
        return other.is_ok and self.differs_from(other) > 1

    def differs_from(self, other: Attempt) -> float:
        """By how much two shifts differ, in units of what is allowed."""
        one, two = self.registration, other.registration
        variance = np.diag(one.covariance) + np.diag(two.covariance)
        allowed = np.maximum(AGREE_DEVIATIONS * np.sqrt(variance), AGREE_PIXELS)
        return float((np.abs(one.shift - two.shift) / allowed).max())


def register_conditioned(
    pair: PlainPair, make_search: Callable[[PlainPair], Search]
) -> Registration:
    """Register a pair, under another conditioning where that is clearly better than none."""
    search = make_search(pair)
    first = Attempt.make(pair, "", make_search)
    if len(search.blocks) > 1:  # larger ones are not held conditioned
        return first.result
    share = first.registration.fixed_pattern_share
    best = first if share == 0 else _remove_fixed_pattern(first, make_search)
    may_be_conditioned = best is not first or not share > 0
    if first.registration.status is PairStatus.AMBIGUOUS:
        lags = zip(search.window.first, search.window.last, strict=True)
        searched = [first < last for first, last in lags]
        may_be_conditioned &= np.min(pair.reference.shape, where=searched, initial=FEW + 1) > FEW
    if best.asks_for_gradients:
        best = best.fit_gradients()
        may_be_conditioned &= not (best.by_gradients and min(pair.reference.shape) <= FEW)
    if best.asks_for_others and may_be_conditioned:
        best = _choose(best, [Attempt.make(*one, make_search) for one in best.condition()])
    if best.is_ok:
        best = best.widen_thin()
    return replace(best.result, fixed_pattern_share=share)


def _remove_fixed_pattern(first: Attempt, make_search: Callable[[PlainPair], Search]) -> Attempt:
    """Measure a pair without what may stand still in it, if that gives another shift, or one.

    A scene that stands still itself gives the same shift, or none.
    """
    ways = [Attempt.make(p, name, make_search) for name, p in first.pair.remove_fixed_pattern()]
    rid = [way for way in ways if way.is_ok and way.registration.fixed_pattern_share == 0]
    best = min(rid, key=lambda way: way.std, default=first)
    if first.is_ok and first.differs_from(best) <= 1 and not best.std < CLEARLY * first.std:
        return first
    return best


def _choose(as_it_is: Attempt, attempts: Sequence[Attempt]) -> Attempt:
    """Choose between a pair as it is, and the same under other conditionings."""
    every = [as_it_is, *attempts]
    if as_it_is.registration.status is PairStatus.AMBIGUOUS:  # less of a scene hides rivals
        attempts = [each for each in attempts if 2 * each.valid_count >= as_it_is.valid_count]
    others = [attempt for attempt in attempts if attempt.is_ok]
    if not as_it_is.is_ok:
        others = [other for other in others if not other.has_rival]
    best, *rest = sorted(others, key=lambda attempt: attempt.std) or [as_it_is]
    agreeing = [other for other in rest if best.differs_from(other) <= 1]
    if as_it_is.is_ok:
        is_better = best.std < CLEARLY * as_it_is.std
    else:
        as_good = [other for other in rest if other.std < AS_GOOD * best.std]
        denied = any(best.differs_from(other) > 1 for other in as_good)
        supported = bool(agreeing) or _is_unanimous(best, every)
        is_better = supported and not denied and best.std < LARGEST_STD
    if is_better and best.is_still and any(best.contradicts(each) for each in every):
        return as_it_is.give_up()
    return best.widen_to(agreeing[0] if agreeing else best) if is_better else as_it_is


def _find_highest(surface: Surface | Registration, search: Search) -> NDArray[np.float64] | None:
    """Find the lag of the highest peak of a surface, whatever chance would make of it."""
    if search.allow_inverted or not isinstance(surface, Surface):
        return None
    peak = find_peak(surface)
    return None if peak is None else np.add(surface.first_lag, peak.index, dtype=np.float64)


def _is_unanimous(best: Attempt, attempts: Sequence[Attempt]) -> bool:
    """Whether the highest peak of a pair is at the shift of the best attempt in every other one.

    Lines of text, say, are so alike that no peak of a surface stands out from the others, and a
    long axial blur lets it hardly fall off along z; that coarse and fine detail have their peaks
    at the same lag by chance is as rare as there are lags. What stands still before a scene is
    seen in fine detail alone, or at no lag but zero.
    """
    if not best.is_ok or best.std > ALONE_STD or any(each.has_rival for each in attempts):
        return False
    found, lags = best.registration, [each.highest for each in attempts if not each.is_ok]
    if len(lags) < FEWEST_VOTES or best.is_still:
        return False
    if any(best.contradicts(each) for each in attempts):
        return False
    allowed = SAME_LAG + SAME_LAG_DEVIATIONS * np.sqrt(np.diag(found.covariance))
    return all(
        lag is not None and bool((np.abs(lag - found.shift) <= allowed).all()) for lag in lags
    )
