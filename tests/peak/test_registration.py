"""From a surface to a shift: how far between the pixels, how sure, or why not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack import peak
from steadystack.model import PairStatus
from steadystack.peak import registration
from support.members import slow_but
from support.surfaces import bump, surface


def noisy_surface(width, height, count, rng):
    """Surfaces with the noise that two images of a scene make: spectrum (2 S N + N²) / count."""
    size = 64
    k = np.fft.fftfreq(size) * 2 * np.pi
    square = k[:, None] ** 2 + k**2
    signal = height * 2 * np.pi * width**2 * np.exp(-square * width**2 / 2)
    noise = 1 - height
    spectrum = np.sqrt((2 * signal * noise + noise**2) / count)

    def make():
        white = np.fft.fft2(rng.normal(size=(size, size)))
        rough_part = np.fft.ifft2(white * spectrum).real[:41, :41]
        return surface(bump((0.2, 0.1), height=height, width=width) + rough_part, count)

    return make


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.45), (-0.5, 0.5), (0.125, 0.25)])
@pytest.mark.parametrize("width", [1.2, 2.5, 6.0])
def test_the_summit_of_a_smooth_surface(offset, width):
    found = peak.register(surface(bump(offset, width=width)))
    assert found.status == PairStatus.OK
    # the widest is as wide as the patch that is looked at; its stated deviation is 0.2 px
    np.testing.assert_allclose(found.shift, offset, atol=0.03 if width > 5 else 3e-3)


def test_the_covariance_is_that_of_the_curvature():
    """Knapp & Carter's bound, worked out for a Gaussian autocorrelation in white noise."""
    width, height, count = 3.0, 0.8, 5000.0
    found = noisy_surface(width, height, count, np.random.default_rng(0))
    k = np.fft.fftfreq(256) * 2 * np.pi
    square = k[:, None] ** 2 + k**2
    signal = height * 2 * np.pi * width**2 * np.exp(-square * width**2 / 2)
    noise = 1 - height
    information = (k**2 * signal**2 / (2 * signal * noise + noise**2)).mean() * count
    stated = [peak.register(found(), subpixel=True) for _ in range(20)]
    assert {one.status for one in stated} == {PairStatus.OK}
    covariance = np.mean([one.covariance for one in stated], axis=0)
    np.testing.assert_allclose(
        covariance, np.eye(2) / information, rtol=0.25, atol=0.2 / information
    )
    errors = np.array([one.shift - (0.2, 0.1) for one in stated])
    assert np.sqrt((errors**2).mean() * information) < 1.4


def test_three_dimensions():
    found = peak.register(surface(bump((1.3, -0.4, 0.7), (15, 17, 19), width=2)))
    np.testing.assert_allclose(found.shift, (1.3, -0.4, 0.7), atol=3e-3)
    assert found.covariance.shape == (3, 3)


def test_an_axis_with_one_lag_is_not_searched_and_has_no_edge():
    found = peak.register(surface(bump((0, 1.25), (1, 41), width=2)))
    assert found.status == PairStatus.OK
    np.testing.assert_allclose(found.shift, (0, 1.25), atol=3e-3)
    assert found.covariance[0, 0] == 0


@pytest.mark.parametrize("lag", [(20, 0), (0, -20), (20, 20)])
def test_a_maximum_on_the_edge_is_no_shift(lag):
    found = peak.register(surface(bump(lag)))
    assert found.status == PairStatus.AT_SEARCH_LIMIT
    assert np.isnan(found.shift).all()
    assert np.isfinite(found.ncc)


def test_two_equal_maxima_are_ambiguous():
    found = peak.register(surface(np.maximum(bump((0, 8)), bump((0, -8)))))
    assert found.status == PairStatus.AMBIGUOUS
    assert found.second_peak_ratio == pytest.approx(1)


def test_a_lower_second_maximum_is_the_runner_up():
    found = peak.register(surface(np.maximum(bump((5, 8)), bump((0, -8), height=0.5))))
    assert found.status == PairStatus.OK
    assert found.second_peak_ratio == pytest.approx(np.arctanh(0.5) / np.arctanh(0.9), rel=1e-3)


def test_nothing_known_and_nothing_positive():
    assert peak.register(surface(np.full((5, 5), np.nan))).status == PairStatus.LOW_OVERLAP
    assert peak.register(surface(np.full((5, 5), -0.3))).status == PairStatus.LOW_NCC


def test_either_contrast_looks_for_rivals_of_both_signs():
    found = surface(bump((0, 9)) - bump((0, -9), height=0.899))
    assert peak.register(found).status == PairStatus.OK
    asked = peak.register(found, allow_inverted=True)
    assert asked.status == PairStatus.AMBIGUOUS
    assert asked.second_peak_ratio > 0.9


def assorted_surfaces(rng):
    """Of one, two and three axes, clear and lost in noise, whole and with unknown lags."""
    shapes = [(41,), (41, 43), (1, 41), (15, 17, 19)]
    found = []
    for row in range(60):
        shape = shapes[row % 4] if row % 3 else shapes[1]
        noise = rng.choice([0.003, 0.05, 0.3]) * rng.normal(size=shape)
        centre = [rng.uniform(-4, 4) if size > 1 else 0 for size in shape]
        height, width = rng.choice([-0.9, 0.6, 0.9]), rng.uniform(1, 4)
        one = surface(np.clip(bump(centre, shape, height, width) + noise, -1, 1), 3000.0)
        if row % 5 == 0:
            one.ncc[tuple(rng.integers(0, size, 30) for size in shape)] = np.nan
        if row % 2:
            variances = rng.uniform(0.8, 1.2, (2, *shape))
            one = replace(one, variances=tuple(variances), averaged=1.0 + 3 * (row % 4 == 1))
        found.append(one)
    return found


def bits(found):
    numbers = found.ncc, found.second_peak_ratio, found.overlap
    return found.shift.tobytes(), found.covariance.tobytes(), np.array(numbers).tobytes()


@pytest.mark.parametrize("together", slow_but([7], [2, 3, 7, 16, 60]))
def test_what_is_found_does_not_depend_on_what_it_is_found_with(monkeypatch, together):
    """To the last bit: measured rows are what a resumed run goes on from."""
    rng = np.random.default_rng(2)
    surfaces = assorted_surfaces(rng)
    alone = [peak.register(one) for one in surfaces]
    assert len({one.status for one in alone}) >= 4
    monkeypatch.setattr(registration, "HELD_SURFACES", together)
    for _ in range(3):
        order = rng.permutation(len(surfaces))
        found = peak.register_each(surfaces[row] for row in order)
        for row, one in zip(order, found, strict=True):
            assert one.status is alone[row].status
            assert bits(one) == bits(alone[row])


def test_large_surfaces_are_not_held_together(monkeypatch):
    monkeypatch.setattr(registration, "HELD_LAGS", 2 * 41 * 41)
    taken = []

    def one_by_one():
        for row in range(4):
            taken.append(row)
            yield surface(bump((row, 1)))

    found = peak.register_each(one_by_one())
    assert next(found).shift[0] == pytest.approx(0, abs=0.01)
    assert taken == [0, 1]
    assert [round(one.shift[0]) for one in found] == [1, 2, 3]
