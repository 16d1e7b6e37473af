"""From an NCC surface to a registration: the shift with its covariance, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from steadystack.model import Floats, PairStatus, Registration, Surface
from steadystack.peak.choice import Peak, compute_significance, estimate_tail_chance, find_peak
from steadystack.peak.patch import SurfaceAtLag
from steadystack.peak.summit import Summit, find_summits

# A second peak of this fraction of the peak's significance makes the choice arbitrary.
AMBIGUOUS_FRACTION = 0.9
# A scene that repeats itself, such as a lattice, is as high all over its surface as chance is in
# others; but this much chance does not make alike.
REPEATS = 0.5
# The summit is that of the chosen peak as long as it keeps this part of its significance.
SAME_PEAK = 0.5
# A shift that is known no better than this, px, is none.
MOST_SPREAD = 5.0
# Variance, px², of what is rounded to whole lags.
WHOLE_LAG = 1 / 12
# So many surfaces are worked on together, or fewer with so many lags in all; of a lag are held its
# NCC, overlap and two variances.
TOGETHER, TOGETHER_LAGS, LAG_BYTES = 16, 2**18, 28

T = TypeVar("T")
# What goes on step by step: asks for a summit, is sent it, and has a result in the end.
Steps: TypeAlias = Generator[SurfaceAtLag, Any, T]


def register(
    surface: Surface, *, subpixel: bool = True, allow_inverted: bool = False
) -> Registration:
    """The shift that a surface shows, with its covariance and status.

    Parameters
    ----------
    surface : Surface
    subpixel : bool
        Whether to go between the pixels; if not, the shift is the nearest whole lag.
    allow_inverted : bool
        Whether images may be each other's negative. If they are, "same" says so (`INVERTED`), and
        "either" gives the shift, with a negative NCC.

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
) -> Iterator[Registration]:
    """`register` for one surface after another; what is registered already is passed on.

    Some are held and worked on together, which takes less time. No result depends on which.
    """
    together: list[Surface | Registration] = []
    lags = 0
    for surface in surfaces:
        together.append(surface)
        lags += surface.ncc.size if isinstance(surface, Surface) else 0
        if len(together) == TOGETHER or lags >= TOGETHER_LAGS:
            yield from _register_together(
                [_register(one, subpixel, allow_inverted) for one in together]
            )
            together, lags = [], 0
    yield from _register_together([_register(one, subpixel, allow_inverted) for one in together])


def estimate_held_bytes(lags: int, surfaces: int) -> int:
    """The memory of those of so many surfaces of so many lags that wait for the last one."""
    together = min(TOGETHER, math.ceil(TOGETHER_LAGS / lags), surfaces)
    return LAG_BYTES * lags * (together - 1)


def _register_together(registering: list[Steps[Registration]]) -> list[Registration]:
    """What comes out of registrations that go on together: all summits are found at once."""
    done: dict[int, Registration] = {}
    answers: dict[int, Summit | None] = dict.fromkeys(range(len(registering)))
    while answers:
        asked: dict[int, SurfaceAtLag] = {}
        for row, answer in answers.items():
            try:
                asked[row] = registering[row].send(answer)
            except StopIteration as end:
                done[row] = end.value
        answers = dict(zip(asked, find_summits(list(asked.values())), strict=True))
    return [done[row] for row in range(len(registering))]


def _register(
    surface: Surface | Registration, subpixel: bool, allow_inverted: bool
) -> Steps[Registration]:
    if isinstance(surface, Registration):
        return surface
    z = compute_significance(surface)
    inside = z[surface.searched]
    highest = max(float(inside.max()), 0.0)
    lowest = float(inside.min())
    if np.isinf(lowest):  # not all are known
        lowest = float(inside.min(where=np.isfinite(inside), initial=0))
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
            return _make_without_shift(negative, PairStatus.INVERTED)
    found = yield from _register_significance(surface, z, subpixel)
    if allow_inverted and found.status is PairStatus.OK:
        return _choose_sign(found, lowest / highest)
    return found


def _choose_sign(found: Registration, rival: float) -> Registration:
    """A registration whose `rival` of the other sign is so high, over its own peak."""
    if rival > AMBIGUOUS_FRACTION:
        return replace(_make_without_shift(found, PairStatus.AMBIGUOUS), second_peak_ratio=rival)
    return found


