"""Surfaces that do not fall off in all directions, and those that do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.model import PairStatus
from support.lines import KINDS, make_line_pair
from support.members import slow_but
from support.scenes import Scene


@pytest.mark.parametrize("count", slow_but([8], [8, 100]))
@pytest.mark.parametrize("kind", slow_but(["line"], KINDS))
def test_along_a_line_in_noise_nothing_is_located(kind, count):
    """Noise makes a highest lag there; with a fixed fall for all of them half were taken."""
    believed = sum(
        steadystack.register_translation(*make_line_pair(kind, seed), max_shift=24).status
        == PairStatus.OK
        for seed in range(count)
    )
    assert believed <= 1 + count // 25


@pytest.mark.parametrize(
    ("noise", "detail"),
    slow_but([(0.02, 1.5), (1.0, 4.0)], product([0.02, 1.0], [1.5, 4.0, 10.0])),
)
def test_detail_in_all_directions_is_located(detail, noise):
    rng = np.random.default_rng(int(detail))
    for seed in range(8):
        scene = Scene(seed, detail=detail)
        pair = [
            scene.view((128, 128), at) + noise * rng.normal(size=(128, 128))
            for at in ((0, 0), (2.3, -3.1))
        ]
        found = steadystack.register_translation(*pair, max_shift=16)
        assert found.status == PairStatus.OK
        # what is the same however large the details are: the error in units of their size
        np.testing.assert_allclose(found.shift, (2.3, -3.1), atol=0.02 + 0.1 * noise * detail)


@pytest.mark.parametrize(
    ("noise", "blur"),
    slow_but([(1.0, 1.2)], product([0.1, 1.0], [0.0, 0.6, 1.2])),
)
def test_points_are_located(blur, noise):
    """Sharp details fall off within a pixel, and not evenly: there are few."""
    rng, ok = np.random.default_rng(3), 0
    for _ in range(12):
        sky = np.zeros((120, 120))
        sky[tuple(rng.integers(0, 120, (2, 60)))] = np.exp(rng.normal(size=60))
        sky = ndimage.gaussian_filter(sky, blur) if blur else sky
        one, other = (
            sky[a : a + 96, b : b + 96] + noise * sky.std() * rng.normal(size=(96, 96))
            for a, b in ((12, 12), (9, 17))
        )
        found = steadystack.register_translation(one, other, max_shift=16)
        if found.status == PairStatus.OK:
            np.testing.assert_allclose(found.shift, (-3, 5), atol=0.5)
            ok += 1
    assert ok >= 10


@pytest.mark.parametrize("stretch", slow_but([6], [2, 4, 6]))
def test_volumes_that_are_blurred_along_z_are_located(stretch):
    rng = np.random.default_rng(stretch)
    for seed in range(4):
        scene = Scene(seed, ndim=3, detail=2.5)
        scene.wave[:, 0] /= stretch
        one, other = (
            scene.view((12, 48, 48), at) + 0.3 * rng.normal(size=(12, 48, 48))
            for at in ((0, 0, 0), (0.6, 2.3, -3.1))
        )
        found = steadystack.register_translation(one, other, max_shift=(5, 12, 12))
        assert found.status == PairStatus.OK
        error = np.abs(found.shift - (0.6, 2.3, -3.1)) / np.sqrt(np.diag(found.covariance))
        assert error.max() < 5
