"""Generators of linear motions, beside matrices written out."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.motion.generators import (
    compute_linear_std,
    compute_turn_rates,
    count_turns,
    exponentiate,
    make_generators,
)
from steadystack.warp import compute_rotation, compute_rotation_vector
from support.turning import turn, turn_volume

SHAPE, VOLUME, VOXEL = (60, 90), (10, 30, 40), (3.0, 1.0, 0.5)


@pytest.mark.parametrize("pixel_size", [None, VOXEL])
@pytest.mark.parametrize("shape", [SHAPE, VOLUME])
def test_a_coefficient_is_the_root_mean_square_motion_of_the_pixels(shape, pixel_size):
    size = None if pixel_size is None else pixel_size[-len(shape) :]
    middle = (np.array(shape) - 1) / 2
    places = np.indices(shape).reshape(len(shape), -1) - middle[:, None]
    made = make_generators("affine", shape, size)
    assert len(made) == len(shape) ** 2
    for generator in made:
        moved = generator @ places
        assert np.sqrt((moved**2).sum(axis=0).mean()) == pytest.approx(1)
    flat = made.reshape(len(made), -1)
    assert np.linalg.matrix_rank(flat) == len(made)  # together they make any matrix


@pytest.mark.parametrize("pixel_size", [None, VOXEL])
def test_turns_of_volumes_are_about_the_axes_that_they_are_said_to_be(pixel_size):
    made = make_generators("similarity", VOLUME, pixel_size)
    degrees = np.array([1.0, -2.0, 0.5])
    for axis, rate in enumerate(compute_turn_rates(made)):
        coefficients = np.zeros(4)
        coefficients[axis] = degrees[axis] / rate
        vector = np.eye(3)[axis] * degrees[axis]
        truth = turn_volume(vector, pixel_size=pixel_size or (1, 1, 1))
        np.testing.assert_allclose(exponentiate(coefficients, made), truth, atol=1e-12)
    magnified = exponentiate([0, 0, 0, np.log(1.1) / made[count_turns(3), 0, 0]], made)
    np.testing.assert_allclose(magnified, 1.1 * np.eye(3), atol=1e-12)


def test_sizes_that_are_alike_change_nothing():
    alike = make_generators("affine", VOLUME)
    np.testing.assert_array_equal(make_generators("affine", VOLUME, (0.2, 0.2, 0.2)), alike)


@pytest.mark.parametrize("shape", [SHAPE, VOLUME])
def test_only_turns_turn_in_lengths(shape):
    """What is stated of a turn is the error of its own coefficients."""
    voxel = VOXEL[-len(shape) :]
    derive = compute_rotation if len(shape) == 2 else compute_rotation_vector
    for generator in make_generators("affine", shape, voxel)[count_turns(len(shape)) :]:
        small = exponentiate([0.05], generator[None])
        np.testing.assert_allclose(derive(small, voxel), 0, atol=1e-9)


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
