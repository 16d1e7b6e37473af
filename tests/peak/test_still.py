"""Crests of what stands still: their height, and what they must not be taken for."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import steadystack
from steadystack.model import PairStatus
from steadystack.peak.still import find_fixed_patterns, remove_fixed_patterns
from support.members import slow_but
from support.scenes import Scene
from support.surfaces import bump, surface

AXES = {"pixels": (0, 1), "columns": (1,), "rows": (0,)}


def make_fixed(kind, rng, size):
    shape = {"pixels": (size, size), "columns": (1, size), "rows": (size, 1)}[kind]
    return np.broadcast_to(rng.normal(size=shape), (size, size))


@pytest.mark.parametrize(
    ("strength", "kind"),
    slow_but([(0.6, "pixels"), (0.3, "columns"), (0.6, "rows")], product([0.3, 0.6], AXES)),
)
def test_the_share_is_that_of_the_variance(kind, strength):
    rng = np.random.default_rng(1)
    for seed in range(6):
        scene, fixed = Scene(seed, detail=2.5), strength * make_fixed(kind, rng, 160)
        images = [
            scene.view((160, 160), at) + fixed + 0.2 * rng.normal(size=(160, 160))
            for at in ((0, 0), (5.3, -6.2))
        ]
        found = steadystack.register_translation(*images, max_shift=16)
        variance = float(np.var(fixed))
        expected = variance / (1 + variance + 0.2**2)
        assert found.fixed_pattern_share == pytest.approx(expected, rel=0.35)


AT = ((0.0, 0.0), (0.4, -0.3), (2.0, 0.0), (7.3, 4.1))


@pytest.mark.parametrize(
    ("at", "detail"),
    slow_but(
        [(AT[0], 1.0), (AT[0], 6.0), (AT[1], 2.0), (AT[2], 6.0), (AT[3], 1.0)],
        product(AT, [1.0, 2.0, 6.0]),
    ),
)
def test_a_scene_alone_makes_none(detail, at):
    """Also one that does not move, and is sharp."""
    rng = np.random.default_rng(2)
    for seed in range(5):
        scene = Scene(seed, detail=detail)
        images = [
            scene.view((128, 128), where) + 0.2 * rng.normal(size=(128, 128))
            for where in ((0, 0), at)
        ]
        found = steadystack.register_translation(*images, max_shift=16)
        assert found.status == PairStatus.OK
        assert not found.fixed_pattern_share > 0
        np.testing.assert_allclose(found.shift, at, atol=0.25)


def test_white_noise_that_is_the_same_is_a_scene_that_stands_still():
    rng = np.random.default_rng(3)
    scene = rng.normal(size=(96, 96))
    found = steadystack.register_translation(
        *(scene + 0.3 * rng.normal(size=(96, 96)) for _ in range(2)), max_shift=16
    )
    assert found.status == PairStatus.OK
    np.testing.assert_allclose(found.shift, 0, atol=0.05)
    assert np.isnan(found.fixed_pattern_share)


@pytest.mark.parametrize("axes", AXES.values())
def test_a_crest_is_found_and_removed(axes):
    clean = surface(bump((6, -7)))
    ncc = clean.ncc.copy()
    ncc[tuple(20 if axis in axes else slice(None) for axis in range(2))] += 0.07
    rough = 0.001 * np.random.default_rng(0).normal(size=ncc.shape)
    marred = surface(ncc + rough)
    (found,) = (p for p in find_fixed_patterns(marred, (26, 13)) if p.axes == axes)
    assert found.share == pytest.approx(0.07, abs=0.005)
    assert found.apart
    left = remove_fixed_patterns(marred, [found])
    np.testing.assert_allclose(left.ncc, clean.ncc, atol=0.01)
