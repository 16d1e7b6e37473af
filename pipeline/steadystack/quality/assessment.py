"""The checks and the verdict of a whole series, as the dataset keeps them.

A run makes its checks once, on some frames and pairs, and keeps what they found as attributes of
the dataset; the verdict follows from the dataset alone, whenever it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import xarray as xr

from steadystack.dataset import read_frames, read_pairs
from steadystack.model import (
    FixedPatternEffect,
    FrameTable,
    LocalMotion,
    MaskCheck,
    PairTable,
    Verdict,
)
from steadystack.planning import Setup
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.fixed_pattern_check import check_fixed_pattern
from steadystack.quality.judge import judge_series
from steadystack.quality.mask_check import check_mask
from steadystack.quality.moving_parts import check_moving_parts

# The attributes of the dataset that hold what the checks found.
FIXED_PATTERN_EFFECT, LOCAL_MOTION, MASK = CHECKED = (
    "fixed_pattern_effect",
    "local_motion",
    "mask_check",
)


def verdict(shifts: xr.Dataset) -> Verdict:
    """How far to trust a solved shifts dataset: `.trust`, with the reasons in `.reasons`."""
    return judge_stored(read_pairs(shifts), read_frames(shifts), shifts.attrs)


def check_series(setup: Setup, table: PairTable) -> dict[str, str]:
    """Check what could be wrong with the shifts of a measured table; attributes of the dataset.

    Returns the result of each check as JSON by the name of its attribute; null: nothing to tell.
    """
    source, method = setup.series.source, setup.method
    results = {
        FIXED_PATTERN_EFFECT: check_fixed_pattern(source, method, setup.size, table),
        LOCAL_MOTION: check_moving_parts(source, method, table),
        MASK: check_mask(source, table),
    }
    return {
        name: json.dumps(asdict(result) if result else None) for name, result in results.items()
    }


def judge_stored(table: PairTable, frames: FrameTable, attributes: Mapping[Any, Any]) -> Verdict:
    """The verdict on solved tables, with the settings and the checks that the attributes hold.

    A check that is not among the attributes, or is null, has no part in it.
    """
    settings = json.loads(attributes["configuration"])
    pattern, motion, mask = (json.loads(attributes.get(name, "null")) for name in CHECKED)
    mask_check = MaskCheck(**mask) if mask else None
    return judge_series(
        table,
        frames,
        settings["solve"]["anchor"],
        advice=_read_advice_settings(settings, mask_check),
        fixed_pattern=FixedPatternEffect(**pattern) if pattern else None,
        motion=LocalMotion(**motion) if motion else None,
        mask=mask_check,
    )


def _read_advice_settings(settings: Mapping[str, Any], mask: MaskCheck | None) -> AdviceSettings:
    """The settings that advice depends on.

    Arrays are not in the settings: that there is a mask follows from its check.
    """
    register, preprocess, pairs = (
        settings.get(name, {}) for name in ("register", "preprocess", "pairs")
    )
    pair_settings = {name: pairs[name] for name in ("strategy", "width", "extra") if name in pairs}
    return AdviceSettings(
        max_shift=register.get("max_shift"),
        min_overlap=register.get("min_overlap"),
        high_pass=preprocess.get("high_pass"),
        fixed_pattern=preprocess.get("fixed_pattern") is not None,
        masked=mask is not None and mask.valid < 1,
        initial_shifts=settings.get("initial_shifts", {}).get("path") is not None,
        separations=tuple(pairs.get("separations", ())),
        **pair_settings,
    )
