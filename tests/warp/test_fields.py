"""Fields of local shifts: between their nodes, beyond them, and frames that are moved by them."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.warp import (
    Box,
    LocalField,
    find_warped_common_box,
    find_warped_part,
    find_warped_whole_box,
    make_nodes,
    warp,
    warp_part,
)
from support.scenes import Scene

SHAPE = (60, 70)


def make_field(seed=0, grid=(4, 5), size=1.5, drift=(0.0, 0.0)) -> LocalField:
    values = np.random.default_rng(seed).normal(0, size, (*grid, 2)) + drift
    return LocalField(make_nodes(SHAPE, grid), values)


def test_a_field_has_its_values_at_the_nodes_and_is_constant_beyond():
    field = make_field()
    y, x = field.nodes
    assert (y[0], y[-1], x[-1]) == (0, 59, 69)
    np.testing.assert_allclose(field.at(y, x), np.moveaxis(field.values, -1, 0), atol=1e-12)
    beyond = field.at(np.array([-9.0, 80.0]), np.array([-3.0, 99.0]))
    np.testing.assert_allclose(beyond[:, 1, 0], field.values[-1, 0])
    np.testing.assert_allclose(field.at_places(field.places), field.values.reshape(-1, 2))


def test_a_field_of_volumes_is_that_of_three_axes():
    shape, rng = (14, 30, 36), np.random.default_rng(8)
    nodes = make_nodes(shape, (3, 4, 5))

    def truth(z, y, x):
        return np.stack([z * y / 90 - 1, (x / 20) ** 3 + z**2 / 50, y / 9 - x * z / 99])

    field = LocalField(nodes, np.moveaxis(truth(*np.meshgrid(*nodes, indexing="ij")), 0, -1))
    lines = [np.linspace(0, size - 1, 9) for size in shape]
    crossings = np.meshgrid(*lines, indexing="ij")
    np.testing.assert_allclose(field.at(*lines), truth(*crossings), atol=1e-9)
    block = tuple(slice(low, low + 4) for low in (3, 8, 11))
    pixels = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in block), indexing="ij"))
    np.testing.assert_allclose(field.locate(block), pixels - truth(*pixels), atol=1e-9)
    places = rng.uniform(2, 11, (20, 3))
    np.testing.assert_allclose(field.at_places(places), truth(*places.T).T, atol=1e-9)
    laid = field.lay(places)
    np.testing.assert_allclose(laid - field.at_places(laid), places, atol=1e-5)
    several = LocalField(nodes, np.stack([field.values, -field.values]))
    low, high = several.find_extremes()
    np.testing.assert_allclose(low[1], -high[0])
    np.testing.assert_allclose(high[0, 0], 13 * 29 / 90 - 1)
    known = several.flattened(np.array([False, True]), np.array([[9.0] * 3, [1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(known.values[0], field.values)
    assert (known.values[1] == (1, 2, 3)).all()


def test_volumes_are_bent_as_shifts_of_whole_pixels_and_in_pieces():
    shape, rng = (12, 30, 36), np.random.default_rng(8)
    image, valid = rng.normal(size=shape), rng.random(shape) > 0.1
    nodes = make_nodes(shape, (2, 3, 4))
    alike = LocalField(nodes, np.broadcast_to([1.0, 3.0, -5.0], (2, 3, 4, 3)))
    expected, known = warp(image, valid, None, np.array([1.0, 3.0, -5.0]), "linear")
    moved, moved_known = warp(image, valid, alike, np.zeros(3), "linear")
    np.testing.assert_array_equal(moved_known, known)
    np.testing.assert_allclose(moved[known], expected[known], atol=1e-9)
    field = LocalField(nodes, rng.normal(0, 1, (2, 3, 4, 3)))
    whole, known = warp(image, valid, field, np.zeros(3), "linear")
    box = Box((4, 10, 0), (6, 12, 36))
    region = find_warped_part(box, field, np.zeros(3), shape, 2)
    piece, piece_known = np.zeros(box.shape), np.zeros(box.shape, bool)
    warp_part(
        image[region], valid[region], region, shape, field, np.zeros(3), box.first, "linear",
        piece, piece_known,
    )  # fmt: skip
    inside = tuple(slice(a, b) for a, b in zip(box.first, box.stop, strict=True))
    np.testing.assert_array_equal(piece_known, known[inside])
    np.testing.assert_allclose(piece[piece_known], whole[inside][piece_known], atol=1e-9)


@pytest.mark.parametrize(("grid", "degree"), [((4, 6), 3), ((3, 3), 2), ((2, 2), 1)])
def test_polynomials_are_interpolated_exactly(grid, degree):
    nodes = make_nodes(SHAPE, grid)

    def truth(y, x):
        return np.stack([(y / 30) ** degree - x / 20, (x / 40) ** degree + y / 50])

    crossings = np.meshgrid(*nodes, indexing="ij")
    field = LocalField(nodes, np.moveaxis(truth(*crossings), 0, -1))
    y, x = np.linspace(0, 59, 23), np.linspace(0, 69, 31)
    found = field.at(y, x)
    np.testing.assert_allclose(found, truth(*np.meshgrid(y, x, indexing="ij")), atol=1e-9)


def test_a_bent_frame_is_straightened():
    scene, field = Scene(3, detail=3.0), make_field(2, drift=(1.3, -2.2))
    grid = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)
    still = scene.look(grid)
    # what lies at q is taken from q less the field: q is where the frame's pixel p belongs
    laid = grid.copy()
    for _ in range(60):
        shift = field.at_places(laid.reshape(-1, 2)).reshape(laid.shape)
        laid = grid + shift
    frame = scene.look(laid)
    valid = np.ones(SHAPE, bool)
    valid[20:24, 30:35] = False
    spoilt = np.where(valid, frame, 99.0)
    moved, known = warp(spoilt, valid, field, np.zeros(2), "cubic")
    assert not known.all()
    inner = known.copy()
    inner[:6] = inner[-6:] = inner[:, :6] = inner[:, -6:] = False
    off = np.abs(moved - still)[inner]
    assert np.median(off) < 0.01
    assert off.max() < 0.6  # beside the hole
    linear, _ = warp(frame, np.ones(SHAPE, bool), field, np.zeros(2), "linear")
    assert np.abs(linear - still)[inner].max() < 0.2
    labels = (frame > 0).astype("i4") * 7
    nearest, _ = warp(labels, np.ones(SHAPE, bool), field, np.zeros(2), "nearest")
    assert set(np.unique(nearest)) == {0, 7}


def test_a_field_of_one_value_moves_as_a_shift_of_whole_pixels_does():
    image = np.random.default_rng(1).normal(size=SHAPE)
    field = LocalField(make_nodes(SHAPE, (3, 4)), np.broadcast_to([3.0, -5.0], (3, 4, 2)))
    valid = np.random.default_rng(2).random(SHAPE) > 0.1
    expected, known = warp(image, valid, None, np.array([3.0, -5.0]), "linear")
    moved, moved_known = warp(image, valid, field, np.zeros(2), "linear")
    np.testing.assert_array_equal(moved_known, known)
    np.testing.assert_allclose(moved[known], expected[known], atol=1e-9)


def test_pieces_of_a_frame_are_those_of_the_whole():
    image, field = np.random.default_rng(4).normal(size=SHAPE), make_field(5, drift=(4, -3))
    whole, known = warp(image, np.ones(SHAPE, bool), field, np.zeros(2), "linear")
    for first in ((0, 0), (0, 35), (30, 0), (30, 35)):
        box = Box(first, (30, 35))
        region = find_warped_part(box, field, np.zeros(2), SHAPE, 2)
        moved, piece_known = np.zeros(box.shape), np.zeros(box.shape, bool)
        warp_part(
            image[region], None, region, SHAPE, field, np.zeros(2), first, "linear",
            moved, piece_known,
        )  # fmt: skip
        inside = tuple(slice(a, b) for a, b in zip(box.first, box.stop, strict=True))
        np.testing.assert_array_equal(piece_known, known[inside])
        np.testing.assert_allclose(moved[piece_known], whole[inside][piece_known], atol=1e-9)


def test_boxes_hold_what_all_and_what_any_frames_show():
    fields = LocalField(
        make_nodes(SHAPE, (4, 5)), np.stack([make_field(s, drift=(s, -s)).values for s in (1, 6)])
    )
    common = find_warped_common_box(fields, np.zeros((2, 2)), SHAPE)
    whole = find_warped_whole_box(fields, np.zeros((2, 2)), SHAPE)
    for frame in range(2):
        known = np.zeros(whole.shape, bool)
        everything = tuple(slice(0, size) for size in SHAPE)
        warp_part(
            np.zeros(SHAPE), None, everything, SHAPE, fields[frame], np.zeros(2), whole.first,
            "nearest", np.zeros(whole.shape), known,
        )  # fmt: skip
        inside = tuple(
            slice(a - low, b - low)
            for a, b, low in zip(common.first, common.stop, whole.first, strict=True)
        )
        assert known[inside].all()
        around = np.zeros(np.array(whole.shape) + 8, bool)
        first = tuple(low - 4 for low in whole.first)
        warp_part(
            np.zeros(SHAPE), None, everything, SHAPE, fields[frame], np.zeros(2), first,
            "nearest", np.zeros(around.shape), around,
        )  # fmt: skip
        assert around.sum() == known.sum()


def test_what_is_laid_somewhere_is_shown_there():
    field = make_field(size=1.0, drift=(3.0, -5.0))
    places = np.random.default_rng(1).uniform(-4, 70, (40, 2))
    laid = field.lay(places)
    np.testing.assert_allclose(laid - field.at_places(laid), places, atol=1e-5)


def test_where_a_field_folds_no_place_is_reported():
    nodes = make_nodes(SHAPE, (2, 3))
    values = np.zeros((2, 3, 2))
    values[:, 1, 1], values[:, 2, 1] = 120, -120
    laid = LocalField(nodes, values).lay(np.array([[30.0, 20.0], [30.0, 400.0]]))
    assert np.isnan(laid[0]).all()
    np.testing.assert_allclose(laid[1], [30, 280])


def test_the_strongest_bends_are_those_of_polynomials():
    nodes = make_nodes(SHAPE, (5, 6))
    y, x = np.meshgrid(*nodes, indexing="ij")
    values = np.stack([0.002 * y**2, 1e-5 * x**3], axis=-1)  # y moves y, and x moves x
    found = LocalField(nodes, values).find_bends()
    slope_y, slope_x, bend_y, bend_x = 0.004 * 59, 3e-5 * 69**2, 0.004, 6e-5 * 69
    expected = bend_y / (1 - slope_y) ** 3, bend_x / (1 - slope_x) ** 3
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    compressed = LocalField(nodes, -values).find_bends()
    np.testing.assert_allclose(compressed, [bend_y, bend_x], rtol=1e-9)


def test_bends_are_those_of_where_things_are_laid():
    """Second differences of `lay` come up to them, and not beyond, also where axes mix."""
    field, step = make_field(size=1.5, grid=(3, 3)), 0.5
    y, x = np.meshgrid(np.arange(-9, 69, step), np.arange(-9, 79, step), indexing="ij")
    laid = field.lay(np.stack([y, x], -1).reshape(-1, 2)).reshape(*y.shape, 2)
    inside = ((laid >= 0) & (laid <= np.array(SHAPE) - 1)).all(axis=-1, keepdims=True)
    laid = np.where(inside, laid, np.nan)
    seen = [np.nanmax(np.abs(np.diff(laid, 2, axis=axis))) / step**2 for axis in (0, 1)]
    ratios = np.array(seen) / field.find_bends()
    assert ratios.max() < 1.01
    assert ratios.min() > 0.9
