"""Signal and noise around a peak: of means, and of scenes whose detail is long along an axis."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.ncc import CachedMask, make_masked_image
from steadystack.peak.surroundings import PeakSurroundings, split_noise
from steadystack.register import Search, compute_block_terms, register_terms
from support.members import slow_but
from support.scenes import Scene


@pytest.mark.parametrize("averaged", [1.0, 2.0, 30.0, 1e6])
def test_the_noise_of_a_mean_follows_from_the_peak(averaged):
    scene, noise = 1.0, 3.0
    s1, s2 = scene / (scene + noise / averaged), scene / (scene + noise)
    single, both = split_noise(np.sqrt(s1 * s2), averaged)
    cross = np.sqrt(s1 * s2)  # 2 S N: the scene of each image meets the noise of the other
    assert 2 * cross * single == pytest.approx(s1 * (1 - s2) + s2 * (1 - s1))
    assert both**2 == pytest.approx((1 - s1) * (1 - s2))


def measure(pair):
    """The shift of a pair as of one in a series, and its deviations."""
    search = Search.make(pair[0].shape, pair[1].shape, [10] * pair[0].ndim)
    mask = CachedMask(np.ones(pair[0].shape, bool))
    images = (make_masked_image(image, mask) for image in pair)
    found = register_terms(compute_block_terms(*images, search, 0), search)
    return found.shift, np.sqrt(np.diag(found.covariance))


def find_rms(values):
    return float(np.sqrt(np.mean(values**2)))


def make_long_pairs(axis, shape, count):
    """Pairs of scenes whose detail is four times as long along an axis, and their shifts."""
    for seed in range(count):
        rng, scene = np.random.default_rng(seed), Scene(seed, ndim=len(shape), detail=2.5)
        scene.wave[:, axis] /= 4
        move = rng.uniform(-3, 3, len(shape))
        views = [scene.view(shape, at) + rng.normal(size=shape) for at in (0 * move, move)]
        yield views, move


@pytest.mark.parametrize(
    ("axis", "shape"), slow_but([(0, (96, 96))], [(0, (96, 96)), (0, (12, 32, 32))])
)
def test_long_detail_is_distinguished_from_noise_by_rings_that_are_as_long(
    monkeypatch, axis, shape
):
    def find_off():
        measured = [(*measure(pair), move) for pair, move in make_long_pairs(axis, shape, 40)]
        kept = [(shift - move, std) for shift, std, move in measured if np.isfinite(std).all()]
        assert len(kept) > 30
        return [np.array(each)[:, axis] for each in zip(*kept, strict=True)]

    off, stated = find_off()
    with monkeypatch.context() as patched:
        patched.setattr(
            PeakSurroundings, "find_stretched_axes", lambda self, *_: [None] * len(self.count)
        )
        alike, stated_alike = find_off()
    assert find_rms(off) < 0.9 * find_rms(alike)
    assert 0.7 < find_rms(off / stated) < max(1.3, 1.1 * find_rms(alike / stated_alike))


def test_axes_may_be_exchanged():
    for pair, _ in make_long_pairs(0, (64, 80), 6):
        shift, std = measure(pair)
        other, other_std = measure([image.T for image in pair])
        np.testing.assert_allclose(other, shift[::-1], atol=1e-4)
        np.testing.assert_allclose(other_std, std[::-1], rtol=1e-3)
