"""Conditioning that does not let invalid pixels through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.conditioning import (
    Conditioning,
    apply_high_pass,
    apply_low_pass,
    compute_masked_median,
    condition,
    find_even_surroundings,
    find_shared_outliers,
    looks_inverted,
    narrow,
    preparation,
    subtract_line_means,
)
from support.masked import frames_behind
from support.members import slow_but
from support.scenes import Scene, ellipse, rough


@pytest.mark.parametrize("kind", ["constant", "saturated", "dark"])
@pytest.mark.parametrize("seed", range(3))
def test_a_mask_that_is_inverted_looks_so(kind, seed):
    image, inside = frames_behind(kind, seed)
    assert looks_inverted(image, ~inside)
    assert not looks_inverted(image, inside)
    assert not looks_inverted(image, np.ones(image.shape, bool))


@pytest.mark.parametrize("seed", range(3))
def test_proper_masks_do_not_look_inverted(seed):
    rng = np.random.default_rng(seed)
    scene = 100 + 20 * rough(seed, (96, 96), 2)
    hot = rng.random(scene.shape) < 0.1  # taken away: wild, but no scene
    assert not looks_inverted(np.where(hot, rng.uniform(0, 4000, scene.shape), scene), ~hot)
    debris = ellipse(scene.shape, 0.4)  # taken away: a scene of more contrast
    assert not looks_inverted(np.where(debris, scene * 10, scene), ~debris)
    assert not looks_inverted(rng.normal(0, 1, scene.shape), ellipse(scene.shape, 0.5))
    nothing = np.full(scene.shape, np.nan)
    assert not looks_inverted(nothing, ellipse(scene.shape, 0.5))


def test_nothing_is_changed_by_default():
    image, valid = rough(1, (8, 8)), ellipse((8, 8))
    image.setflags(write=False)
    valid.setflags(write=False)
    conditioned, usable = condition(image, valid, Conditioning())
    np.testing.assert_array_equal(conditioned, image)
    np.testing.assert_array_equal(usable, valid)


@pytest.mark.parametrize("how", [Conditioning(high_pass=4.0), Conditioning(logarithm=True)])
def test_invalid_pixels_reach_no_valid_one(how):
    image, valid = 5 + rough(2, (40, 40)), np.random.default_rng(0).random((40, 40)) < 0.7
    flat = 1 + 0.1 * rough(3, (40, 40))
    results = []
    for garbage in (0.0, 1e9, np.nan, -np.inf):
        spoiled, usable = condition(np.where(valid, image, garbage), valid, how, flat)
        results.append(spoiled[valid])
        np.testing.assert_array_equal(usable, narrow(valid, how))
        assert not (usable & ~valid).any()
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-9, atol=1e-9)


def test_the_high_pass_is_close_to_that_of_a_gaussian():
    image = rough(4, (200, 200), 2)
    found = apply_high_pass(image, np.ones(image.shape, bool), 8)
    expected = image - ndimage.gaussian_filter(image, 8)
    inside = (slice(40, -40),) * 2
    assert (found - expected)[inside].std() < 0.06 * expected.std()


def test_the_high_pass_takes_a_slope_away_up_to_the_masked_edge():
    slope = np.add.outer(np.arange(60.0), 3 * np.arange(70.0))
    detail = rough(5, (60, 70), 1)
    detail /= detail.std()
    mask = ellipse((60, 70))
    found = apply_high_pass(slope + detail, mask, 5)
    inside = ndimage.binary_erosion(mask, iterations=16)
    assert np.corrcoef(found[inside], detail[inside])[0, 1] > 0.97
    assert np.abs(found[mask]).max() < 60  # the slope itself spans 270


def test_the_logarithm_takes_positive_pixels_only():
    image = np.array([[-1.0, 0.0, 1.0, np.e]])
    found, valid = condition(image, np.ones((1, 4), bool), Conditioning(logarithm=True))
    assert valid.tolist() == [[False, False, True, True]]
    np.testing.assert_allclose(found[valid], [0, 1])


def test_a_flat_field_that_is_not_positive_is_not_valid():
    flat = np.array([[2.0, 0.0, -1.0, np.nan]])
    found, valid = condition(np.full((1, 4), 6.0), np.ones((1, 4), bool), Conditioning(), flat)
    assert valid.tolist() == [[True, False, False, False]]
    assert found[0, 0] == 3


def test_the_masked_median_shows_what_stands_still():
    rng = np.random.default_rng(6)
    pattern = 10 + rough(7, (24, 24), 3)
    frames = pattern + rng.normal(0, 0.5, (51, 24, 24))
    valid = rng.random(frames.shape) < 0.6
    valid[:, 3, 4] = False
    frames[~valid] = 1e6
    found = compute_masked_median(frames, valid)
    assert np.isnan(found[3, 4])
    assert np.isfinite(np.delete(found.ravel(), 3 * 24 + 4)).all()
    assert np.nanmax(np.abs(found - pattern)) < 0.6


def test_the_masked_median_is_that_of_every_pixel_whatever_the_strips(monkeypatch):
    rng = np.random.default_rng(8)
    frames = rng.integers(0, 1000, (7, 5, 6, 11)).astype("u2")
    valid = rng.random(frames.shape) < 0.5
    valid[:, 1, 2, 3] = False
    expected = [
        np.median(values[good]) if good.any() else np.nan
        for values, good in zip(frames.reshape(7, -1).T, valid.reshape(7, -1).T, strict=True)
    ]
    for values in (1, 100, 10**6):
        monkeypatch.setattr(preparation, "MEDIAN_STRIP", values)
        found = compute_masked_median(list(frames), list(valid))
        np.testing.assert_array_equal(found.ravel(), expected)


@pytest.mark.parametrize("sigma", [2.0, 10.0])
@pytest.mark.parametrize("shape", [(60, 70), (9, 40, 50), (200,)])
def test_filters_leave_planes_alone(sigma, shape):
    """The high-pass takes them away, the low-pass lets them through, up to all edges."""
    slopes = np.arange(1, len(shape) + 1)
    plane = sum(slope * axis for slope, axis in zip(slopes, np.indices(shape), strict=True)) + 7.0
    for mask in (np.ones(shape, bool), ellipse(shape)):
        scale = np.ptp(plane)
        assert np.abs(apply_high_pass(plane, mask, sigma)[mask]).max() < 1e-4 * scale
        centred = plane - plane[mask].mean()
        np.testing.assert_allclose(
            apply_low_pass(plane, mask, sigma)[mask], centred[mask], atol=1e-4 * scale
        )


def test_a_local_plane_is_that_of_least_squares():
    """Against a fit at single pixels, with the weights of the Gaussian."""
    rng = np.random.default_rng(3)
    image, mask = rng.normal(size=(24, 20)), rng.random((24, 20)) > 0.3
    found = apply_low_pass(image, mask, 1.5)
    places = np.argwhere(mask)
    for y, x in places[::17]:
        weight = np.exp(-((places - (y, x)) ** 2).sum(axis=1) / (2 * 1.5**2))
        weight[(np.abs(places - (y, x)) > 6).any(axis=1)] = 0
        basis = np.column_stack([np.ones(len(places)), places - (y, x)]) * np.sqrt(weight)[:, None]
        values = (image[mask] - image[mask].mean()) * np.sqrt(weight)
        expected = np.linalg.lstsq(basis, values, rcond=None)[0][0]
        assert found[y, x] == pytest.approx(expected, abs=1e-4)


def test_the_square_root_takes_no_negative_pixels():
    image = np.array([[-1.0, 0.0, 4.0]])
    found, valid = condition(image, np.ones((1, 3), bool), Conditioning(square_root=True))
    assert valid.tolist() == [[False, True, True]]
    np.testing.assert_allclose(found[valid], [0, 2])


def test_lines_lose_their_means():
    rng = np.random.default_rng(5)
    scene, mask = rng.normal(size=(30, 40)), rng.random((30, 40)) > 0.2
    columns = rng.normal(size=(1, 40))
    once = subtract_line_means(scene, mask, 1)
    np.testing.assert_allclose(once, subtract_line_means(scene + 9 * columns, mask, 1), atol=1e-9)
    assert np.abs(np.where(mask, once, 0).sum(axis=0)).max() < 1e-9
    assert (once[~mask] == 0).all()


def test_outliers_are_shared_or_they_are_none():
    rng = np.random.default_rng(6)
    images = [rough(s, (64, 64), 2) + 0.02 * rng.normal(size=(64, 64)) for s in (1, 2)]
    everything = np.ones((64, 64), bool)
    assert not find_shared_outliers([(image, everything) for image in images]).any()
    hot, once = ([tuple(rng.integers(2, 62, 2)) for _ in range(9)] for _ in range(2))
    for at in hot:
        for image in images:
            image[at] += 1
    for at in set(once) - set(hot):
        images[0][at] += 1
    found = find_shared_outliers([(image, everything) for image in images])
    assert {tuple(at) for at in np.argwhere(found)} == set(hot)


def test_surroundings_are_even_away_from_edges():
    mask = ellipse((80, 80))
    dead = mask.copy()
    dead[40, 40] = False  # makes no edge
    found = find_even_surroundings(dead, 4.0)
    assert not (found & ~dead).any()
    assert found[38:43, 38:43].sum() == 24
    assert not found[mask & ~ndimage.binary_erosion(mask, iterations=2)].any()
    assert found[dead & ndimage.binary_erosion(mask, iterations=8)].all()


def test_rims_go_and_leave_something_however_wide():
    mask = ellipse((80, 80))
    for how in (Conditioning(low_pass=2), Conditioning(high_pass=5)):
        left = narrow(mask, how)
        assert 0.5 * mask.sum() < left.sum() < mask.sum()
        assert not (left & ~mask).any()
    for sigma in (20, 60, 1000):
        assert narrow(mask, Conditioning(high_pass=sigma)).sum() > 0.1 * mask.sum()
    np.testing.assert_array_equal(narrow(mask, Conditioning(logarithm=True)), mask)


@pytest.mark.parametrize("high_pass", slow_but([3], [3, 10]))
def test_rims_hold_no_shift_back(high_pass):
    """Of large details a narrow high-pass leaves little, and most of it where it is one-sided."""
    errors, ratios = [], []
    for seed in range(4):
        rng, scene = np.random.default_rng(seed), Scene(seed, detail=10.0)
        shift = rng.uniform(2, 5, (6, 2)).cumsum(axis=0)
        frames = [scene.view((128, 128), at) + 0.02 * rng.normal(size=(128, 128)) for at in shift]
        found = steadystack.estimate_shifts(
            np.array(frames), max_shift=16, preprocess={"high_pass": high_pass}
        )
        error = found["frame_shift"].to_numpy() - (shift - shift[0])
        errors.append(error)
        ratios.append(error[1:] / found["frame_shift_std"].to_numpy()[1:])
    assert np.sqrt(np.mean(np.square(errors))) < 0.1
    assert np.sqrt(np.mean(np.square(ratios))) < 3
