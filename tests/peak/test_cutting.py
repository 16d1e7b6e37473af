"""Patches of surfaces that end near their peak: images of few pixels along an axis."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.model import PairStatus
from steadystack.peak.cutting import _extend
from steadystack.register import PlainPair, register_each_as_it_is, register_translation
from support.members import slow_but
from support.scenes import Scene

PAIRS = 16


def register_views(shape, detail, stretch=1.0, pairs=PAIRS):
    """Errors and stated deviations (pairs, axes) of views of scenes, in noise of 0.3.

    Their detail is `stretch` times as long along the first axis.
    """
    rng, asked, truth = np.random.default_rng(sum(shape)), [], []
    for number in range(pairs):
        scene = Scene(1000 + number, len(shape), detail)
        scene.wave[:, 0] /= stretch
        at = np.clip(rng.normal(size=len(shape)), -1.5, 1.5) * np.minimum(1, np.array(shape) / 8)
        images = [scene.view(shape, p) + rng.normal(0, 0.3, shape) for p in (0 * at, at)]
        reach = [min(10, size - 1) for size in shape]
        asked.append(PlainPair.make(*images, None, None, reach, None))
        truth.append(at)
    found = list(register_each_as_it_is(asked))
    assert all(registration.status is PairStatus.OK for registration in found)
    std = [np.sqrt(np.diag(registration.covariance)) for registration in found]
    return np.array([r.shift for r in found]) - truth, np.array(std)


@pytest.mark.parametrize(
    ("shape", "detail", "stretch", "error"),
    slow_but(
        [((5, 64, 64), 2.0, 4.0, 0.1), ((8, 200), 4.0, 1.0, 0.15)],
        [
            ((4, 96, 96), 2.0, 4.0, 0.1),
            ((5, 64, 64), 2.0, 4.0, 0.1),
            ((8, 64, 64), 2.0, 4.0, 0.05),
            ((5, 64, 64), 2.0, 1.0, 0.05),
            ((6, 200), 2.0, 1.0, 0.1),
            ((8, 200), 4.0, 1.0, 0.15),
            ((200, 6), 3.0, 1.0, 0.1),
        ],
    ),
)
def test_few_pixels_along_an_axis_do_not_pull_the_peak(shape, detail, stretch, error):
    off, std = register_views(shape, detail, stretch)
    assert np.sqrt((off**2).mean()) < error
    assert np.sqrt(((off / std) ** 2).mean(axis=0)).max() < 2


@pytest.mark.parametrize("planes", slow_but([3], [2, 3]))
def test_along_two_or_three_pixels_little_is_known_and_that_is_stated(planes):
    off, std = register_views((planes, 96, 96), 2.0, 2.0, pairs=8)
    assert std[:, 0].min() >= 1
    assert np.sqrt(((off / std) ** 2).mean(axis=0)).max() < 1.5


@pytest.mark.parametrize("planes", slow_but([5], [4, 5, 8]))
def test_planes_that_are_all_alike_have_no_shift_across_them(planes):
    asked = []
    for seed in range(12):
        rng, scene = np.random.default_rng(seed), Scene(seed)
        at = rng.uniform(-4, 4, 2)
        images = [
            scene.view((64, 64), p) + rng.normal(0, 0.3, (planes, 64, 64)) for p in (0 * at, at)
        ]
        asked.append(PlainPair.make(*images, None, None, [min(8, planes - 1), 8, 8], None))
    assert all(found.status is not PairStatus.OK for found in register_each_as_it_is(asked))
    one = asked[0]
    found = register_translation(one.reference, one.moving, max_shift=one.max_shift)
    assert found.status is PairStatus.AMBIGUOUS


def test_a_parabola_goes_on_falling_at_either_end():
    lags = np.arange(-7.0, 8)
    values = np.repeat((-((lags - 0.3) ** 2))[:, None], 2, axis=1)
    known = values.copy()
    known[:3], known[12:] = np.nan, np.nan
    _extend(known, lowest=-1000.0)
    np.testing.assert_array_equal(known[3:12], values[3:12])
    assert (np.diff(known[:8], axis=0) > 0).all()
    assert (np.diff(known[8:], axis=0) < 0).all()
    np.testing.assert_allclose(known[12:], 2 * values[11] - values[10:7:-1])
    known[:3], known[12:] = np.nan, np.nan
    _extend(known, lowest=-20.0)
    assert known.min() == -20.0
