"""The noise of a mean of surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.peak.surroundings import split_noise


@pytest.mark.parametrize("averaged", [1.0, 2.0, 30.0, 1e6])
def test_the_noise_of_a_mean_follows_from_the_peak(averaged):
    scene, noise = 1.0, 3.0
    s1, s2 = scene / (scene + noise / averaged), scene / (scene + noise)
    single, both = split_noise(np.sqrt(s1 * s2), averaged)
    cross = np.sqrt(s1 * s2)  # 2 S N: the scene of each image meets the noise of the other
    assert 2 * cross * single == pytest.approx(s1 * (1 - s2) + s2 * (1 - s1))
    assert both**2 == pytest.approx((1 - s1) * (1 - s2))
