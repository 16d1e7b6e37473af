"""All checks of a run: made once, on some frames and pairs, and kept in the dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from steadystack.checks.fixed_pattern_check import check_fixed_pattern
from steadystack.checks.mask_check import check_mask
from steadystack.checks.moving_parts import check_moving_parts
from steadystack.checks.pilot import check_other_conditionings
from steadystack.checks.probe_pairs import check_majority, check_probe_pairs
from steadystack.checks.sampling import KeptFrames
from steadystack.checks.sharpness import check_sharpness
from steadystack.cluster import Engine
from steadystack.model import FrameSource, PairTable
from steadystack.planning import Setup
from steadystack.solve import leave_out_strange_parts, solve_shifts

# The attributes of the dataset that hold what the checks found.
FIXED_PATTERN_EFFECT, LOCAL_MOTION, MASK, PROBES, MAJORITY, SHARPNESS, OTHER = CHECKED = (
    "fixed_pattern_effect",
    "local_motion",
    "mask_check",
    "probe_check",
    "majority_check",
    "sharpness_check",
    "other_conditioning",
)


def check_series(setup: Setup, table: PairTable, client: Engine = None) -> dict[str, str]:
    """Check what could be wrong with the shifts of a measured table; attributes of the dataset.

    Returns the result of each check as JSON by the name of its attribute; null: nothing to tell.
    """
    source, method, settings = KeptFrames(setup.series.source), setup.method, setup.config.solve
    masked: FrameSource = source
    left_out = len(setup.pilot.parts.boxes) if setup.pilot and setup.pilot.parts else 0
    if left_out:
        masked = setup.series.source_before_pilot
    setup = replace(setup, series=replace(setup.series, source=source))
    whole = solve_shifts(table, leave_out_parts=False)
    solved = leave_out_strange_parts(whole)
    majority = check_majority(setup, table, solved, whole, client)
    if majority is None or not majority.confirmed or not settings.may_leave_out_parts:
        solved = whole
    results = {
        FIXED_PATTERN_EFFECT: check_fixed_pattern(
            source, method, setup.size, table, solved, left_out
        ),
        LOCAL_MOTION: check_moving_parts(source, method, table, solved),
        MASK: check_mask(masked, table),
        PROBES: check_probe_pairs(setup, table, solved, client),
        MAJORITY: majority,
        SHARPNESS: check_sharpness(setup, solved),
        OTHER: check_other_conditionings(setup, table, client),
    }
    return {
        name: json.dumps(asdict(result) if result else None) for name, result in results.items()
    }


def is_majority_confirmed(attributes: Mapping[Any, Any]) -> bool:
    """Whether parts of the frame are to be left out of the shifts, as a check found."""
    found = json.loads(attributes.get(MAJORITY, "null"))
    return bool(found and found["confirmed"])
