"""From an NCC surface to a registration: the shift with its covariance, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from steadystack.model import Floats, PairStatus, Registration, Surface
from steadystack.peak.choice import (
    Peak,
    compute_significance,
    estimate_tail_chance,
    find_peak,
    rests_on_few_pixels,
)
from steadystack.peak.cutting import Index, SurfaceAtLag
from steadystack.peak.maxima import climb
from steadystack.peak.still import find_fixed_patterns, remove_fixed_patterns
from steadystack.peak.summit import Summit, find_local_summit, find_summits, is_located

# A second peak of this fraction of the peak's significance makes the choice arbitrary.
AMBIGUOUS_FRACTION = 0.9
# The surface of a scene that repeats itself, such as a lattice, has high peaks all over, as chance
# makes in other scenes; but chance does not reach this NCC.
REPEATING_NCC = 0.5
# Two lags are equally high if their NCCs differ by at most this many deviations of the noise.
NOISE_DEVIATIONS = 4.0
# Largest standard deviation, px, of a shift that is accepted.
LARGEST_STD = 5.0
# Variance, px², that rounding to whole lags adds.
ROUNDING_VARIANCE = 1 / 12
# Shifts with and without a fixed pattern are the same if within this many deviations, or pixels.
SAME_DEVIATIONS, SAME_PIXELS = 0.5, 0.05
# How many surfaces are held and fitted together; most lags that they have in all; bytes per lag:
# its NCC, overlap and two variances.
HELD_SURFACES, HELD_LAGS, LAG_BYTES = 16, 2**18, 28

T = TypeVar("T")
# A generator that yields requests for a summit (a surface and the index of a lag), is sent the
# summit of each, and returns its result T. `_answer_requests` runs many of them in parallel, so
# that one call finds the summits of many surfaces.
SummitRequests: TypeAlias = Generator[SurfaceAtLag, Any, T]


def register(
    surface: Surface, *, subpixel: bool = True, allow_inverted: bool = False
) -> Registration:
    """Find the shift that a surface shows, its covariance and its status.

    Parameters
    ----------
    surface : Surface
    subpixel : bool Whether to go between the pixels; if not, the shift is the nearest whole lag.
    allow_inverted : bool Whether images may be each other's negative. If they are, True gives the
        shift, with a negative NCC; False gives no shift and the status `INVERTED`.

    Returns
    -------
    Registration
        Its shift is known only if the status is ok.
    """
    return next(register_each([surface], subpixel=subpixel, allow_inverted=allow_inverted))


def register_each(
    surfaces: Iterable[Surface | Registration],
    *,
    subpixel: bool = True,
    allow_inverted: bool = False,
    most_held: int = HELD_SURFACES,
) -> Iterator[Registration]:
    """Find the shifts of a sequence of surfaces; registrations in it are passed through.

    Up to `most_held` are held and fitted together, which is faster. No result depends on the
    others. `subpixel` and `allow_inverted` are those of `register`.
    """
    held: list[Surface | Registration] = []
    lags = 0
    for surface in surfaces:
        held.append(surface)
        lags += surface.ncc.size if isinstance(surface, Surface) else 0
        if len(held) >= min(most_held, HELD_SURFACES) or lags >= HELD_LAGS:
            yield from _answer_requests(
                [_register(item, subpixel, allow_inverted) for item in held]
            )
            held, lags = [], 0
    yield from _answer_requests([_register(item, subpixel, allow_inverted) for item in held])


def find_summits_near(requests: Sequence[SurfaceAtLag]) -> list[Summit]:
    """Find the summit of each surface, on the peak to which the requested lag belongs.

    Nothing is judged: without a maximum between the lags the summit is a whole lag, good to a
    pixel.
    """
    tops = [(surface, climb(surface.ncc, index)) for surface, index in requests]
    return [
        summit if climb(surface.ncc, summit.index) == top else find_local_summit(surface, top)
        for (surface, top), summit in zip(tops, find_summits(tops), strict=True)
    ]


def count_held(lags: int, surfaces: int, most_held: int = HELD_SURFACES) -> int:
    """Count the surfaces, `lags` lags each, that are held at a time, out of so many."""
    return max(min(HELD_SURFACES, most_held, math.ceil(HELD_LAGS / lags), surfaces), 1)


def estimate_held_bytes(lags: int, held: int) -> int:
    """Estimate the bytes of surfaces of `lags` lags each that wait until there are `held`."""
    return LAG_BYTES * lags * (held - 1)


def _answer_requests(generators: list[SummitRequests[Registration]]) -> list[Registration]:
    """Run registrations in parallel and return their results, in the same order.

    In every round each generator yields one request; all of them are answered by one call.
    """
    registrations: dict[int, Registration] = {}
    summits: dict[int, Summit | None] = dict.fromkeys(range(len(generators)))
    while summits:
        requests: dict[int, SurfaceAtLag] = {}
        for row, summit in summits.items():
            try:
                requests[row] = generators[row].send(summit)
            except StopIteration as end:
                registrations[row] = end.value
        summits = dict(zip(requests, find_summits(list(requests.values())), strict=True))
    return [registrations[row] for row in range(len(generators))]


def _register(
    surface: Surface | Registration, subpixel: bool, allow_inverted: bool
) -> SummitRequests[Registration]:
    """Find the shift of a surface from its higher peak, positive or negative.

    Yields requests for summits, is sent their summits, returns the registration.
    """
    if isinstance(surface, Registration):
        return surface
    z = compute_significance(surface)
    searched = z[surface.searched]
    highest = max(float(searched.max()), 0.0)
    lowest = float(searched.min())
    if np.isinf(lowest):  # some lags are not known
        lowest = float(searched.min(where=np.isfinite(searched), initial=0))
    lowest = max(-lowest, 0.0)
    if lowest > highest:
        opposite = np.where(np.isfinite(z), -z, z)
        negative = yield from _register_significance(
            replace(surface, ncc=-surface.ncc), opposite, subpixel
        )
        negative = replace(negative, ncc=-negative.ncc)
        if negative.status is PairStatus.OK and allow_inverted:
            return _choose_sign(negative, highest / lowest)
        if negative.status is PairStatus.OK:
            return negative.without_shift(PairStatus.INVERTED)
    registration = yield from _register_significance(surface, z, subpixel)
    if allow_inverted and registration.status is PairStatus.OK:
        return _choose_sign(registration, lowest / highest)
    return registration


def _choose_sign(registration: Registration, rival: float) -> Registration:
    """Mark a registration ambiguous if the peak of the other sign is nearly as high.

    `rival` is the height of that peak over the registration's own.
    """
    if rival > AMBIGUOUS_FRACTION:
        return replace(registration.without_shift(PairStatus.AMBIGUOUS), second_peak_ratio=rival)
    return registration


def _register_significance(
    surface: Surface, z: Floats, subpixel: bool
) -> SummitRequests[Registration]:
    """Find the shift of a surface whose lags have the significance `z`.

    Yields requests for summits, is sent their summits, returns the registration. It is ambiguous if
    removing what stands still in both images gives another shift.
    """
    registration, index = yield from _register_highest(surface, z, subpixel)
    patterns = [] if index is None else find_fixed_patterns(surface, index)
    if not patterns:
        return replace(registration, fixed_pattern_share=np.nan if index is None else 0.0)
    without = remove_fixed_patterns(surface, patterns)
    other, _ = yield from _register_highest(without, compute_significance(without), subpixel)
    if other.status is PairStatus.OK and not _is_same_shift(registration, other):
        share = max(pattern.share for pattern in patterns)
        ambiguous = registration.without_shift(PairStatus.AMBIGUOUS)
        return replace(ambiguous, fixed_pattern_share=share)
    # a scene of sharp details that does not move makes a crest at zero, too
    certain = [pattern.share for pattern in patterns if pattern.apart]
    return replace(registration, fixed_pattern_share=max(certain, default=np.nan))


def _is_same_shift(registration: Registration, other: Registration) -> bool:
    """Whether both have a shift, and it is the same."""
    variance = np.diag(registration.covariance) + np.diag(other.covariance)
    allowed = np.maximum(SAME_DEVIATIONS * np.sqrt(variance), SAME_PIXELS)
    return bool((np.abs(registration.shift - other.shift) <= allowed).all())


def _register_highest(
    surface: Surface, z: Floats, subpixel: bool
) -> SummitRequests[tuple[Registration, Index | None]]:
    """Find the shift of a surface and the index of its peak (None if it has none)."""
    ndim = surface.ncc.ndim
    peak = find_peak(surface, z)
    if peak is None:
        is_empty = not np.isfinite(surface.ncc[surface.searched]).any()
        status = PairStatus.LOW_OVERLAP if is_empty else PairStatus.LOW_NCC
        return Registration.unknown(ndim, status), None
    status, summit = yield from judge_peak(surface, peak)
    index = peak.index if summit is None else summit.index
    peak_values: dict[str, Any] = {
        "ncc": float(surface.ncc[index]),
        "second_peak_ratio": peak.second_significance / peak.significance,
        "overlap": float(surface.overlap_count[index]) / min(surface.valid_count),
    }
    if summit is None or status is not PairStatus.OK:
        return Registration.unknown(ndim, status, **peak_values), index
    lag = np.array(surface.first_lag) + np.array(summit.index)
    registration = Registration(
        shift=lag + summit.offset, covariance=summit.covariance, status=status, **peak_values
    )
    return registration if subpixel else round_to_pixels(registration), index


def round_to_pixels(registration: Registration) -> Registration:
    """Round a shift to whole pixels, and add the rounding error to its covariance.

    Axes that were not searched have none.
    """
    searched = np.diag(registration.covariance) > 0
    return replace(
        registration,
        shift=np.rint(registration.shift),
        covariance=registration.covariance + np.diag(ROUNDING_VARIANCE * searched),
    )


def judge_peak(surface: Surface, peak: Peak) -> SummitRequests[tuple[PairStatus, Summit | None]]:
    """Judge whether a peak can be believed, and if not, why not.

    A generator: it yields requests for a summit, a surface and the index of a lag; is sent the
    `Summit` of each; and returns the status, with the summit if there is one.
    """
    if peak.significance < peak.chance:
        repeats = surface.ncc[peak.index] > REPEATING_NCC and _has_rival(peak)
        return PairStatus.AMBIGUOUS if repeats else PairStatus.LOW_NCC, None
    if rests_on_few_pixels(surface, peak.index):
        return PairStatus.LOW_NCC, None
    if _is_at_end(surface, peak.index):
        return PairStatus.AT_SEARCH_LIMIT, None
    summit = yield surface, peak.index
    if not _is_on_peak(surface, peak, summit):  # contrast is lost: only the NCC itself can be used
        summit = yield replace(surface, variances=None), peak.index
        if not _is_on_peak(surface, peak, summit):  # the filter does not suit these images
            summit = find_local_summit(surface, peak.index)
        elif summit.located:  # the NCC falls where contrast is lost, too
            summit = replace(summit, located=is_located(surface, summit))
    edge = _find_edge_status(surface, summit)
    if edge is not None:
        return edge, summit
    if (
        not _is_on_peak(surface, peak, summit)
        or not summit.located
        or _find_largest_std(summit) > LARGEST_STD
    ):
        return PairStatus.AMBIGUOUS, summit
    if _has_rival(peak):
        return PairStatus.AMBIGUOUS, summit
    position = np.array(summit.index) + summit.offset
    if peak.significance < estimate_tail_chance(peak, position, surface.searched):
        return PairStatus.LOW_NCC, summit
    return PairStatus.OK, summit


def _has_rival(peak: Peak) -> bool:
    """Whether a second peak is so high that the choice is arbitrary."""
    return peak.second_significance > AMBIGUOUS_FRACTION * peak.significance


def _is_on_peak(surface: Surface, peak: Peak, summit: Summit) -> bool:
    """Whether a summit lies on the chosen peak: steepest ascent of the NCC from it ends there.

    A lag so high that noise decides which of the two is higher counts, too: the noise of their
    difference is that of two lags, and of the fall between them.
    """
    if summit.index == peak.index:
        return True
    end, top = climb(surface.ncc, summit.index), climb(surface.ncc, peak.index)
    if end == top:
        return True
    ncc, other = float(surface.ncc[top]), float(surface.ncc[end])
    if not other > 0:
        return False
    missing = max(1 - ncc, 0)
    noise = math.sqrt(2 * missing**2 + 4 * missing * max(ncc - other, 0))
    return ncc - other <= NOISE_DEVIATIONS * noise / math.sqrt(float(surface.overlap_count[top]))


def _find_largest_std(summit: Summit) -> float:
    """Largest standard deviation along an axis, px."""
    return math.sqrt(summit.covariance.diagonal().max())


def _is_at_end(surface: Surface, index: tuple[int, ...]) -> bool:
    """Whether the surface ends at this lag. Axes with only one lag have no end."""
    sizes = zip(index, surface.ncc.shape, strict=True)
    return any(size > 1 and not 0 < at < size - 1 for at, size in sizes)


def _find_edge_status(surface: Surface, summit: Summit) -> PairStatus | None:
    """Find out whether a summit lies at an edge of the surface; None if it does not.

    AT_SEARCH_LIMIT if it lies outside of the search, LOW_OVERLAP next to lags that are not known.
    Noise may put the highest whole lag onto the edge of the search, or next to it; what counts is
    the maximum of the filtered surface, up to half a lag beyond the edge.
    """
    if _is_at_end(surface, summit.index):
        return PairStatus.AT_SEARCH_LIMIT
    region = tuple(slice(max(i - 1, 0), i + 2) for i in summit.index)
    neighbours: Floats = surface.ncc[region]
    if not np.isfinite(neighbours).all():
        return PairStatus.LOW_OVERLAP
    position = np.array(summit.index) + summit.offset
    for at, side, size in zip(position, surface.searched, surface.ncc.shape, strict=True):
        if size > 1 and not side.start - 0.5 <= at <= side.stop - 0.5:
            return PairStatus.AT_SEARCH_LIMIT
    return None
