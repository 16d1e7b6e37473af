"""Check whether the mean of the moved frames is sharper than that of the frames as recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steadystack.checks.sampling import crop_to_middle
from steadystack.conditioning import Conditioning, condition
from steadystack.measure import Sample, has_shift, read_camera_images
from steadystack.model import Bools, FrameTable, SharpnessCheck
from steadystack.pairs import spread_evenly
from steadystack.planning import Setup
from steadystack.warp import find_middle, place_on_canvas, warp

# Most and fewest frames that are averaged, and how near their shifts must be to the median, as a
# share of the frame, so that they show the same scene.
FRAMES, FEWEST, NEAR = 32, 8, 0.25
# The finest detail that pairs see is compared: sigma of the low-pass, px, or that of the pairs if
# larger, and sigma of the high-pass as a multiple of it.
FINEST, BAND = 1.0, 4.0
# Pixels over which the finest such detail is correlated, and the smallest share of the frame in
# which it is compared.
DETAIL_PIXELS, LEAST_SHARE = 12, 0.05


def check_sharpness(setup: Setup, solved: FrameTable) -> SharpnessCheck | None:
    """Compare the contrast of fine detail in both means, on the same pixels.

    Detail that `preprocess.low_pass` removes is not compared, as pairs do not see it. The contrast
    is the product of the mean of every other frame and that of the rest, so that noise does not
    contribute. In large frames the middle is used. None if there are few frames, or little detail.
    """
    linear, middle = solved.linear, find_middle(setup.series.source.frame_shape)
    shifts = solved.anchored_shift
    frames = np.flatnonzero(has_shift(shifts))
    if len(frames) < FEWEST:
        return None
    method = crop_to_middle(setup.method)
    off = shifts[frames] - np.median(shifts[frames], axis=0)
    near = (np.abs(off) <= NEAR * np.array(method.search.shape)).all(axis=1)
    frames = spread_evenly(frames[near], FRAMES)
    if len(frames) < FEWEST:
        return None
    off = shifts[frames] - np.median(shifts[frames], axis=0)
    sample = Sample(setup.series.source, method, setup.size, frames, np.ones(len(frames)))
    turns = None
    if np.isfinite(linear).any():
        # a turn also moves the middle of the region that is compared
        turns, inside = linear[frames], sample.method.part(0)[0]
        place = np.array([(side.start + side.stop - 1) / 2 for side in inside]) - middle
        off = off + (turns - np.eye(len(place))) @ place
    return _compare(sample, off, turns)


def _compare(
    sample: Sample, off: NDArray[np.float64], turns: NDArray[np.float64] | None
) -> SharpnessCheck | None:
    """Compare the means of the sample's frames as recorded, and moved by `off` (frames, axes), px.

    `turns` (frames, axes, axes) is their linear motion about the middle; None: there is none.
    """
    shape = tuple(side.stop - side.start for side in sample.method.part(0)[0])
    total, count = np.zeros((2, 2, *shape)), np.zeros((2, 2, *shape))  # (moved, half, ...)
    unfiltered = sample.filtered(None, None).method
    _, static = read_camera_images(unfiltered, sample.source.frame_shape, 0)
    images = sample.images(np.ones(len(off), bool))
    for number, ((image, valid), shift) in enumerate(zip(images, off, strict=True)):
        if static is not None:
            image, valid = image - static, valid & np.isfinite(static)
        pixels = image.ravel() if valid.all() else image[valid]
        if not pixels.size or not (contrast := float(pixels.std())):
            continue
        image = np.where(valid, (image - pixels.mean()) / contrast, 0).astype(np.float32)
        if turns is None:
            moved = place_on_canvas(image, valid, shift, (0,) * len(shape), shape)
        else:
            moved = warp(image, valid, turns[number], shift, "cubic")
        for row, (values, known) in enumerate([(image, valid), moved]):
            total[row, number % 2] += values if known.all() else np.where(known, values, 0)
            count[row, number % 2] += known
    seen = np.asarray((count >= len(off) / 4).all(axis=(0, 1)))
    low_pass = max(FINEST, sample.method.conditioning.low_pass or 0.0)
    details, inside = _find_details(total / np.maximum(count, 1), seen, low_pass)
    if inside.sum() < LEAST_SHARE * inside.size:
        return None
    still, moved_contrast = (float((one * other)[inside].mean()) for one, other in details)
    noise = float(((details[0][0] - details[0][1])[inside] ** 2).mean()) / 4
    shared = DETAIL_PIXELS * (low_pass / FINEST) ** 2
    error = noise * np.sqrt(2 * shared / inside.sum())
    return SharpnessCheck(len(off), still, moved_contrast, float(error))


def _find_details(
    means: NDArray[np.float64], seen: Bools, low_pass: float
) -> tuple[NDArray[np.float64], Bools]:
    """Find the detail of means (2, 2, *pixels) from `low_pass` px on, and where all have it."""
    band = Conditioning(low_pass=low_pass, high_pass=BAND * low_pass)
    found = [[condition(mean, seen, band, None) for mean in halves] for halves in means]
    details = np.array([[np.asarray(image, np.float64) for image, _ in row] for row in found])
    return details, np.logical_and.reduce([valid for row in found for _, valid in row])
