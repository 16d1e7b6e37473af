"""From an NCC surface to a registration: the shift with its covariance, or why there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.model import Contrast, Floats, PairStatus, Registration, Surface
from pipeline.peak.choice import Peak, find_peak, significance, tail_chance
from pipeline.peak.summit import Summit, summit

# A runner-up of this fraction of the peak's significance makes the choice arbitrary.
AMBIGUOUS_FRACTION = 0.9
# The summit is that of the chosen peak as long as it keeps this part of its significance.
SAME_PEAK = 0.5
# A shift that is known no better than this, px, is none.
MOST_SPREAD = 5.0
# Variance, px², of what is rounded to whole lags.
WHOLE_LAG = 1 / 12


def register(
    surface: Surface, *, subpixel: bool = True, contrast: Contrast = "same"
) -> Registration:
    """The shift that a surface shows, with its covariance and status.

    Parameters
    ----------
    surface : Surface
    subpixel : bool
        Whether to go between the pixels; if not, the shift is the nearest whole lag.
    contrast : "same" or "either"
        Whether images may be each other's negative. If they are, "same" says so (`INVERTED`), and
        "either" gives the shift, with a negative NCC.

    Returns
    -------
    Registration
        Its shift is known only if the status is ok.
    """
    z = significance(surface)
    inside = z[surface.searched]
    highest = float(np.max(inside, initial=0))
    lowest = float(-np.min(inside, where=np.isfinite(inside), initial=0))
    if lowest > highest:
        opposite = np.where(np.isfinite(z), -z, z)
        negative = _registration(replace(surface, ncc=-surface.ncc), opposite, subpixel)
        negative = replace(negative, ncc=-negative.ncc)
        if negative.status is PairStatus.OK and contrast == "either":
            return _of_either_sign(negative, highest / lowest)
        if negative.status is PairStatus.OK:
            return _without_shift(negative, PairStatus.INVERTED)
    found = _registration(surface, z, subpixel)
    if contrast == "either" and found.status is PairStatus.OK:
        return _of_either_sign(found, lowest / highest)
    return found


def _of_either_sign(found: Registration, rival: float) -> Registration:
    """A registration whose `rival` of the other sign is so high, over its own peak."""
    if rival > AMBIGUOUS_FRACTION:
        return replace(_without_shift(found, PairStatus.AMBIGUOUS), runner_up=rival)
    return found


def _without_shift(found: Registration, status: PairStatus) -> Registration:
    nothing = Registration.unknown(len(found.shift), status)
    return replace(found, shift=nothing.shift, covariance=nothing.covariance, status=status)


def _registration(surface: Surface, z: Floats, subpixel: bool) -> Registration:
    """The registration of a surface whose lags have the significance `z`."""
    ndim = surface.ncc.ndim
    peak = find_peak(surface, z)
    if peak is None:
        nothing = not np.isfinite(surface.ncc[surface.searched]).any()
        return Registration.unknown(ndim, PairStatus.LOW_OVERLAP if nothing else PairStatus.LOW_NCC)
    status, found = judge(surface, peak)
    index = peak.index if found is None else found.index
    known = {
        "ncc": float(surface.ncc[index]),
        "runner_up": peak.runner_up / peak.significance,
        "overlap": float(surface.overlap_count[index]) / min(surface.valid_count),
    }
    if found is None or status is not PairStatus.OK:
        return Registration.unknown(ndim, status, **known)
    lag = np.array(surface.first_lag) + np.array(found.index)
    rounding = np.diag([WHOLE_LAG if size > 1 else 0.0 for size in surface.ncc.shape])
    return Registration(
        shift=lag + (found.offset if subpixel else np.rint(found.offset)),
        covariance=found.covariance if subpixel else found.covariance + rounding,
        status=status,
        **known,
    )


def judge(surface: Surface, peak: Peak) -> tuple[PairStatus, Summit | None]:
    """Whether a peak can be believed, and if not, why; and its summit, if it has one."""
    if peak.significance < peak.chance:
        return PairStatus.LOW_NCC, None
    if _at_end(surface, peak.index):
        return PairStatus.AT_BOUND, None
    found = summit(surface, peak.index)
    if not _same_peak(peak, found):  # the mean square difference is lost where contrast is
        found = summit(replace(surface, variances=None), peak.index)
    edge = _edge(surface, found)
    if edge is not None:
        return edge, found
    if not _same_peak(peak, found) or not found.located or _spread(found) > MOST_SPREAD:
        return PairStatus.AMBIGUOUS, found
    if peak.runner_up > AMBIGUOUS_FRACTION * peak.significance:
        return PairStatus.AMBIGUOUS, found
    place = np.array(found.index) + found.offset
    if peak.significance < tail_chance(peak, place, surface.searched):
        return PairStatus.LOW_NCC, found
    return PairStatus.OK, found


def _same_peak(peak: Peak, found: Summit) -> bool:
    return bool(peak.z[found.index] >= SAME_PEAK * peak.significance)


def _spread(found: Summit) -> float:
    """Largest standard deviation along an axis, px."""
    return float(np.sqrt(np.diag(found.covariance).max()))


def _at_end(surface: Surface, index: tuple[int, ...]) -> bool:
    """Whether the surface ends at this lag. Axes with only one lag have no end."""
    sizes = zip(index, surface.ncc.shape, strict=True)
    return any(size > 1 and not 0 < at < size - 1 for at, size in sizes)


def _edge(surface: Surface, found: Summit) -> PairStatus | None:
    """AT_BOUND if the summit lies outside of the search, LOW_OVERLAP next to what is not known.

    Noise may put the highest whole lag onto the edge of the search, or next to it; where the
    filtered surface has its maximum is what counts, up to half a lag beyond.
    """
    if _at_end(surface, found.index):
        return PairStatus.AT_BOUND
    around = tuple(slice(max(i - 1, 0), i + 2) for i in found.index)
    near: Floats = surface.ncc[around]
    if not np.isfinite(near).all():
        return PairStatus.LOW_OVERLAP
    place = np.array(found.index) + found.offset
    for at, side, size in zip(place, surface.searched, surface.ncc.shape, strict=True):
        if size > 1 and not side.start - 0.5 <= at <= side.stop - 0.5:
            return PairStatus.AT_BOUND
    return None
