"""The NCC surface against a slow loop and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.registration._masked_phase_cross_correlation import cross_correlate_masked

import steadystack
from steadystack import ncc
from support import slow
from support.masks import masks
from support.scenes import ellipse, rough

CASES = {
    "1-D": ((17,), (17,), None, "random"),
    "2-D": ((11, 9), (11, 9), None, "random"),
    "2-D window": ((14, 13), (14, 13), (3, 5), "ellipse"),
    "2-D no masks": ((9, 12), (9, 12), None, "all"),
    "sparse masks": ((16, 15), (16, 15), None, "sparse"),
    "other shape": ((12, 7), (5, 11), None, "random"),
    "other shape, window": ((12, 7), (5, 11), (4, 4), "random"),
    "3-D": ((5, 7, 6), (5, 7, 6), None, "random"),
    "3-D window per axis": ((6, 8, 9), (6, 8, 9), (1, 3, 2), "random"),
    "one axis not searched": ((10, 12), (10, 12), (0, 4), "random"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_slow_loop(name, dtype):
    shape, other, max_shift, kind = CASES[name]
    rng = np.random.default_rng(7)
    reference, moving = rng.normal(3, 2, shape), rng.normal(-1, 5, other)
    reference_mask, moving_mask = masks(rng, shape, kind), masks(rng, other, kind)
    found = steadystack.masked_ncc(
        reference,
        moving,
        reference_mask=reference_mask,
        moving_mask=moving_mask,
        max_shift=max_shift,
        dtype=dtype,
    )
    lags = [found[dim].to_numpy() for dim in found["ncc"].dims]
    expected, count = slow.masked_ncc(reference, moving, reference_mask, moving_mask, lags)
    np.testing.assert_array_equal(found["overlap_count"], count)
    known = np.isfinite(found["ncc"].to_numpy())
    # where at least 4 pixels overlap nothing that has a value may be missing
    assert known[(count >= 4) & np.isfinite(expected)].all()
    error = np.abs(found["ncc"].to_numpy() - expected)
    few = count < 0.1 * min(reference_mask.sum(), moving_mask.sum())
    assert error[known & ~few].max() < (1e-5 if dtype == np.float32 else 1e-12)
    assert error[known & few].max(initial=0) < (2e-3 if dtype == np.float32 else 1e-9)


def test_lags_are_shifts_to_apply_to_the_moving_image():
    scene = rough(0, (60, 60))
    found = steadystack.masked_ncc(scene[10:50, 10:50], scene[7:47, 15:55], max_shift=8)
    best = found["ncc"].argmax(...)
    assert found["lag_y"][best["lag_y"]] == -3
    assert found["lag_x"][best["lag_x"]] == 5
    assert float(found["ncc"].max()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [(41, 30), (32, 32)])
def test_equals_scikit_image_in_double_precision(shape):
    rng = np.random.default_rng(3)
    reference, moving = rng.uniform(-5, 5, shape), rng.uniform(-5, 5, shape)
    reference_mask, moving_mask = rng.random(shape) < 0.75, ellipse(shape)
    theirs = cross_correlate_masked(
        moving, reference, moving_mask, reference_mask, axes=(0, 1), overlap_ratio=0
    )[::-1, ::-1]
    ours = steadystack.masked_ncc(
        reference,
        moving,
        reference_mask=reference_mask,
        moving_mask=moving_mask,
        dtype=np.float64,
    )
    enough = ours["overlap_count"].to_numpy() >= 0.05 * moving_mask.sum()
    np.testing.assert_allclose(ours["ncc"].to_numpy()[enough], theirs[enough], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int32, bool])
def test_shape_is_the_sum_of_both_and_dtype_is_as_asked(dtype):
    reference, moving = np.zeros((15, 4, 5), dtype), np.zeros((6, 12, 7), dtype)
    found = steadystack.masked_ncc(reference, moving)
    assert found["ncc"].shape == (20, 15, 11)
    assert found["ncc"].dtype == np.float32
    assert np.isnan(found["ncc"]).all()  # flat images correlate with nothing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_range_is_minus_one_to_one(dtype):
    rng = np.random.default_rng(17856738)
    shape = (15, 15, 16)
    reference, moving = rng.uniform(-5, 5, (2, *shape)).astype(dtype)
    found = steadystack.masked_ncc(
        reference,
        moving,
        reference_mask=rng.random(shape) < 0.9,
        moving_mask=rng.random(shape) < 0.9,
        dtype=dtype,
    )
    values = found["ncc"].to_numpy()
    assert np.nanmax(np.abs(values)) <= 1


def test_autocorrelation_is_one_at_lag_zero():
    scene = rough(5, (64, 70))
    mask = np.random.default_rng(3555640249).random(scene.shape) < 0.75
    found = steadystack.masked_ncc(scene, scene, reference_mask=mask, moving_mask=mask)
    best = found["ncc"].where(found["overlap_count"] > 100).argmax(...)
    assert {dim: int(found[dim][index]) for dim, index in best.items()} == {
        "lag_y": 0,
        "lag_x": 0,
    }
    assert float(found["ncc"].sel(lag_y=0, lag_x=0)) == pytest.approx(1, abs=1e-5)


def test_read_only_inputs_stay_as_they_are():
    reference, moving = rough(1, (20, 21)), rough(2, (20, 21))
    mask = ellipse((20, 21))
    before = [array.copy() for array in (reference, moving, mask)]
    for array in (reference, moving, mask):
        array.setflags(write=False)
    steadystack.masked_ncc(reference, moving, reference_mask=mask, moving_mask=mask)
    for array, copy in zip((reference, moving, mask), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_large_offset_costs_no_precision():
    scene = rough(11, (90, 90), 1.5)
    scene = (60000 + 50 * scene / scene.std()).astype(np.float32)
    reference, moving = scene[8:72, 8:72], scene[4:68, 13:77]
    mask = ellipse((64, 64))
    ours = steadystack.masked_ncc(
        reference, moving, reference_mask=mask, moving_mask=mask, max_shift=8
    )
    expected, _ = slow.masked_ncc(
        reference.astype(float), moving.astype(float), mask, mask, [range(-8, 9)] * 2
    )
    np.testing.assert_allclose(ours["ncc"], expected, atol=1e-5)


def test_min_overlap_leaves_out_lags():
    image = rough(4, (30, 30))
    found = steadystack.masked_ncc(image, image, min_overlap=0.5)
    allowed = found["overlap_count"].to_numpy() >= 450
    np.testing.assert_array_equal(np.isfinite(found["ncc"].to_numpy()), allowed)


def test_other_floating_types_are_refused():
    with pytest.raises(ValueError, match="neither float32 nor float64"):
        steadystack.masked_ncc(np.eye(4), np.eye(4), dtype=np.int32)


@pytest.mark.parametrize("tile", [None, (70, 70)])
def test_expected_deviation_of_unrelated_images_is_that_of_their_surfaces(tile):
    for smooth in (0, 1, 2):
        values = []
        mask = ncc.CachedMask(ellipse((96, 96)))
        window = ncc.make_window((96, 96), (96, 96), (24, 24))
        layout = ncc.Layout.make((96, 96), (96, 96), window, tile)
        for seed in range(4):
            images = [rough(100 * smooth + 2 * seed + i, (96, 96), smooth) for i in (0, 1)]
            images = [ncc.make_masked_image(image, mask) for image in images]
            surface = ncc.compute_surface(ncc.compute_terms(*images, layout), window)
            seen = np.sqrt(np.mean(surface.ncc**2 * surface.overlap_count))
            values.append(surface.chance_deviation / seen)
        assert 0.8 < np.mean(values) < 1.25


def test_equals_scikit_image_in_single_precision_where_enough_overlaps():
    rng = np.random.default_rng(3)
    scene = rough(9, (140, 140), 2)
    reference, moving = scene[6:134, 6:134], scene[2:130, 12:140] + rng.normal(0, 0.1, (128, 128))
    masks = [ellipse((128, 128), 0.83) & (rng.random((128, 128)) > 0.01) for _ in range(2)]
    theirs = cross_correlate_masked(
        moving, reference, masks[1], masks[0], axes=(0, 1), overlap_ratio=0
    )[::-1, ::-1]
    ours = steadystack.masked_ncc(reference, moving, reference_mask=masks[0], moving_mask=masks[1])
    enough = ours["overlap_count"].to_numpy() >= 0.05 * min(mask.sum() for mask in masks)
    np.testing.assert_allclose(ours["ncc"].to_numpy()[enough], theirs[enough], atol=1e-5)
