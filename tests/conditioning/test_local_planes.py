"""Local planes: the quick way in boxes and the general one against each other and against fits."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.conditioning import local_planes
from steadystack.conditioning.local_planes import (
    MOST_ONE_SIDED,
    compute_filter_radius,
    find_even_surroundings,
    fit_planes,
)

CASES = [
    ((512, 130), 10.0),
    ((96, 150), 4.0),
    ((61, 90), 1.0),
    ((64, 20), 30.0),  # reaches over the frame
    ((1, 40), 5.0),
    ((300,), 6.0),
    ((4, 50, 70), 4.5),
    ((3, 30, 41), 0.7),
]


def make_sums(size: int, sigma: float) -> np.ndarray:
    """What a sum along an axis takes of each pixel, as a matrix: three boxes, or a Gaussian."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    if sigma >= local_planes.SMALLEST_BOX_SIGMA:
        width = local_planes._choose_box_width(sigma)
        return np.linalg.matrix_power((distance <= width // 2) / width, 3)
    return np.exp(-(distance**2) / (2 * sigma**2)) * (distance <= compute_filter_radius(sigma))


@pytest.mark.parametrize(("shape", "sigma"), CASES)
def test_boxes_are_fitted_as_other_masks_are(shape, sigma):
    """The whole frame, and one with an invalid border, against the way that takes any mask."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=shape) + 5 * np.indices(shape)[-1] / shape[-1]
    inner = np.zeros(shape, bool)
    inner[tuple(slice(0, 1) if size < 9 else slice(3, size - 5) for size in shape)] = True
    for valid in (np.ones(shape, bool), inner):
        under = np.where(valid, values, 0)
        expected = local_planes._fit_everywhere(under, valid, sigma)
        found = fit_planes(under, valid, sigma)
        np.testing.assert_allclose(found, expected, atol=1e-9 * values.std())
        assert not found[~valid].any()
        around = local_planes._Neighbourhood.make(valid, sigma)
        off = np.sqrt(sum(along**2 for along in around.centre))
        even = find_even_surroundings(valid, sigma)
        np.testing.assert_array_equal(even, valid & (off < MOST_ONE_SIDED * sigma))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5, 3.9, 4.0, 5.0, 7.5, 10.0, 20.0, 50.0])
@pytest.mark.parametrize("shape", [(50, 64), (90, 33)])
def test_surroundings_of_boxes_are_even_where_those_of_other_masks_are(shape, sigma):
    valid = np.ones(shape, bool)
    around = local_planes._Neighbourhood.make(valid, sigma)
    off = np.sqrt(sum(along**2 for along in around.centre))
    expected = off < MOST_ONE_SIDED * sigma
    np.testing.assert_array_equal(find_even_surroundings(valid, sigma), expected)


@pytest.mark.parametrize("kind", ["whole", "border", "holes", "volume"])
@pytest.mark.parametrize("sigma", [1.5, 4.0])
def test_planes_are_those_of_least_squares(kind, sigma):
    """Against a fit at single pixels, with the weights of the sums along both axes."""
    rng = np.random.default_rng(2)
    shape = (2, 30, 34) if kind == "volume" else (30, 34)
    valid = np.ones(shape, bool)
    if kind == "border":
        valid[:4], valid[:, -3:] = False, False
    if kind == "holes":
        valid = rng.random(shape) > 0.3
    values = np.where(valid, rng.normal(size=shape), 0)
    found = fit_planes(values, valid, sigma)
    down, along = (make_sums(size, sigma) for size in shape[-2:])
    for place in np.argwhere(valid)[::23]:
        y, x = place[-2:]
        plane = tuple(place[:-2])
        near = np.argwhere(valid[plane])
        weight = np.sqrt(down[y, near[:, 0]] * along[x, near[:, 1]])
        basis = np.column_stack([np.ones(len(near)), near - (y, x)]) * weight[:, None]
        seen = values[plane][valid[plane]] * weight
        expected = np.linalg.lstsq(basis, seen, rcond=None)[0][0]
        assert found[tuple(place)] == pytest.approx(expected, abs=1e-4)
