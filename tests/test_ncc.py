"""The NCC surface against a slow loop and against scikit-image."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.registration._masked_phase_cross_correlation import cross_correlate_masked

import slow
import steadystack
from helpers import asked_of_transforms, ellipse, rough
from steadystack import ncc
from steadystack.ncc import tiles
from steadystack.register import Search, block_terms

KINDS = ("mask", "value", "square")


def masks(rng, shape, kind):
    if kind == "all":
        return np.ones(shape, bool)
    if kind == "random":
        return rng.random(shape) < 0.7
    if kind == "ellipse":
        return ellipse(shape)
    return rng.random(shape) < 0.1


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


@st.composite
def problems(draw):
    """Two images of one to three axes, their masks, a window of lags, a tile, how they are used."""
    ndim = draw(st.integers(1, 3))
    most = {1: 40, 2: 14, 3: 7}[ndim]
    sizes = st.tuples(*[st.integers(1, most)] * ndim)
    reference = draw(sizes)
    moving = reference if draw(st.booleans()) else draw(sizes)
    bounds = draw(st.tuples(*[st.integers(0, most)] * ndim))
    tile = draw(st.none() | st.tuples(*[st.integers(1, most)] * ndim))
    kinds = draw(st.tuples(*[st.sampled_from(["all", "box", "random", "sparse", "none"])] * 2))
    same = draw(st.booleans()) and moving == reference
    in_series, beyond, nearly = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    seed = draw(st.integers(0, 99))
    return reference, moving, bounds, tile, kinds, same, in_series, beyond, nearly, seed


def any_mask(rng, shape, kind):
    if kind == "box":
        mask = np.zeros(shape, bool)
        sides = [np.sort(rng.integers(0, size + 1, 2)) for size in shape]
        mask[tuple(slice(*side) for side in sides)] = True
        return mask
    return {
        "all": np.ones(shape, bool),
        "random": rng.random(shape) < 0.7,
        "sparse": rng.random(shape) < 0.1,
        "none": np.zeros(shape, bool),
    }[kind]


@given(problems())
@settings(deadline=None, max_examples=300)
def test_terms_are_the_sums_they_stand_for(problem):
    """Whatever the masks, the tiles and the way that is taken: against sums over whole images."""
    shape, other, bounds, tile, kinds, same, in_series, beyond, nearly, seed = problem
    rng = np.random.default_rng(seed)
    window = ncc.lag_window(shape, other, bounds)
    if beyond:
        window = ncc.Window(*(tuple(s * b for b in bounds) for s in (-1, 1)))
    masks = [any_mask(rng, shape, kinds[0]), any_mask(rng, other, kinds[1])]
    if same:
        masks[1] = masks[0].copy()
        masks[1].flat[rng.integers(masks[1].size)] ^= True  # few differences
    base = ncc.Masked(masks[0] | masks[1]) if same else None
    masks = [ncc.Masked(mask, base if nearly else None) for mask in masks]
    f, g = (
        ncc.masked_image(rng.normal(5, 2, mask.pixels.shape), mask, np.float64) for mask in masks
    )
    layout = ncc.Layout.over(shape, other, window, tile)
    found = ncc.pair_terms(f, g, layout, in_series=in_series, keep=KINDS if in_series else ())
    for place, lag in zip(
        np.ndindex(window.shape),
        itertools.product(*map(lambda lo, hi: range(lo, hi + 1), window.first, window.last)),
        strict=True,
    ):
        a, b = overlapping(shape, other, lag)
        m, k = masks[0].pixels[a].astype(float), masks[1].pixels[b].astype(float)
        expected = {
            "count": m * k,
            "sum_f": f.values[a] * k,
            "sum_g": m * g.values[b],
            "square_f": f.values[a] ** 2 * k,
            "square_g": m * g.values[b] ** 2,
            "cross": f.values[a] * g.values[b],
        }
        for name, products in expected.items():
            assert getattr(found, name)[place] == pytest.approx(products.sum(), abs=1e-9), name


def overlapping(shape, other, lag):
    """Where two images lie on each other: the moving one's pixel x - u on the reference's x."""
    low = [min(max(0, u), n) for u, n in zip(lag, shape, strict=True)]
    high = [max(min(n, m + u), lo) for n, m, u, lo in zip(shape, other, lag, low, strict=True)]
    a = tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))
    b = tuple(slice(lo - u, hi - u) for lo, hi, u in zip(low, high, lag, strict=True))
    return a, b


@pytest.mark.parametrize("tile", [None, (40, 23)])
def test_a_common_mask_costs_a_pair_one_product(monkeypatch, tile):
    """Also one that is common but for a few pixels; others cost all six."""
    asked = asked_of_transforms(monkeypatch)
    common, rng = ellipse((96, 96)), np.random.default_rng(0)
    few = common.copy()
    few[[30, 31, 60], [40, 40, 70]] = False
    window = ncc.lag_window((96, 96), (96, 96), (8, 8))
    layout = ncc.Layout.over((96, 96), (96, 96), window, tile)
    shared = ncc.Masked(common)
    images = {
        "shared": [ncc.masked_image(rough(i, (96, 96)), shared) for i in (1, 2, 3)],
        "few": [ncc.masked_image(rough(4, (96, 96)), ncc.mask_like(few, shared, layout))],
        "other": [ncc.masked_image(rough(5, (96, 96)), ncc.Masked(rng.random((96, 96)) < 0.5))],
    }

    def products(first, second):
        asked.clear()
        ncc.pair_terms(first, second, layout, in_series=True, keep=KINDS)
        return [wanted for wanted in asked if "cross" in wanted]

    a, b, c = images["shared"]
    assert products(a, b) == [["cross"]]
    assert len(asked) == 4  # the overlap of the mask with itself, and the own sums of both
    assert products(b, c) == [["cross"]]
    assert len(asked) == 2  # only the third image's own sums were missing
    assert products(a, c) == [["cross"]]
    assert len(asked) == 1
    assert products(a, images["few"][0]) == [["cross"]]
    assert len(products(a, images["other"][0])[0]) == 6


def test_parts_of_a_pair_add_up(monkeypatch):
    """Blocks of a scene with a strong gradient, each brought to its own level."""
    scene = rough(3, (140, 150), 2) + np.linspace(0, 40, 150)
    reference, moving = scene[10:130, 10:140], scene[6:126, 15:145]
    rng = np.random.default_rng(0)
    masks = {
        "reference_mask": ellipse((120, 130)),
        "moving_mask": rng.random((120, 130)) < 0.8,
        "max_shift": 9,
    }
    whole = steadystack.masked_ncc(reference, moving, **masks)
    shift = steadystack.register_translation(reference, moving, **masks)
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 2000)
    blocks = tiles.blocks_of((120, 130), (120, 130), ncc.lag_window((120, 130), (120, 130), (9, 9)))
    assert len(blocks) > 6
    parts = steadystack.masked_ncc(reference, moving, **masks)
    np.testing.assert_allclose(parts["ncc"], whole["ncc"], atol=2e-6)
    np.testing.assert_array_equal(parts["overlap_count"], whole["overlap_count"])
    found = steadystack.register_translation(reference, moving, **masks)
    # the gradient makes a broad peak of NCC 0.99: rounding moves its summit, in one piece most
    np.testing.assert_allclose(found.shift, shift.shift, atol=5e-3)
    assert found.status == shift.status


@given(st.integers(1, 90000), st.integers(1, 90000), st.integers(1, 5000), st.integers(0, 600))
@settings(deadline=None, max_examples=100)
def test_blocks_cover_a_frame_once_and_hold_what_the_lags_reach(height, width, chunk, bound):
    window = ncc.lag_window((height, width), (height, width), (bound, bound))
    blocks = tiles.blocks_of((height, width), (height, width), window, (chunk, chunk))
    area = 0
    for block in blocks:
        area += np.prod(block.reference_shape)
        assert np.prod(block.reference_shape) <= tiles.BLOCK_PIXELS
        for core, halo, size in zip(block.reference, block.moving, (height, width), strict=True):
            assert halo.start == max(core.start - bound, 0)
            assert halo.stop == min(core.stop + bound, size)
    assert area == height * width


@pytest.mark.parametrize("tile", [None, (70, 70)])
def test_expected_deviation_of_unrelated_images_is_that_of_their_surfaces(tile):
    for smooth in (0, 1, 2):
        values = []
        mask = ncc.Masked(ellipse((96, 96)))
        window = ncc.lag_window((96, 96), (96, 96), (24, 24))
        layout = ncc.Layout.over((96, 96), (96, 96), window, tile)
        for seed in range(4):
            images = [rough(100 * smooth + 2 * seed + i, (96, 96), smooth) for i in (0, 1)]
            images = [ncc.masked_image(image, mask) for image in images]
            surface = ncc.surface(ncc.pair_terms(*images, layout), window)
            seen = np.sqrt(np.mean(surface.ncc**2 * surface.overlap_count))
            values.append(surface.chance_deviation / seen)
        assert 0.8 < np.mean(values) < 1.25


def chance(images, mask, monkeypatch, tile=None, block=None):
    """The deviation that is expected of unrelated images, as the tool measures it."""
    size = mask.shape
    if block is not None:
        monkeypatch.setattr(tiles, "BLOCK_PIXELS", block)
    search = Search.over(size, size, (12, 12), tile=tile)
    parts = []
    for number, place in enumerate(search.blocks):
        reference, moving = (
            ncc.masked_image(image[part], ncc.Masked(mask[part]))
            for image, part in zip(images, (place.reference, place.moving), strict=True)
        )
        parts.append(block_terms(reference, moving, search, number))
    assert (len(parts) > 3) == (block is not None)
    return reduce(ncc.Terms.plus, parts).chance_deviation


@pytest.mark.parametrize("smooth", [0.5, 3, 12, 30])
def test_chance_does_not_depend_on_how_a_frame_is_cut(smooth, monkeypatch):
    mask = ellipse((256, 256))
    for seed in (1, 2, 3):
        images = [rough(10 * seed + i, (256, 256), smooth) + 3 for i in (0, 1)]
        whole = chance(images, mask, monkeypatch)
        tiled = chance(images, mask, monkeypatch, tile=(64, 64))
        blocks = chance(images, mask, monkeypatch, block=5000)
        monkeypatch.undo()
        assert tiled == pytest.approx(whole, rel=0.4)
        assert blocks == pytest.approx(whole, rel=0.4)


@pytest.mark.parametrize(
    "bring",
    [
        lambda scene: scene + 1e9,
        lambda scene: np.round(5 * scene + 1e9).astype(np.int32),
        lambda scene: (1000 * scene).astype(np.int64).astype(np.uint64) + np.uint64(2**40),
        lambda scene: (100 + 20 * scene).astype(np.uint8),
        lambda scene: (scene * 1e-42).astype(np.float32),
        lambda scene: (scene * 5e37).astype(np.float32),
        lambda scene: scene * 1e200,
        lambda scene: scene * 1e-200,
        lambda scene: scene.astype(np.float16),
    ],
    ids=["f8 offset", "i4 offset", "u8 offset", "u1", "f4 tiny", "f4 huge", "f8 huge", "f8 tiny",
         "f2"],
)  # fmt: skip
@pytest.mark.parametrize("block", [None, 2000])
def test_any_numbers_will_do(bring, block, monkeypatch):
    if block is not None:
        monkeypatch.setattr(tiles, "BLOCK_PIXELS", block)
    scene = rough(8, (110, 110), 2)
    image = bring(scene / scene.std())
    found = steadystack.register_translation(
        image[10:100, 10:100], image[7:97, 14:104], max_shift=9
    )
    assert found.status == "ok"
    np.testing.assert_allclose(found.shift, (-3, 4), atol=0.05)


def test_an_outlier_or_an_empty_corner_is_no_level_for_the_rest(monkeypatch):
    """The first block has few and odd pixels, or none but in its halo."""
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 2500)
    scene = 1e4 + 10 * rough(8, (150, 150), 2)
    reference, moving = scene[10:140, 10:140].copy(), scene[7:137, 14:144].copy()
    few, far = np.ones((130, 130), bool), np.zeros((130, 130), bool)
    few[:40, :40] = False
    few[0, 0] = few[0, 1] = few[5, 5] = True
    reference[0, :2] = 9800  # far off
    far[36:100, 36:100] = True
    for mask in (few, far):
        masks = {"reference_mask": mask, "moving_mask": mask}
        found = steadystack.register_translation(reference, moving, max_shift=9, **masks)
        assert found.status == "ok"
        np.testing.assert_allclose(found.shift, (-3, 4), atol=0.05)


def test_the_moving_image_counts_as_a_whole_where_shapes_differ():
    scene = rough(2, (200, 200), 1.5)
    reference, mask = scene[100:160, 110:170], np.ones((200, 200), bool)
    mask[:70, :70] = False
    found = steadystack.register_translation(reference, scene, moving_mask=mask)
    assert found.status == "ok"
    np.testing.assert_allclose(found.shift, (-100, -110), atol=0.01)
    mask[:59] = False
    assert steadystack.register_translation(reference, scene, moving_mask=mask).overlap <= 1
    flat = scene.copy()
    flat[:70, :70] = 0
    assert steadystack.register_translation(reference, flat).status == "ok"


def test_lags_at_which_nothing_can_overlap_do_no_harm():
    """One valid column, searched along x: what overlaps there is at one lag, and flat or not."""
    frame = rough(3, (50, 30))
    mask = np.zeros((50, 30), bool)
    mask[:, 12] = True
    masks = {"reference_mask": mask, "moving_mask": mask}
    found = steadystack.register_translation(frame, frame, max_shift=(0, 5), **masks)
    assert found.status in ("low_overlap", "low_ncc", "at_bound")
    masks = {"reference_mask": mask[5:], "moving_mask": mask[:-5]}
    found = steadystack.register_translation(frame[5:], frame[:-5], max_shift=(9, 0), **masks)
    np.testing.assert_allclose(found.shift, (-5, 0), atol=0.1)


def test_large_searches_in_blocks(monkeypatch):
    scene = rough(5, (90, 100), 1.5)
    reference, moving = scene[:80, :70], scene[8:88, 21:91]
    whole = steadystack.masked_ncc(reference, moving)
    shift = steadystack.register_translation(reference, moving)
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 1000)
    parts = steadystack.masked_ncc(reference, moving)
    enough = whole["overlap_count"].to_numpy() > 500
    np.testing.assert_allclose(
        parts["ncc"].to_numpy()[enough], whole["ncc"].to_numpy()[enough], atol=1e-5
    )
    np.testing.assert_array_equal(parts["overlap_count"], whole["overlap_count"])
    found = steadystack.register_translation(reference, moving)
    np.testing.assert_allclose(found.shift, shift.shift, atol=1e-3)


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