def _make_without_shift(found: Registration, status: PairStatus) -> Registration:
    nothing = Registration.unknown(len(found.shift), status)
    return replace(found, shift=nothing.shift, covariance=nothing.covariance, status=status)


def _register_significance(surface: Surface, z: Floats, subpixel: bool) -> Steps[Registration]:
    """The registration of a surface whose lags have the significance `z`."""
    ndim = surface.ncc.ndim
    peak = find_peak(surface, z)
    if peak is None:
        nothing = not np.isfinite(surface.ncc[surface.searched]).any()
        return Registration.unknown(ndim, PairStatus.LOW_OVERLAP if nothing else PairStatus.LOW_NCC)
    status, found = yield from judge_peak(surface, peak)
    index = peak.index if found is None else found.index
    known = {
        "ncc": float(surface.ncc[index]),
        "second_peak_ratio": peak.second_peak_ratio / peak.significance,
        "overlap": float(surface.overlap_count[index]) / min(surface.valid_count),
    }
    if found is None or status is not PairStatus.OK:
        return Registration.unknown(ndim, status, **known)
    lag = np.array(surface.first_lag) + np.array(found.index)
    shift, covariance = lag + found.offset, found.covariance
    if not subpixel:
        shift = lag + np.rint(found.offset)
        covariance = covariance + np.diag([WHOLE_LAG * (size > 1) for size in surface.ncc.shape])
    return Registration(shift=shift, covariance=covariance, status=status, **known)


def judge_peak(surface: Surface, peak: Peak) -> Steps[tuple[PairStatus, Summit | None]]:
    """Whether a peak can be believed, and if not, why; and its summit, if it has one."""
    if peak.significance < peak.chance:
        repeats = surface.ncc[peak.index] > REPEATS and _has_rival(peak)
        return PairStatus.AMBIGUOUS if repeats else PairStatus.LOW_NCC, None
    if _is_at_end(surface, peak.index):
        return PairStatus.AT_SEARCH_LIMIT, None
    found = yield surface, peak.index
    if not _is_same_peak(peak, found):  # the mean square difference is lost where contrast is
        found = yield replace(surface, variances=None), peak.index
    edge = _find_edge_status(surface, found)
    if edge is not None:
        return edge, found
    if (
        not _is_same_peak(peak, found)
        or not found.located
        or _find_largest_std(found) > MOST_SPREAD
    ):
        return PairStatus.AMBIGUOUS, found
    if _has_rival(peak):
        return PairStatus.AMBIGUOUS, found
    place = np.array(found.index) + found.offset
    if peak.significance < estimate_tail_chance(peak, place, surface.searched):
        return PairStatus.LOW_NCC, found
    return PairStatus.OK, found


def _has_rival(peak: Peak) -> bool:
    return peak.second_peak_ratio > AMBIGUOUS_FRACTION * peak.significance


def _is_same_peak(peak: Peak, found: Summit) -> bool:
    return bool(peak.z[found.index] >= SAME_PEAK * peak.significance)


def _find_largest_std(found: Summit) -> float:
    """Largest standard deviation along an axis, px."""
    return math.sqrt(found.covariance.diagonal().max())


def _is_at_end(surface: Surface, index: tuple[int, ...]) -> bool:
    """Whether the surface ends at this lag. Axes with only one lag have no end."""
    sizes = zip(index, surface.ncc.shape, strict=True)
    return any(size > 1 and not 0 < at < size - 1 for at, size in sizes)


def _find_edge_status(surface: Surface, found: Summit) -> PairStatus | None:
    """AT_BOUND if the summit lies outside of the search, LOW_OVERLAP next to what is not known.

    Noise may put the highest whole lag onto the edge of the search, or next to it; where the
    filtered surface has its maximum is what counts, up to half a lag beyond.
    """
    if _is_at_end(surface, found.index):
        return PairStatus.AT_SEARCH_LIMIT
    around = tuple(slice(max(i - 1, 0), i + 2) for i in found.index)
    near: Floats = surface.ncc[around]
    if not np.isfinite(near).all():
        return PairStatus.LOW_OVERLAP
    place = np.array(found.index) + found.offset
    for at, side, size in zip(place, surface.searched, surface.ncc.shape, strict=True):
        if size > 1 and not side.start - 0.5 <= at <= side.stop - 0.5:
            return PairStatus.AT_SEARCH_LIMIT
    return None
