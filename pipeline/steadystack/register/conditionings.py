"""Measure a pair under several conditionings, and choose the one whose parts agree best.

Real images break whatever a fit assumes about noise and sharpness. But a conditioning under which
the parts of the frame agree about the shift is a good one, and finding it needs no ground truth.
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
# A fit to the slopes of the images is tried, too, where the shift is this many times less certain
# along one axis than along another, or where the frame has fewer than THIN pixels along one: detail
# may be as long as that.
LESS_CERTAIN, THIN = 2.0, 16
# Along axes of this many pixels or fewer, a fit to the images' slopes is no better than this, px.
FEWEST, FEWEST_STD = 3, 0.1
# With this many pixels or fewer along an axis, a filter makes a peak where there is none.
FEW = 8
# A conditioning is better than none if its deviation is less than this fraction.
CLEARLY = 0.7
# Two shifts agree within this many of their joint deviations, or this many pixels.
AGREE_DEVIATIONS, AGREE_PIXELS = 4.0, 0.5
# An attempt that does not agree with the best contradicts it only if its deviation is at most this
# many times as large.
AS_GOOD = 2.0
# If the images as they are give no shift, that of a conditioning must be known this well, px, and
# its rival be at most this fraction as significant.
LARGEST_STD, RIVAL = 1.0, 0.7
# If only one conditioning finds a shift, the highest peak of all others, which see other detail of
# the scene, must be at the same lag within this many pixels and deviations along each axis, and the
# shift be known this well, px (along an edge it is not).
SAME_LAG, SAME_LAG_DEVIATIONS, ALONE_STD = 1.0, 2.0, 0.35
# At least this many others must have one; not at lag zero, where the camera's fine detail has it.
FEWEST_VOTES = 3


@dataclass(frozen=True)
class Attempt:
    """A pair as measured under one conditioning, which the registration names.

    Attempts are compared by how much the parts of the frame disagree.

    Attributes
    ----------
    stated : the registration before its error was widened to that disagreement
    spread : disagreement of the parts, and of bands of them; None: there is no shift
    highest : lag of the highest peak if it is not believed, px
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
        """Measure a pair that was conditioned in the way called `name`."""
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
        """Condition the pair in all ways, on top of what was done to it already."""
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
        """Whether a fit to the images' slopes may be better."""
        if not self.is_ok:
            return False
        variances = np.diag(self.registration.covariance)
        searched = variances > 0
        is_long = variances.max() > LESS_CERTAIN**2 * variances.min(where=searched, initial=np.inf)
        is_thin = min(np.array(self.pair.reference.shape)[searched], default=THIN) < THIN
        return bool(is_long or is_thin) or self.asks_for_others

    def fit_gradients(self) -> Attempt:
        """Fit to the images' slopes instead, if that finds a shift nearby and is more certain.

        If it finds a shift elsewhere, the error becomes the distance of the two.
        """
        found = fit_gradients(self.registration, self.pair)
        if found is None:
            return self
        stated, spread = found
        widened = widen(stated, spread.of_parts)
        other = replace(self, stated=stated, registration=widened, spread=spread, by_gradients=True)
        searched = np.array(self.pair.reference.shape)[np.diag(self.registration.covariance) > 0]
        is_thin = searched.min() <= FEWEST
        if self.differs_from(other) > 1:  # neither shift is known better than their distance
            return replace(
                self,
                registration=widen(
                    self.registration, np.abs(stated.shift - self.registration.shift)
                ),
            )
        return other if is_thin or other.std < self.std else self

    def widen_thin(self) -> Attempt:
        """Limit the certainty along axes of few pixels to what can be known there."""
        if not self.by_gradients:
            return self
        is_thin = np.array(self.pair.reference.shape) <= FEWEST
        is_thin &= np.diag(self.registration.covariance) > 0
        return replace(
            self, registration=widen(self.registration, np.where(is_thin, FEWEST_STD, 0.0))
        )

    @property
    def result(self) -> Registration:
        """The registration, its error at least the disagreement of the bands of the frame."""
        if self.spread is None or not self.is_ok:
            return self.registration
        return widen(self.registration, self.spread.of_bands)

    @property
    def is_ok(self) -> bool:
        return self.registration.status is PairStatus.OK

    @property
    def valid_count(self) -> int:
        """The smaller number of valid pixels of the two images."""
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
        """Widen the error to at least that of another attempt.

        The smallest of several estimated deviations is too small by chance, the next one hardly so.
        """
        std = np.sqrt(np.diag(other.registration.covariance))
        spread = self.spread
        if spread is not None and other.spread is not None:
            spread = Spread(spread.of_parts, np.fmax(spread.of_bands, other.spread.of_bands))
        return replace(self, registration=widen(self.registration, std), spread=spread)

    @property
    def is_still(self) -> bool:
        """Whether the shift is about zero, like that of a fixed pattern."""
        return bool((np.abs(self.registration.shift) < SAME_LAG).all())

    def give_up(self) -> Attempt:
        """Drop the shift: there are two motions, and either may not be that of the scene."""
        lost = replace(self.registration.without_shift(PairStatus.AMBIGUOUS), conditioning="")
        return replace(self, registration=lost) if self.is_ok else self

    def contradicts(self, other: Attempt) -> bool:
        """Whether another attempt has a different shift."""
        return other.is_ok and self.differs_from(other) > 1

    def differs_from(self, other: Attempt) -> float:
        """How far two shifts differ, in units of what is allowed."""
        one, two = self.registration, other.registration
        variance = np.diag(one.covariance) + np.diag(two.covariance)
        allowed = np.maximum(AGREE_DEVIATIONS * np.sqrt(variance), AGREE_PIXELS)
        return float((np.abs(one.shift - two.shift) / allowed).max())


def register_conditioned(
    pair: PlainPair, make_search: Callable[[PlainPair], Search]
) -> Registration:
    """Register a pair, under some conditioning where that is clearly better than none."""
    search = make_search(pair)
    first = Attempt.make(pair, "", make_search)
    if len(search.blocks) > 1:  # larger frames are not held in memory conditioned
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
    """Measure a pair without its possible fixed pattern, in case that changes or gives the shift.

    If the scene itself stands still, that gives the same shift, or none.
    """
    ways = [Attempt.make(p, name, make_search) for name, p in first.pair.remove_fixed_pattern()]
    rid = [way for way in ways if way.is_ok and way.registration.fixed_pattern_share == 0]
    best = min(rid, key=lambda way: way.std, default=first)
    if first.is_ok and first.differs_from(best) <= 1 and not best.std < CLEARLY * first.std:
        return first
    return best


def _choose(as_it_is: Attempt, attempts: Sequence[Attempt]) -> Attempt:
    """Choose between a pair as it is and the same pair under other conditionings."""
    every = [as_it_is, *attempts]
    if as_it_is.registration.status is PairStatus.AMBIGUOUS:  # filtering may hide rivals
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
    """Find the lag of the highest peak of a surface, even if chance may have made it."""
    if search.allow_inverted or not isinstance(surface, Surface):
        return None
    peak = find_peak(surface)
    return None if peak is None else np.add(surface.first_lag, peak.index, dtype=np.float64)


def _is_unanimous(best: Attempt, attempts: Sequence[Attempt]) -> bool:
    """Whether every other attempt has its highest peak at the shift of the best one.

    Lines of text, say, are so alike that no peak stands out from the others, and after a long axial
    blur a peak hardly falls off along z. But coarse and fine detail peak at the same lag by chance
    only once in as many cases as there are lags. A fixed pattern is seen in fine detail alone, or
    at lag zero only.
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
