"""Advice knows what is set."""

from __future__ import annotations

import json
import math

import pytest

from steadystack.quality import Asked


@pytest.mark.parametrize(
    ("lags", "lag", "wanted"),
    [((1, 2, 4, 8), 1, "[2, 3, 4, 8]"), ((1, 2, 4), 4, "[1, 2]"), ((2, 3), 2, "[3, 4]")],
)
def test_other_lags_keep_the_frames_together(lags, lag, wanted):
    asked = Asked(strategy="lags", lags=lags)
    assert asked.without_lag(lag).endswith(f"or measure others (pairs.lags: {wanted})")
    assert math.gcd(*json.loads(wanted)) == 1
    assert "pairs.strategy: lags" in Asked().without_lag(lag)
