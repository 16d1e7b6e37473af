"""Advice knows what is set."""

from __future__ import annotations

import json
import math

import pytest

from steadystack.quality import AdviceSettings


@pytest.mark.parametrize(
    ("separations", "separation", "wanted"),
    [((1, 2, 4, 8), 1, "[2, 3, 4, 8]"), ((1, 2, 4), 4, "[1, 2]"), ((2, 3), 2, "[3, 4]")],
)
def test_other_separations_keep_the_frames_together(separations, separation, wanted):
    advice = AdviceSettings(strategy="separations", separations=separations)
    assert advice.advise_on_separation(separation).endswith(
        f"or measure other pairs (pairs.separations: {wanted})"
    )
    assert math.gcd(*json.loads(wanted)) == 1
    assert "pairs.strategy: separations" in AdviceSettings().advise_on_separation(separation)
