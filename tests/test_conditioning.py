"""What is valid, and conditioning that does not let invalid pixels through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack import conditioning as preprocess
from steadystack.conditioning import (
    Conditioning,
    condition,
    high_pass,
    looks_inverted,
    masked_median,
    usable_pixels,
    valid_pixels,
)
from support.masked import frames_behind
from support.scenes import ellipse, rough


def test_saturation_of_what_is_read():
    image = np.array([1.0, 4095, 4096, np.nan])
    valid = usable_pixels(image, np.ones(4, bool), Conditioning(saturation=4095))
    assert valid.tolist() == [True, False, False, False]


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


IMAGE = np.array([[0.0, 1.0, 2.0, 3.0], [4.0, np.nan, np.inf, 7.0], [8.0, 9.0, 10.0, 11.0]])


@pytest.mark.parametrize(
    ("options", "invalid"),
    [
        ({}, [5, 6]),
        ({"invalid_values": [0, 9]}, [0, 5, 6, 9]),
        ({"valid_range": (2, 9)}, [0, 1, 5, 6, 10, 11]),
        ({"valid_range": (None, 9)}, [5, 6, 10, 11]),
        ({"valid_range": (2, None)}, [0, 1, 5, 6]),
        ({"border": (1, 0)}, [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]),
        ({"border": (0, 1)}, [0, 3, 4, 5, 6, 7, 8, 11]),
    ],
)
def test_causes_join(options, invalid):
    found = valid_pixels(IMAGE, **options)
    assert np.flatnonzero(~found).tolist() == invalid


def test_integers_compare_as_they_are():
    image = np.array([[0, 65535, 7]], np.uint16)
    assert valid_pixels(image, invalid_values=[65535, -1, 7.5]).tolist() == [[True, False, True]]


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
        np.testing.assert_array_equal(usable, valid)
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-9, atol=1e-9)


def test_the_high_pass_is_close_to_that_of_a_gaussian():
    image = rough(4, (200, 200), 2)
    found = high_pass(image, np.ones(image.shape, bool), 8)
    expected = image - ndimage.gaussian_filter(image, 8)
    inside = (slice(40, -40),) * 2
    assert (found - expected)[inside].std() < 0.06 * expected.std()


def test_the_high_pass_takes_a_slope_away_up_to_the_masked_edge():
    slope = np.add.outer(np.arange(60.0), 3 * np.arange(70.0))
    detail = rough(5, (60, 70), 1)
    detail /= detail.std()
    mask = ellipse((60, 70))
    found = high_pass(slope + detail, mask, 5)
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
    found = masked_median(frames, valid)
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
        monkeypatch.setattr(preprocess, "MEDIAN_STRIP", values)
        found = masked_median(list(frames), list(valid))
        np.testing.assert_array_equal(found.ravel(), expected)
