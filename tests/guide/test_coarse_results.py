"""Lengths found in coarse frames are in pixels of the stack, in the results of all checks."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import pytest

from steadystack.checks import CHECKED
from steadystack.common_frame import ChannelTurning
from steadystack.guide.coarse_frames import Grain
from steadystack.guide.coarse_results import (
    FILTERS,
    LENGTHS,
    LENGTHS_ALONG_Z,
    enlarge_checks,
)
from steadystack.model import (
    FixedPatternEffect,
    LocalMotion,
    MajorityCheck,
    MaskCheck,
    OtherConditioning,
    ProbeCheck,
    SharpnessCheck,
)
from steadystack.motion import UnmodelledMotion
from steadystack.motion.strengths import Strength

KINDS = dict(
    zip(
        CHECKED,
        (
            FixedPatternEffect, LocalMotion, MaskCheck, ProbeCheck, MajorityCheck, SharpnessCheck,
            OtherConditioning, UnmodelledMotion, ChannelTurning,
        ),
        strict=True,
    )
)  # fmt: skip
# Counts, numbers and names of parts, shares, ratios, multiples of errors, values of the stack.
OTHERS = {
    "fixed_pattern_effect": {
        "pairs", "certain", "moving_share", "loss", "changes", "lost", "unexplained",
        "separable_share", "repeated", "subtracted",
    },
    "local_motion": {
        "pairs", "parts", "moving", "where", "linear", "still", "still_where", "suits",
    },
    "mask_check": {"valid", "inverted", "far_value", "far_share"},
    "probe_check": {
        "pairs", "separation", "excess", "part", "part_excess", "lost_part", "lost", "lost_next",
        "detail_excess", "coarse_excess", "plane_excess", "plane_light", "plane_lacks",
    },
    "majority_check": {"parts", "pairs", "confirmed", "excess"},
    "sharpness_check": {"frames", "still", "moved", "error"},
    "other_conditioning": {"pairs", "found"},
}  # fmt: skip
GRAIN = Grain(range(0, 9, 2), (5, 2, 3))


@pytest.mark.parametrize("name", CHECKED)
def test_of_every_field_it_is_known_whether_it_is_a_length(name):
    kinds = LENGTHS, LENGTHS_ALONG_Z, FILTERS, OTHERS
    listed = [field for kind in kinds for field in kind.get(name, ())]
    assert sorted(listed) == sorted(field.name for field in fields(KINDS[name]))


def test_all_of_a_strength_is_lengths():
    assert [field.name for field in fields(Strength)] == ["size", "std"]


def enlarged(name, result):
    found = enlarge_checks({name: json.dumps(asdict(result))}, GRAIN)
    assert list(found) == [name]
    return json.loads(found[name])


@pytest.mark.parametrize("name", [name for name in CHECKED if name in OTHERS])
def test_lengths_and_nothing_else_are_multiplied_by_the_sides_of_boxes(name):
    kind = KINDS[name]
    result = kind(**dict.fromkeys((field.name for field in fields(kind)), 1.5))
    if name == "other_conditioning":
        result = OtherConditioning(8, 7, "low_pass: 1, high_pass: 10")
    expected = asdict(result)
    expected |= dict.fromkeys(LENGTHS.get(name, ()), 7.5)
    expected |= dict.fromkeys(LENGTHS_ALONG_Z.get(name, ()), 7.5)
    expected |= dict.fromkeys(FILTERS.get(name, ()), 4.5)
    if name == "other_conditioning":
        expected["settings"] = "low_pass: 3, high_pass: 30"
    assert enlarged(name, result) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("low_pass: 1", "low_pass: 3"),
        ("high_pass: 7.5", "high_pass: 22.5"),
        ("low_pass: null, high_pass: null", "low_pass: null, high_pass: null"),
    ],
)
def test_settings_of_filters_are_those_of_the_stack(before, after):
    found = enlarged("other_conditioning", OtherConditioning(8, 7, before))
    assert found == {"pairs": 8, "found": 7, "settings": after}


def test_lengths_in_mappings_and_lists_are_multiplied_and_unknown_ones_stay_unknown():
    strengths = {"rotation": Strength(0.4, 0.1), "scale": Strength(0.0, 0.2)}
    assert enlarged("unmodelled_motion", UnmodelledMotion(strengths, least=0.2)) == {
        "strengths": {"rotation": {"size": 2.0, "std": 0.5}, "scale": {"size": 0.0, "std": 1.0}},
        "least": 1.0,
    }
    turning = ChannelTurning((None, 1.2, None, 0.0))
    assert enlarged("channel_turning", turning) == {"sizes": [None, 6.0, None, 0.0]}


def test_motion_along_z_has_the_boxes_of_z():
    grain = Grain(range(9), (2, 7, 7))
    check = ProbeCheck(6, off=1.0, plane_pull=1.0, plane_moves=3.0, coarse_low_pass=4.0)
    found = json.loads(
        enlarge_checks({"probe_check": json.dumps(asdict(check))}, grain)["probe_check"]
    )
    assert [found[field] for field in ("off", "plane_pull", "plane_moves")] == [7, 2, 6]
    assert found["coarse_low_pass"] == 28


def test_checks_without_a_result_stay_without_one():
    assert enlarge_checks(dict.fromkeys(CHECKED, "null"), GRAIN) == {}
    assert enlarge_checks({}, GRAIN) == {}
