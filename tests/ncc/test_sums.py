"""The terms of a pair are the sums that they stand for, by as few transforms as may be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadystack import ncc
from steadystack.ncc import CachedMask, Layout, Window, box_sums, compute_terms, make_masked_image
from support.members import slow_but
from support.scenes import asked_of_transforms, ellipse, rough

KINDS = ("mask", "value", "square")


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


@pytest.mark.parametrize("count", slow_but([100], [100, 300]))
def test_terms_are_the_sums_they_stand_for(count):
    settings(deadline=None, max_examples=count)(given(problems())(check_terms))()


def check_terms(problem):
    """Whatever the masks, the tiles and the way that is taken: against sums over whole images."""
    shape, other, bounds, tile, kinds, same, in_series, beyond, nearly, seed = problem
    rng = np.random.default_rng(seed)
    window = ncc.make_window(shape, other, bounds)
    if beyond:
        window = ncc.Window(*(tuple(s * b for b in bounds) for s in (-1, 1)))
    masks = [any_mask(rng, shape, kinds[0]), any_mask(rng, other, kinds[1])]
    if same:
        masks[1] = masks[0].copy()
        masks[1].flat[rng.integers(masks[1].size)] ^= True  # few differences
    base = ncc.CachedMask(masks[0] | masks[1]) if same else None
    masks = [ncc.CachedMask(mask, base if nearly else None) for mask in masks]
    f, g = (
        ncc.make_masked_image(rng.normal(5, 2, mask.pixels.shape), mask, np.float64)
        for mask in masks
    )
    layout = ncc.Layout.make(shape, other, window, tile)
    found = ncc.compute_terms(f, g, layout, in_series=in_series, keep=KINDS if in_series else ())
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
    window = ncc.make_window((96, 96), (96, 96), (8, 8))
    layout = ncc.Layout.make((96, 96), (96, 96), window, tile)
    shared = ncc.CachedMask(common)
    images = {
        "shared": [ncc.make_masked_image(rough(i, (96, 96)), shared) for i in (1, 2, 3)],
        "few": [ncc.make_masked_image(rough(4, (96, 96)), ncc.derive_mask(few, shared, layout))],
        "other": [
            ncc.make_masked_image(rough(5, (96, 96)), ncc.CachedMask(rng.random((96, 96)) < 0.5))
        ],
    }

    def products(first, second):
        asked.clear()
        ncc.compute_terms(first, second, layout, in_series=True, keep=KINDS)
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


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("window", [(5, 9), (-14, -3), (-3, 11), (20, 28)])
@pytest.mark.parametrize("tile", [None, 16])
def test_shared_masks_at_lags_on_one_side(ndim, window, tile):
    """The terms of frames in a series against those of the same frames by themselves."""
    shape = (60, 44) if ndim == 2 else (36, 40, 44)
    rng = np.random.default_rng(0)
    lags = Window((window[0],) * ndim, (window[1],) * ndim)
    layout = Layout.make(shape, shape, lags, None if tile is None else (tile,) * ndim)
    inner = lags.limit_around([sum(window) // 2] * ndim, [1] * ndim)
    common = CachedMask(ellipse(shape))
    images = []
    for _ in range(2):
        pixels = common.pixels.copy()
        pixels[tuple(rng.integers(10, 20, (ndim, 3)))] = False
        images.append(make_masked_image(rng.normal(5, 2, shape), CachedMask(pixels, common)))
    shared = compute_terms(*images, layout, in_series=True, keep=("mask", "value"), lags=inner)
    alone = compute_terms(
        *(make_masked_image(one.values, CachedMask(one.mask.pixels)) for one in images), layout
    ).change_window(lags, inner)
    for name in ("count", "cross", "sum_f", "sum_g", "square_f", "square_g"):
        np.testing.assert_allclose(
            getattr(shared, name), getattr(alone, name), atol=2e-2, err_msg=name
        )


@pytest.mark.parametrize("shape", [(9,), (7, 100), (7, 300), (1, 400), (0, 400), (5, 20, 30)])
def test_rows_are_added_up_as_numpy_does_to_the_last_bit(shape):
    rows = np.random.default_rng(4).normal(size=shape)
    for axis in range(len(shape)):
        found = np.zeros([size + (n == axis) for n, size in enumerate(shape)])
        box_sums._cut(found, axis, 1, None)[...] = rows
        box_sums._add_up(found, axis)
        np.testing.assert_array_equal(
            box_sums._cut(found, axis, 1, None), np.cumsum(rows, axis=axis)
        )
        assert not box_sums._cut(found, axis, 0, 1).any()


@pytest.mark.parametrize("hole", [(slice(0, 20), slice(13, 40)), (slice(30, 44), slice(9, 11))])
def test_a_box_that_a_mask_lacks_needs_no_transform_of_the_mask(monkeypatch, hole):
    shape = (60, 44)
    pixels = np.zeros(shape, bool)
    pixels[2:, :43] = True
    pixels[2:, :43][hole] = False
    rng, layout = np.random.default_rng(3), Layout.make(shape, shape, Window((-9, 3), (30, 12)))
    images = rng.normal(5, 2, (2, *shape))
    asked = asked_of_transforms(monkeypatch)
    found = []
    for may_lack_box in (False, True):
        asked.clear()
        mask = CachedMask(pixels, may_lack_box=may_lack_box)
        both = [make_masked_image(image, mask, np.float64) for image in images]
        found.append([compute_terms(*both, layout, in_series=series) for series in (False, True)])
    assert asked == [["cross"], ["cross"]]
    for by_transforms, by_boxes in zip(*found, strict=True):
        for name in ("count", "cross", "sum_f", "sum_g", "square_f", "square_g"):
            np.testing.assert_allclose(
                getattr(by_boxes, name), getattr(by_transforms, name), atol=1e-9, err_msg=name
            )
    pixels[40, 30] = False
    assert not CachedMask(pixels, may_lack_box=True).boxes


@pytest.mark.parametrize("side", [slice(0, 9), slice(4, 5), slice(6, 6)])
@pytest.mark.parametrize("lags", [(-3, 4), (-20, 20), (2, 8), (-7, -6), (9, 30)])
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_under_a_moved_side(side, lags, axis):
    rows = np.random.default_rng(5).integers(0, 99, (9, 9)).astype(np.float32)
    found = box_sums._compute_sliding_sums([rows, 2 * rows], axis, side, *lags)
    for number, lag in enumerate(range(lags[0], lags[1] + 1)):
        low, high = (min(max(end + lag, 0), 9) for end in (side.start, side.stop))
        expected = box_sums._cut(rows, axis, low, high).sum(axis=axis)
        for sums, times in zip(found, (1, 2), strict=True):
            np.testing.assert_array_equal(sums.take(number, axis), times * expected)
