"""Generators of linear motions, beside matrices written out."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.motion.generators import compute_linear_std, exponentiate, make_generators
from support.turning import turn

SHAPE = (60, 90)


def test_a_coefficient_is_the_root_mean_square_motion_of_the_pixels():
    places = np.indices(SHAPE).reshape(2, -1) - (np.array(SHAPE)[:, None] - 1) / 2
    for generator in make_generators("affine", SHAPE):
        moved = generator @ places
        assert np.sqrt((moved**2).sum(axis=0).mean()) == pytest.approx(1, rel=0.15)


def test_turns_and_scales_are_what_they_are_called():
    radius = np.sqrt((60**2 - 1) / 12 + (90**2 - 1) / 12)
    coefficients = radius * np.array([np.radians(3.0), np.log(1.02)])
    found = exponentiate(coefficients, make_generators("similarity", SHAPE))
    np.testing.assert_allclose(found, turn(3.0, 1.02), atol=1e-12)


def test_a_rigid_motion_keeps_lengths_however_far_it_turns():
    linear = exponentiate(np.array([[500.0], [-40.0]]), make_generators("rigid", SHAPE))
    np.testing.assert_allclose(
        linear @ linear.swapaxes(1, 2), np.tile(np.eye(2), (2, 1, 1)), atol=1e-12
    )


def test_deviations_are_those_of_many_tries():
    rng, generators = np.random.default_rng(2), make_generators("affine", SHAPE)
    std, linear = np.array([0.1, 0.05, 0.2, 0.02]), turn(20.0, 1.1)
    tries = exponentiate(rng.normal(size=(4000, 4)) * std, generators) @ linear
    found = compute_linear_std(linear[None], std[None], generators)[0]
    np.testing.assert_allclose(found, tries.std(axis=0), rtol=0.06)
