"""Widen stated errors to what the checks found, which no residual of near pairs shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from steadystack.checks import FIXED_PATTERN_EFFECT, PROBES, SHARPNESS, read_check
from steadystack.model import (
    CODEC_STD,
    FixedPatternEffect,
    FrameTable,
    ProbeCheck,
    SharpnessCheck,
)
from steadystack.quality.check_findings import gets_sharper
from steadystack.quality.static_findings import (
    LEAST_SEPARABLE,
    MAJORITY,
    is_held_along_z,
    is_held_back,
    is_pulled,
)

# Errors of shifts that something pulls towards zero are at most this many times the shifts, which
# are otherwise not known at all; the second number is for a pull that coarse detail shows.
MOST_PULL, MOST_COARSE_PULL = 3.0, 20.0


def widen_errors(frames: FrameTable, attributes: Mapping[Any, Any]) -> FrameTable:
    """Widen the errors of a solved table for what affects all its pairs alike.

    Slow changes do not show in the residuals of close pairs. So stated errors are multiplied by the
    excess of the separation of probe pairs that differs most from the shifts, or of coarse detail
    if the mean of the frames does not get sharper; or divided by the share of the scene's detail
    that was separated from an estimated fixed pattern. If pairs without a fixed pattern, in coarse
    detail or with equally bright planes show that shifts, relative to the anchor's, are pulled
    towards zero by a share of them, that is added to the errors; and so are errors from a video
    codec, which displaces frames and the anchor, and from frames that repeat parts of others. The
    errors of linear motion are multiplied by the excess, too.
    """
    found = read_check(attributes, PROBES)
    probes, lost = ProbeCheck(**found) if found else ProbeCheck(0), 0.0
    lacks, along_z = np.zeros((2, frames.shift.shape[1]))
    sharpness = read_check(attributes, SHARPNESS)
    if is_held_back(probes) and not (sharpness and gets_sharper(SharpnessCheck(**sharpness))):
        probes = replace(probes, excess=max(probes.excess, probes.coarse_excess))
        held = probes.coarse_pull / max(probes.coarse_moves - probes.coarse_pull, 1e-9)
        lacks[:] = min(held, MOST_COARSE_PULL)
        lost = probes.coarse_pull if held > MOST_COARSE_PULL else 0.0  # hardly any shift is left
    pattern = read_check(attributes, FIXED_PATTERN_EFFECT)
    effect = FixedPatternEffect(**pattern) if pattern else None
    excess = max(probes.excess, 1.0)
    if effect is not None:
        excess = max(excess, 1 / max(effect.separable_share, LEAST_SEPARABLE))
    if effect is not None and is_pulled(effect) and effect.moving_share > MAJORITY:
        pulled = effect.without_it / max(effect.with_it, 1e-9) - 1
        lacks = np.fmax(lacks, min(pulled, MOST_PULL))
    if is_held_along_z(probes):
        lacks[0] = max(lacks[0], min(probes.plane_lacks, MOST_PULL))
        along_z[0] = probes.plane_pull  # small steps are pulled by more than their share
    stale = effect.stale if effect is not None else 0.0
    codec = math.sqrt(2) * float(attributes.get(CODEC_STD, 0.0))
    beside = np.hypot(math.hypot(codec, stale, lost), along_z)
    if excess == 1 and not lacks.any() and not beside.any():
        return frames
    moved = frames.shift.copy()
    for number, anchor in enumerate(frames.anchors):
        moved[frames.component == number] -= np.nan_to_num(frames.shift[anchor])
    # the frame's own error is part of the error of every node
    own = np.expand_dims(frames.shift_std, tuple(range(1, frames.local_shift_std.ndim - 1)))
    local_std = np.sqrt(frames.local_shift_std**2 + (excess**2 - 1) * own**2)
    local_std = np.hypot(local_std, lacks * frames.local_shift)
    std = np.hypot(frames.shift_std * excess, lacks * moved)
    return replace(
        frames,
        shift_std=np.hypot(std, np.where(frames.shift_std > 0, beside, 0.0)),
        local_shift_std=np.hypot(local_std, np.where(local_std > 0, beside, 0.0)),
        linear_std=frames.linear_std * excess,
        rotation_std=frames.rotation_std * excess,
        rotation_vector_std=frames.rotation_vector_std * excess,
        scale_std=frames.scale_std * excess,
    )
