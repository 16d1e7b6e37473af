"""Tell what may be a fixed pattern: a changing scene, or a background that was subtracted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.conditioning import Conditioning
from steadystack.measure import PatternEstimate, Sample, has_shift
from steadystack.model import Bools, FixedPatternEffect, Floats, Ints, PairStatus
from steadystack.register import register_as_it_is

# A fixed pattern is certain if it and a scene leave a residual of at most this many times the
# noise, or if the means of the two halves of a series follow less than this share of a drift of at
# least this many pixels. Of 288 series without one (drifts of 0 to 10 px, noise of 0 to 3
# deviations, bleaching, flicker, scenes that change) two were reported, bleaching to a third at
# drifts of 1 and 3 px.
MOST_LEFT, STAYS_BEHIND, LEAST_DRIFT = 1.3, 0.6, 0.1
# If the mean square of a fixed pattern's slopes is less than this share of the scene's, its pull is
# too small to be found: in drifting series, such patterns were first found at 0.09.
LITTLE = 0.02
# Iterations that separate a fixed pattern from a scene whose shifts are known.
PASSES = 4
# The mean or median of frames over time was subtracted from them if less than this share of the
# variance that independent noise leaves in it is left; for a median, so many values are below it,
# and above. Seen in the middle of a plane, of at most so many pixels a side, and so many in all.
LEFT_OVER, EITHER_SIDE, MIDDLE, FEWEST_PIXELS = 1e-3, 0.3, 128, 256
# Frequencies above this share of the highest contain little but noise.
FINEST = 0.8


def is_explained(sample: Sample, estimate: PatternEstimate, pairs: Ints) -> bool:
    """Whether a fixed pattern and one scene explain the frames but for little more than noise.

    The noise is the part that the frames of the closer half of the pairs do not share. A scene that
    changes leaves more, and its changes, which do not move with it, are easily taken for shifts.
    """
    close = pairs[np.argsort(np.abs(pairs[:, 1] - pairs[:, 0]), kind="stable")[: len(pairs) // 2]]
    pattern = estimate.separated.pattern
    remeasured = sample.filtered(None, None).measured(close, pattern)
    if not remeasured.ok.any():
        return False
    images = sample.images(has_shift(estimate.shifts))
    variances = [np.var((image - pattern)[valid & np.isfinite(pattern)]) for image, valid in images]
    noise = (1 - float(np.median(remeasured.ncc[remeasured.ok]))) * float(np.mean(variances))
    return estimate.separated.residual < MOST_LEFT * noise


def is_left_behind(sample: Sample, shifts: Floats) -> bool:
    """Whether the means of the series' two halves coincide although the scene drifts.

    `shifts` are (frames, axes), pixels.
    """
    half = len(sample.frames) // 2
    halves = zip(
        *(np.split(values, [half]) for values in (sample.frames, sample.gains)), strict=True
    )
    means = [replace(sample, frames=frames, gains=gains).mean() for frames, gains in halves]
    bounds = [max(side // 4, 1) for side in means[0].shape]
    registration = register_as_it_is(*means, max_shift=bounds)
    drift = shifts[half:].mean(axis=0) - shifts[:half].mean(axis=0)
    length = float(np.linalg.norm(drift))
    if registration.status is not PairStatus.OK or length < LEAST_DRIFT:
        return False
    return float(registration.shift @ drift) < STAYS_BEHIND * length**2


def has_little_detail(sample: Sample, shifts: NDArray[np.float64]) -> bool:
    """Whether a fixed pattern has too little detail, next to the scene, to pull shifts.

    The peak of the sum of two images lies between those of both, nearer to that of the steeper
    image: for a small step each counts by the mean square of its slope. That is estimated by the
    product of the slopes in every other frame and in the rest, to which noise does not contribute.
    `shifts` are (frames, axes), px.
    """
    views = []
    for half in range(2):
        chosen = slice(half, None, 2)
        some = replace(sample, frames=sample.frames[chosen], gains=sample.gains[chosen])
        estimate = some.separated(shifts[chosen])
        if estimate is None:
            return False
        pattern = estimate.separated.pattern
        views.append((pattern, estimate.separated.view(shifts[len(shifts) // 2]) - pattern))
    for axis in range(shifts.shape[1]):
        if views[0][0].shape[axis] > 1:
            static, moving = (
                np.nanmean(np.diff(one, axis=axis) * np.diff(other, axis=axis))
                for one, other in zip(*views, strict=True)
            )
            if not static < LITTLE * moving:
                return False
    return True


def is_background_subtracted(sample: Sample) -> bool:
    """Whether the mean over time of all these frames, or the median, was subtracted from them.

    A mean of independent noise has the variance of the noise over the number of frames, and that of
    a scene has more; a median has more than a mean. The sample must contain all frames that were
    used. Photon counts have medians that are alike without that, but few values below them.
    """
    chosen = np.ones(len(sample.frames), bool)
    images, valid = zip(*(_cut_out_middle(*one) for one in sample.images(chosen)), strict=True)
    values = np.stack(images).astype(np.float64)[:, np.all(valid, axis=0)]
    if values.shape[1] < FEWEST_PIXELS:
        return False
    left_over = LEFT_OVER * values.var(axis=0, ddof=1).mean() / len(values)
    if values.mean(axis=0).var() < left_over:
        return True
    median = np.median(values, axis=0)
    sides = (values < median).mean(), (values > median).mean()
    return bool(median.var() < left_over and min(sides) > EITHER_SIDE)


def _cut_out_middle(image: Floats, valid: Bools) -> tuple[Floats, Bools]:
    sides = [1] * (image.ndim - 2) + [min(size, MIDDLE) for size in image.shape[-2:]]
    begins = [(size - side) // 2 for size, side in zip(image.shape, sides, strict=True)]
    inside = tuple(slice(at, at + side) for at, side in zip(begins, sides, strict=True))
    return image[inside].copy(), valid[inside].copy()  # a view would keep the whole frame


def add_separable(
    effect: FixedPatternEffect | None, sample: Sample, shifts: NDArray[np.float64]
) -> FixedPatternEffect | None:
    """Add to an effect the share of the scene that an estimated fixed pattern cannot absorb.

    Detail much wider than the scene's motion is nearly the same in all frames, so the part of it in
    their mean may as well stand still. Detail counts by what it tells about a shift, the square of
    its slope. `shifts` are those of the sample's frames (frames, axes), px. It stays None if
    nothing can be separated.
    """
    estimate = sample.separated(shifts, passes=PASSES)
    if estimate is None:
        return effect
    moved = estimate.shifts[has_shift(estimate.shifts)]
    scene = next(estimate.separated.view_scene([moved[len(moved) // 2]]))  # has no mask edges
    noise = estimate.separated.residual / len(moved)
    share = _find_separable_share(scene, moved, noise, sample.method.conditioning)
    return replace(effect or FixedPatternEffect(), separable_share=share)


def _find_separable_share(
    scene: Floats, shifts: Floats, noise: float, conditioning: Conditioning
) -> float:
    """Find the share of a scene's squared slopes that changes when it is shifted.

    Of the axis with the smallest share. `shifts` are (frames, axes), px, `noise` the variance of
    the noise in the scene, `conditioning` has the filters that pairs are measured with.
    """

    def multiply(factors: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return reduce(np.multiply, factors)

    shape = scene.shape
    window = reduce(np.multiply.outer, [np.hanning(size + 2)[1:-1] for size in shape])
    sides = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij", sparse=True)
    waves = [2 * np.pi * one for one in sides]
    power = np.abs(np.fft.fftn((scene - scene.mean()) * window)) ** 2
    seen = np.ones(shape)
    if conditioning.low_pass is not None:
        seen = multiply(np.exp(-((k * conditioning.low_pass) ** 2)) for k in waves)
    if conditioning.high_pass is not None:
        lost = multiply(np.exp(-((k * conditioning.high_pass) ** 2) / 2) for k in waves[-2:])
        seen = seen * (1 - lost) ** 2
    finest = reduce(np.maximum, [np.abs(k) for k in waves]) > FINEST * np.pi
    of_noise = noise * np.sum(window**2)
    if finest.any():  # the unexplained part may be a scene that changes or rotates
        of_noise = np.fmin(of_noise, power[finest].mean())
    mean = np.zeros(shape, complex)
    for shift in shifts:
        mean += multiply(np.exp(1j * k * by) for k, by in zip(waves, shift, strict=True))
    differs = 1 - np.abs(mean / len(shifts)) ** 2
    shares = []
    for k, size in zip(waves, shape, strict=True):
        slopes = k**2 * seen * (power - of_noise)
        if slopes.sum() <= 0:  # so it was not noise
            slopes = k**2 * seen * power
        if size > 1 and slopes.any():
            shares.append(float((slopes * differs).sum() / slopes.sum()))
    return max(min(shares, default=1.0), 0.0)
