"""What is wrong with a series is found and named; what is right is called good."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bench_verdict
import steadystack
from bench_verdict import SITUATIONS, judge, make_label
from steadystack.model import LocalMotion
from support.members import slow_but

# One situation of each kind of answer.
USUAL = (
    "the mask is inverted",
    "a lattice",
    "an object that moves independently, a third of the frame",
)


@pytest.fixture
def shorter(monkeypatch):
    """Series of fewer frames."""
    monkeypatch.setattr(bench_verdict, "FRAMES", 14)


@pytest.mark.usefixtures("shorter")
@pytest.mark.parametrize("name", USUAL)
def test_a_situation_of_each_kind_is_reported_in_few_frames(name):
    assert_told(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_is_reported(name):
    assert_told(name)


def assert_told(name):
    make, trusts, words = SITUATIONS[name]
    trust, reasons, _ = judge(make(np.random.default_rng(0)))
    assert trust.split()[0] in trusts.split(), reasons
    assert any(words in reason for reason in reasons), reasons


@pytest.mark.usefixtures("shorter")
@pytest.mark.parametrize(
    ("side", "brightness", "wins"),
    slow_but([(20, 30.0, True)], [(30, 5.0, False), (14, 5.0, False), (20, 30.0, True)]),
)
def test_a_part_that_stands_still_is_named_as_such(side, brightness, wins):
    case = make_label(side, brightness)(np.random.default_rng(3))
    shifts = steadystack.estimate_shifts(
        case.frames, parts=None, field_of_view=None, **case.sections
    )
    found = LocalMotion(**json.loads(shifts.attrs["local_motion"]))
    assert (found.still, found.still_where, found.moving) == (1, "top left", 0)
    assert (found.still_pull > 0.9 * found.scene) is wins
    said = str(steadystack.verdict(shifts))
    assert ("outweighs the scene in 1 of" in said) is wins
    assert "moves independently" not in said
    mask = np.ones(case.frames.shape[1:], bool)
    mask[12 : 12 + side, 12 : 12 + side] = False
    cured = steadystack.estimate_shifts(case.frames, mask=mask, **case.sections)
    assert cured.attrs["verdict"] == "good"
    assert np.abs(cured["frame_shift"] - cured["frame_shift"][0] - case.truth).max() < 0.1
