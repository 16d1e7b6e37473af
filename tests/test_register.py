"""Whole pairs: classic examples, scikit-image's own cases, what it gets wrong in silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data, io
from skimage.registration import phase_cross_correlation

import steadystack
from helpers import ellipse, rough
from steadystack.example import corrupted_pair, windowed_pair
from steadystack.guide import embedded_scene
from steadystack.model import PairStatus


def test_gallery_one_mask_over_corrupted_pixels():
    reference, moving, mask = corrupted_pair(embedded_scene())
    found = steadystack.register_translation(
        reference, moving, reference_mask=mask, moving_mask=mask, subpixel=False
    )
    assert found.shift.tolist() == [22, -13]
    assert found.status == PairStatus.OK
    assert found.runner_up < 0.5


def test_gallery_two_different_windows():
    reference, moving, reference_mask, moving_mask = windowed_pair(embedded_scene())
    found = steadystack.register_translation(
        reference, moving, reference_mask=reference_mask, moving_mask=moving_mask
    )
    np.testing.assert_allclose(found.shift, (22, -13), atol=0.05)
    assert found.status == PairStatus.OK


@pytest.mark.parametrize(
    ("name", "shift"),
    [("X75Y75", (75, -75)), ("X-130Y130", (130, 130)), ("X130Y130", (130, -130))],
)
def test_images_of_the_paper_with_default_settings(real_data, name, shift):
    folder = real_data("padfield")
    reference = io.imread(folder / f"Original{name}.png")
    moving = io.imread(folder / f"Transformed{name}.png")
    found = steadystack.register_translation(
        reference, moving, reference_mask=reference != 0, moving_mask=moving != 0
    )
    assert found.status == PairStatus.OK
    np.testing.assert_allclose(found.shift, shift, atol=0.02)
    assert found.runner_up < 0.5


def test_moved_by_whole_pixels_in_fourier_space():
    reference = data.camera()
    moving = np.real(np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(reference), (-7, 12))))
    found = steadystack.register_translation(reference, moving, max_shift=32, subpixel=False)
    theirs, _, _ = phase_cross_correlation(reference, moving)
    np.testing.assert_array_equal(found.shift, theirs)


def test_random_masks():
    rng = np.random.default_rng(674032722)
    reference = data.camera()
    moving = np.real(np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(reference), (-7, 12))))
    masks = rng.random((2, *reference.shape)) < 0.75
    found = steadystack.register_translation(
        np.where(masks[0], reference, 0),
        np.where(masks[1], moving, 0),
        reference_mask=masks[0],
        moving_mask=masks[1],
        subpixel=False,
    )
    assert found.shift.tolist() == [7, -12]


def test_three_dimensions_with_a_box_as_mask():
    volume = rough(8, (10, 128, 128), 2)
    moving = ndimage.shift(volume, (1, -5, 10))
    mask = np.zeros(volume.shape, bool)
    mask[:-2, 65:95, 65:95] = True
    found = steadystack.register_translation(
        volume, moving, reference_mask=mask, moving_mask=mask, max_shift=(3, 12, 14), subpixel=False
    )
    assert found.shift.tolist() == [-1, 5, -10]


def test_images_of_different_size_count_from_their_first_pixels():
    rng = np.random.default_rng(133887294)
    reference = data.camera()
    moving = np.real(np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(reference), (-7, 12))))
    small = moving[64:-64, 64:-64]
    found = steadystack.register_translation(
        reference,
        small,
        reference_mask=rng.random(reference.shape) < 0.75,
        moving_mask=rng.random(small.shape) < 0.75,
        subpixel=False,
    )
    assert found.shift.tolist() == [64 + 7, 64 - 12]
    theirs, _, _ = phase_cross_correlation(
        reference,
        small,
        reference_mask=np.ones(reference.shape, bool),
        moving_mask=np.ones(small.shape, bool),
    )
    centres = (np.array(reference.shape) - np.array(small.shape)) / 2
    np.testing.assert_array_equal(found.shift, theirs + centres)


# What scikit-image answers with a wrong shift and without a word.


@pytest.fixture
def pair():
    big = rough(21, (100, 100), 1.5)
    return big[10:90, 10:90].copy(), big[6:86, 17:97].copy()


TRUE = [-4, 7]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_is_not_valid(pair, bad):
    reference, moving = pair
    reference[40, 40] = bad
    moving[10, 50] = bad
    found = steadystack.register_translation(reference, moving, subpixel=False)
    assert found.shift.tolist() == TRUE
    assert np.isfinite(found.ncc)


@pytest.mark.parametrize("which", ["reference", "moving"])
def test_a_mask_for_one_image_says_nothing_of_the_other(pair, which):
    images = dict(zip(("reference", "moving"), pair, strict=True))
    mask = np.random.default_rng(0).random((80, 80)) < 0.7
    images[which] = np.where(mask, images[which], 50.0)
    found = steadystack.register_translation(**images, **{f"{which}_mask": mask}, subpixel=False)
    assert found.shift.tolist() == TRUE


def test_a_mask_as_a_list(pair):
    mask = ellipse((80, 80))
    found = steadystack.register_translation(
        *pair, reference_mask=mask.tolist(), moving_mask=mask.astype(np.uint8), subpixel=False
    )
    assert found.shift.tolist() == TRUE


def test_a_mean_of_60000_with_a_deviation_of_50_in_single_precision(pair):
    images = [(60000 + 50 * image / pair[0].std()).astype(np.float32) for image in pair]
    found = steadystack.register_translation(*images, subpixel=False)
    assert found.shift.tolist() == TRUE
    exact = steadystack.register_translation(*pair)
    assert found.ncc == pytest.approx(exact.ncc, abs=1e-3)


@pytest.mark.parametrize(
    ("image", "status"),
    [
        (np.full((80, 80), 7.0), PairStatus.FLAT),
        (np.full((80, 80), 65535, np.uint16), PairStatus.FLAT),
        (np.full((80, 80), 0.1, np.float32), PairStatus.FLAT),
        (np.full((80, 80), np.nan), PairStatus.EMPTY),
    ],
)
def test_a_frame_without_contrast_or_pixels_has_no_shift(pair, image, status):
    for images in ((pair[0], image), (image, pair[1]), (image, image)):
        found = steadystack.register_translation(*images)
        assert found.status == status
        assert np.isnan(found.shift).all()
        assert np.isnan(found.ncc)


def test_an_empty_mask_has_no_shift(pair):
    found = steadystack.register_translation(*pair, reference_mask=np.zeros((80, 80), bool))
    assert found.status == PairStatus.EMPTY


def test_a_periodic_scene_is_ambiguous():
    x = np.arange(140)
    grating = np.add.outer(np.sin(2 * np.pi * x / 12), np.sin(2 * np.pi * x / 12))
    found = steadystack.register_translation(
        grating[20:120, 20:120], grating[17:117, 20:120], max_shift=30
    )
    assert found.status == PairStatus.AMBIGUOUS
    assert np.isnan(found.shift).all()


def test_inverted_contrast_is_named_and_measured_if_asked(pair):
    found = steadystack.register_translation(pair[0], 3 - 0.5 * pair[1], max_shift=12)
    assert found.status == PairStatus.INVERTED
    assert np.isnan(found.shift).all()
    assert found.ncc < -0.9
    asked = steadystack.register_translation(
        pair[0], 3 - 0.5 * pair[1], max_shift=12, contrast="either"
    )
    same = steadystack.register_translation(*pair, max_shift=12, contrast="either")
    np.testing.assert_allclose(asked.shift, TRUE, atol=0.01)
    np.testing.assert_allclose(asked.shift, same.shift, atol=1e-3)
    assert asked.ncc == pytest.approx(-same.ncc, abs=1e-4)


def test_a_shift_beyond_the_search_is_not_answered(pair):
    found = steadystack.register_translation(*pair, max_shift=5)
    assert found.status != PairStatus.OK


@pytest.mark.parametrize("subpixel", [False, True])
def test_a_shift_of_just_the_largest_allowed_is_answered(pair, subpixel):
    found = steadystack.register_translation(*pair, max_shift=(4, 7), subpixel=subpixel)
    assert found.status == PairStatus.OK
    np.testing.assert_allclose(found.shift, TRUE, atol=0.01)


def test_an_overlap_limit_next_to_the_peak_is_named(pair):
    free = steadystack.register_translation(*pair)
    found = steadystack.register_translation(*pair, min_overlap=free.overlap - 1e-3)
    assert found.status == PairStatus.LOW_OVERLAP


def test_a_mask_with_nan_is_not_valid_there(pair):
    mask = np.where(ellipse((80, 80)), 1.0, np.nan)
    spoiled = np.where(ellipse((80, 80)), pair[0], 1e6)
    found = steadystack.register_translation(spoiled, pair[1], reference_mask=mask, subpixel=False)
    assert found.shift.tolist() == TRUE


def test_too_little_overlap():
    reference_mask, moving_mask = np.zeros((2, 40, 40), bool)
    reference_mask[:4, :4] = moving_mask[-4:, -4:] = True
    found = steadystack.register_translation(
        rough(1, (40, 40)),
        rough(2, (40, 40)),
        reference_mask=reference_mask,
        moving_mask=moving_mask,
        max_shift=10,
    )
    assert found.status == PairStatus.LOW_OVERLAP


def test_images_that_meet_only_beyond_the_search():
    image = rough(4, (64, 64))
    masks = np.zeros((2, 64, 64), bool)
    masks[0, :, :25] = masks[1, :, 39:] = True
    found = steadystack.register_translation(
        image, image, reference_mask=masks[0], moving_mask=masks[1], max_shift=8
    )
    assert found.status == PairStatus.LOW_OVERLAP


# Properties


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_swapping_the_pair_negates_the_shift(seed):
    rng = np.random.default_rng(seed)
    big = rough(seed, (60, 60), 1.5)
    down, right = rng.integers(0, 9, 2)
    reference, moving = big[4:52, 4:52], big[down : down + 48, right : right + 48]
    masks = {"reference_mask": rng.random((48, 48)) < 0.8, "moving_mask": ellipse((48, 48))}
    swapped = {"reference_mask": masks["moving_mask"], "moving_mask": masks["reference_mask"]}
    one = steadystack.register_translation(reference, moving, max_shift=10, **masks)
    two = steadystack.register_translation(moving, reference, max_shift=10, **swapped)
    assert one.status == two.status == PairStatus.OK
    np.testing.assert_allclose(one.shift, -two.shift, atol=1e-5)  # single precision
    np.testing.assert_allclose(one.shift, (down - 4, right - 4), atol=0.1)


@given(st.floats(0.01, 100), st.floats(-1e4, 1e4))
@settings(deadline=None, max_examples=15)
def test_brightness_and_contrast_change_nothing(gain, offset):
    big = rough(2, (60, 60), 1.5)
    reference, moving = big[5:53, 5:53], big[2:50, 9:57]
    one = steadystack.register_translation(reference, moving, max_shift=10)
    two = steadystack.register_translation(reference, gain * moving + offset, max_shift=10)
    np.testing.assert_allclose(one.shift, two.shift, atol=1e-3)
    assert one.ncc == pytest.approx(two.ncc, abs=1e-4)


def test_axes_permute(pair):
    mask = ellipse((80, 80), 0.7)
    one = steadystack.register_translation(
        *pair, reference_mask=mask, moving_mask=mask, max_shift=12
    )
    two = steadystack.register_translation(
        pair[0].T, pair[1].T, reference_mask=mask.T, moving_mask=mask.T, max_shift=12
    )
    np.testing.assert_allclose(one.shift, two.shift[::-1], atol=1e-5)


def test_moving_both_frames_changes_nothing(pair):
    def moved(image):
        return np.pad(image, ((7, 0), (0, 5)))

    mask = np.random.default_rng(3).random((80, 80)) < 0.9
    one = steadystack.register_translation(
        *pair, reference_mask=mask, moving_mask=mask, max_shift=12
    )
    two = steadystack.register_translation(
        *map(moved, pair), reference_mask=moved(mask), moving_mask=moved(mask), max_shift=12
    )
    np.testing.assert_allclose(one.shift, two.shift, atol=1e-5)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-2)


# Wrong use


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference": np.zeros((4, 4, 4, 4))}, "1 to 3 axes"),
        ({"reference": np.zeros((0, 4))}, "1 to 3 axes"),
        ({"reference": np.zeros((8, 8), complex)}, "real numbers"),
        ({"reference": np.zeros(8)}, "dimensions"),
        ({"reference_mask": np.ones((8, 7), bool)}, "reference_mask has the shape"),
        ({"moving_mask": np.ones((3, 8), bool)}, "moving_mask has the shape"),
        ({"max_shift": 8}, "max_shift 8 along y is out of range"),
        ({"max_shift": -1}, "out of range"),
        ({"max_shift": 2.5}, "whole number"),
        ({"max_shift": 0}, "searches for nothing"),
        ({"max_shift": (1, 2, 3)}, "one per axis"),
        ({"min_overlap": 1.5}, "min_overlap 1.5"),
    ],
)
def test_wrong_use_is_told(change, words):
    given = {"reference": rough(1, (8, 8)), "moving": rough(2, (8, 8))} | change
    for function in (steadystack.register_translation, steadystack.masked_ncc):
        with pytest.raises(ValueError, match=words):
            function(**given)
