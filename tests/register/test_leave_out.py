"""The jackknife of a pair: against measuring it anew under masks that leave a part out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.ncc import tiles
from steadystack.register import leave_out
from steadystack.register.leave_out import PairImages, compute_spread, measure_spread
from steadystack.register.plain_pair import PlainPair
from steadystack.register.search import Search, register_terms
from support.scenes import Scene, ellipse


def make_pair(seed, shape, noise=0.3, mask=None):
    rng, scene = np.random.default_rng(seed), Scene(seed, ndim=len(shape), detail=2.0)
    shift = rng.uniform(-3, 3, len(shape))
    images = [
        scene.view(shape, at) + noise * rng.normal(size=shape)
        for at in (np.zeros(len(shape)), shift)
    ]
    pair = PlainPair.make(*images, mask, mask, 8, None)
    return pair, PairImages(pair, Search.make(shape, shape, (8,) * len(shape))), shift


@pytest.mark.parametrize("shape", [(96, 96), (90, 120), (400,), (30, 48, 48)])
def test_it_is_that_of_masks_without_a_part(shape):
    pair, images, _ = make_pair(3, shape)
    registration = register_terms(images.compute_terms(), images.search)
    found = measure_spread(registration, images).of_parts
    edges = [np.linspace(0, size, 4).round().astype(int) for size in shape]
    shifts = []
    for part in itertools.product(range(3), repeat=len(shape)):
        rest = np.ones(shape, bool)
        rest[tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, part, strict=True))] = False
        without = PlainPair.make(pair.reference, pair.moving, rest, None, 8, None)
        others = PairImages(without, images.search)
        shifts.append(register_terms(others.compute_terms(), images.search).shift)
    count = len(shifts)
    if count < leave_out.FEWEST_PARTS:
        assert np.isnan(found).all()
        return
    expected = np.sqrt((count - 1) * np.var(shifts, axis=0))
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_error_of_many_pairs_is_what_it_says():
    errors, found = [], []
    for seed in range(60):
        mask = ellipse((96, 96)) if seed % 2 else None
        _, images, shift = make_pair(seed, (96, 96), 0.5, mask)
        registration = register_terms(images.compute_terms(), images.search)
        errors.append(registration.shift - shift)
        found.append(measure_spread(registration, images).of_parts)
    assert 0.75 < np.sqrt(np.mean(np.square(np.array(errors) / found))) < 1.35


def test_an_object_that_goes_its_own_way_is_in_the_error():
    one, images, _ = make_pair(5, (96, 96), 0.1)
    other = one.moving.copy()
    other[10:35, 10:35] = np.roll(one.reference, (2, -2), (0, 1))[10:35, 10:35]
    found = steadystack.register_translation(one.reference, other, max_shift=8)
    stated = register_terms(images.compute_terms(), images.search).covariance
    assert np.diag(found.covariance).max() > 4 * np.diag(stated).max()


def test_images_in_blocks_have_the_same_parts(monkeypatch):
    mask = ellipse((120, 120))
    pair, images, _ = make_pair(7, (120, 120), mask=mask)
    registration = register_terms(images.compute_terms(), images.search)
    whole = measure_spread(registration, images).of_parts
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 2500)
    cut = PairImages(pair, Search.make((120, 120), (120, 120), (8, 8)))
    assert len(cut.search.blocks) > 1
    again = register_terms(cut.compute_terms(), cut.search)
    found = measure_spread(
        again, cut
    ).of_parts  # of other parts: those of the frame, not of the mask
    assert (found < 3 * whole).all()
    assert (found > whole / 3).all()


def test_too_few_parts_say_nothing():
    _, images, _ = make_pair(1, (14, 14), 0.01)
    registration = register_terms(images.compute_terms(), images.search)
    assert np.isnan(measure_spread(registration, images).of_parts).all()


def spread_of_means(values, stated):
    """The spread of the mean of values (3, 3, axes) that are what each part says."""
    flat = values.reshape(9, -1)

    def measure_without(groups):
        return np.array([np.delete(flat, sorted(group), axis=0).mean(axis=0) for group in groups])

    return compute_spread(list(np.ndindex(3, 3)), measure_without, np.asarray(stated))


def test_neighbours_that_err_alike_are_in_the_error():
    rng, errors, found = np.random.default_rng(0), [], []
    for _ in range(300):  # displacements that are alike over a part and its neighbours
        air = ndimage.gaussian_filter(rng.normal(size=(9, 9, 2)), (1, 1, 0))[3:6, 3:6]
        errors.append(air.mean(axis=(0, 1)))
        found.append(spread_of_means(air, (0.01, 0.01)))
    errors = np.array(errors)
    of_parts, of_bands = np.moveaxis(np.array(found), 1, 0)
    typical = [np.median(np.abs(errors) / each) / 0.674 for each in (of_parts, of_bands)]
    assert typical[0] > 2
    assert typical[1] < 0.7 * typical[0]
    assert (of_bands >= of_parts).all()


def test_bands_are_asked_only_where_parts_disagree_by_more_than_noise():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3, 3, 2)) + np.arange(3)[:, None, None] * np.array([1, 0])
    of_parts, of_bands = spread_of_means(values, (2.0, 2.0))
    np.testing.assert_array_equal(of_bands, of_parts)
    expected = values.reshape(9, 2).std(axis=0, ddof=1) / 3
    np.testing.assert_allclose(of_parts, expected)
    _, of_bands = spread_of_means(values, (0.1, 0.1))
    assert of_bands[0] > 1.2 * of_parts[0]
    assert spread_of_means(values, (0.1, 0.0)).of_bands[1] == of_parts[1]  # not measured
