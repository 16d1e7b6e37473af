"""Small holes in frames: which they are, and what fills them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.warp import (
    HOLE_REACH,
    INTERPOLATIONS,
    REACH,
    Box,
    fill_small_holes,
    find_source_part,
    move_part,
)
from support.scenes import Scene


def find_by_hand(valid):
    """All squares of 5 by 5 that hold the pixel, and have their middle in the frame, show more."""
    holes = np.zeros(valid.shape, bool)
    height, width = valid.shape
    for y, x in zip(*np.nonzero(~valid), strict=True):
        holes[y, x] = all(
            valid[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].any()
            for row in range(max(y - 2, 0), min(y + 3, height))
            for column in range(max(x - 2, 0), min(x + 3, width))
        )
    return holes


@pytest.mark.parametrize("seed", range(4))
def test_holes_are_small_where_no_square_fits(seed):
    rng = np.random.default_rng(seed)
    valid = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 1.8) > -0.1
    valid[rng.integers(0, 40, 30), rng.integers(0, 50, 30)] = False
    valid[:, 20] = valid[33] = False  # a column and a row
    image = rng.normal(size=valid.shape)
    filled, holes = fill_small_holes(image, valid)
    np.testing.assert_array_equal(holes, find_by_hand(valid))
    np.testing.assert_array_equal(filled[~holes], image[~holes])
    assert holes.any()
    assert (~valid & ~holes).any()


def test_what_fills_a_hole_is_a_mean_of_valid_pixels_around_it():
    scene = Scene(5, detail=4).view((60, 70), (0, 0))
    valid = np.ones(scene.shape, bool)
    valid[10, 10] = valid[20:22, 30:32] = valid[:, 50] = False
    filled, holes = fill_small_holes(np.where(valid, scene, np.nan), valid)
    assert (holes == ~valid).all()
    assert np.abs(filled - scene)[holes].max() < 0.3  # of a scene of 1
    assert np.sqrt(np.mean((filled - scene)[holes] ** 2)) < 0.15
    around = [scene[y, x] for y in range(8, 13) for x in range(8, 13) if (y, x) != (10, 10)]
    far = [(y - 10) ** 2 + (x - 10) ** 2 for y in range(8, 13) for x in range(8, 13)]
    weights = np.exp(-np.array([value for value in far if value]) / 2)
    assert filled[10, 10] == pytest.approx(np.average(around, weights=weights))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u8", "f4", "?"])
def test_types_stay_and_planes_do_not_mix(dtype):
    valid = np.ones((3, 12, 13), bool)
    valid[1, 5, 6] = False
    image = np.zeros(valid.shape, dtype)
    image[1] = 1 if dtype == "?" else 117
    image[1, 5, 6] = 0
    filled, holes = fill_small_holes(image, valid)
    assert filled.dtype == dtype
    assert filled[1, 5, 6] == (0 if dtype == "?" else 117)
    assert holes.sum() == (dtype != "?")


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (2.4, -5.7)])
def test_moved_holes_are_filled_and_not_known_and_parts_are_those_of_the_whole(
    interpolation, shift
):
    shift, shape = np.array(shift), (80, 70)
    scene = 20000 + 3000 * Scene(6, detail=4).view(shape, (0, 0))
    valid = np.ones(shape, bool)
    rng = np.random.default_rng(1)
    valid[rng.integers(0, 80, 40), rng.integers(0, 70, 40)] = valid[30] = False
    valid[50:60, 40:52] = False  # large: stays blank
    image = np.where(valid, scene, 65535).astype("u2")
    whole, known = np.zeros(shape, "u2"), np.zeros(shape, bool)
    part = tuple(slice(0, size) for size in shape)
    move_part(image, valid, part, shape, shift, (0, 0), interpolation, whole, known, invalid="fill")
    blank, same = np.zeros(shape, "u2"), np.zeros(shape, bool)
    move_part(image, valid, part, shape, shift, (0, 0), interpolation, blank, same)
    np.testing.assert_array_equal(known, same)
    by = np.floor(shift + 0.5)
    holes = ndimage.shift(fill_small_holes(image, valid)[1].astype("u1"), by, order=0) == 1
    assert (holes & ~known).any()
    truth, _ = np.zeros(shape, "u2"), np.zeros(shape, bool)
    move_part(scene.astype("u2"), None, part, shape, shift, (0, 0), interpolation, truth, _)
    off = np.abs(whole.astype(int) - truth.astype(int))
    assert np.sqrt(np.mean(off[holes] ** 2.0)) < 500  # of a scene of 3000
    assert (whole[~known & ~holes] == 0).all()
    box = Box((25, 20), (30, 40))
    needed = find_source_part(box, shift, shape, REACH[interpolation], HOLE_REACH)
    moved, told = np.zeros(box.shape, "u2"), np.zeros(box.shape, bool)
    move_part(
        image[needed], valid[needed], needed, shape, shift, box.first, interpolation, moved, told,
        invalid="fill",
    )  # fmt: skip
    inside = tuple(slice(a, b) for a, b in zip(box.first, box.stop, strict=True))
    np.testing.assert_array_equal(told, known[inside])
    apart = np.abs(moved.astype(int) - whole[inside].astype(int))
    assert (apart[told] <= 1).mean() > 0.999
    assert apart.max() <= 3
