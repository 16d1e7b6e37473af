"""Which pixels of the camera are left out: those that stand out wherever the scene is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from steadystack.defects import count_places, find_outstanding, select_staying, standardize
from steadystack.measure import Sample, has_shift, spread_evenly
from steadystack.model import Defects, Ints, RunError
from steadystack.planning.layout import Setup, leave_out_defects

# Defects are looked for in so many frames, fewer of large ones; they are at most so many pixels.
LOOKED_AT_PIXELS, FEWEST_LOOKED_AT, MOST_LOOKED_AT = 2**25, 12, 32
MOST_DEFECTS, MOST_SHARE = 20_000, 0.05


def find_defects(setup: Setup) -> Defects | None:
    """Find pixels of the camera that stand out wherever the scene is.

    They are looked for in frames spread over the series, then in those of ever shorter times in
    its middle, until the pairs of these tell where the scene is. None: the settings do not ask for
    it, there are too few frames, or they are measured in blocks, for which it would take long.
    """
    source, found = setup.series.source, None
    if setup.config.mask.defects is None or len(setup.method.search.blocks) > 1:
        return None
    pixels = math.prod(source.frame_shape)
    most = min(max(LOOKED_AT_PIXELS // pixels, FEWEST_LOOKED_AT), MOST_LOOKED_AT)
    span = source.frame_count
    while span >= FEWEST_LOOKED_AT:
        begin = (source.frame_count - span) // 2
        frames = begin + spread_evenly(np.arange(span), most)
        found = _find_defects_in(setup, frames)
        if found is None or not found.outstanding or found.too_many or found.places:
            break
        span //= 2
    return found


def _find_defects_in(setup: Setup, frames: Ints) -> Defects | None:
    source = setup.series.source
    read = [(frame, source.read(frame)) for frame in np.asarray(frames).tolist()]
    read = [(frame, content) for frame, content in read if content.valid.any()]
    if len(read) < FEWEST_LOOKED_AT:
        return None
    images = np.stack([standardize(content.image, content.valid) for _, content in read])
    valid = np.stack([content.valid for _, content in read])
    outstanding = find_outstanding(images, valid)
    found = Defects(len(read), len(outstanding))
    if not outstanding.size:
        return found
    if len(outstanding) > min(MOST_DEFECTS, MOST_SHARE * images[0].size):
        return replace(found, too_many=True)
    without = leave_out_defects(setup, tuple(outstanding.tolist()))
    shown = np.array([frame for frame, _ in read])
    sample = Sample(without.series.source, without.method, without.size, shown, np.ones(len(shown)))
    try:
        positions = sample.shifts(None)
    except RunError:  # too many frames cannot be read
        return found
    known = has_shift(positions)
    staying = select_staying(images[known], valid[known], outstanding, positions[known])
    return replace(found, places=count_places(positions[known]), pixels=tuple(staying.tolist()))
