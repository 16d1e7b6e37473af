"""The pictures of frames in a movie: binned, moved, black where nothing is known."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from steadystack.movie import panels
from steadystack.movie.panels import (
    DARKEST,
    PanelWork,
    _read_binned,
    _scale_motion,
    choose_bins,
    choose_enlargement,
    draw_panels,
    estimate_panel_bytes,
    sample_values,
)
from steadystack.readers import ArrayFrames
from steadystack.warp import LocalField, make_nodes, warp
from support.scenes import Scene
from support.turning import turn_volume


def work_of(frames, shift, *, bins, mask=None, linear=None, enlarged=1, interpolation="cubic"):
    dims = ["t", "z", "y", "x"][-4:] if frames.ndim == 4 else ["t", "y", "x"]
    source = ArrayFrames.checked(xr.DataArray(frames, dims=dims), mask)
    return PanelWork(source, np.asarray(shift, float), linear, bins, enlarged, interpolation)


@pytest.mark.parametrize(
    ("shape", "bins"),
    [
        ((512, 512), (1, 1)),
        ((513, 64), (2, 2)),
        ((2048, 2048), (4, 4)),
        ((3, 4000), (3, 8)),
        ((70, 600, 600), (3, 2, 2)),
    ],
)
def test_frames_are_binned_to_512_pixels(shape, bins):
    assert choose_bins(shape) == bins
    assert max(size // step for size, step in zip(shape[-2:], bins[-2:], strict=True)) <= 512


def test_pixels_of_a_bin_are_averaged_and_what_is_masked_is_black(monkeypatch):
    monkeypatch.setattr(panels, "READ_PIXELS", 30)  # several slabs
    frames = np.random.default_rng(0).uniform(0, 100, (1, 14, 9)).astype("f4")
    frames[0, 5, 5] = np.nan
    mask = np.ones((14, 9), bool)
    mask[0:2, 0:2] = False
    mask[4, 4] = mask[3, 3] = False  # of two bins, a half and a quarter
    work = work_of(frames, [[0, 0]], bins=(2, 2), mask=mask)
    known = np.where(mask & np.isfinite(frames[0]), frames[0], np.nan)[:, :8]
    values = known.reshape(7, 2, 4, 2).transpose(0, 2, 1, 3).reshape(28, 4)
    means = np.array([v[np.isfinite(v)].mean() if np.isfinite(v).any() else 0 for v in values])
    drawn = draw_panels(0, work, 0.0, 100.0)
    expected = np.rint(DARKEST + (255 - DARKEST) * means.reshape(7, 4) / 100)
    expected[0, 0] = 0
    np.testing.assert_array_equal(drawn[0], expected)
    np.testing.assert_array_equal(drawn[1], drawn[0])
    assert sample_values(0, work).size == 27


def test_a_frame_without_a_shift_is_not_shown_steady():
    frames = np.full((2, 8, 8), 7, "u2")
    work = work_of(frames, [[0, 0], [np.nan, np.nan]], bins=(1, 1), enlarged=3)
    drawn = draw_panels(1, work, 0, 14)
    assert drawn.shape == (2, 24, 24)
    assert (drawn[0] > DARKEST).all()
    assert not drawn[1].any()


def test_binned_frames_that_turn_fall_on_each_other():
    """Frames whose sides are no multiples of the bins: the middles of both are not the same."""
    world, size = Scene(4, detail=9.0), (131, 150)
    middle = (np.array(size) - 1) / 2
    angle, shift = 0.07, np.array([5.3, -4.1])
    linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    grid = np.moveaxis(np.indices(size).astype(float), 0, -1)
    still = world.look(grid)
    moving = world.look((grid - middle) @ linear.T + middle + shift)  # undone by the motion
    frames = np.stack([still, moving])
    work = work_of(frames, [[0, 0], shift], bins=(4, 4), linear=np.stack([np.eye(2), linear]))
    first, second = (draw_panels(frame, work, -3, 3)[1].astype(float) for frame in (0, 1))
    shown = ndimage.binary_erosion(second > 0, iterations=2)
    assert shown.mean() > 0.6
    unmoved = draw_panels(1, work, -3, 3)[0].astype(float)
    assert np.abs(second - first)[shown].mean() < 2.5
    assert np.abs(unmoved - first)[shown].mean() > 10


def test_binned_volumes_that_turn_fall_on_each_other():
    world, size = Scene(6, ndim=3, detail=6.0, waves=80), (23, 66, 75)
    middle, linear = (np.array(size) - 1) / 2, turn_volume([4, -5, 6], 1.02)
    shift = np.array([1.3, 5.3, -4.1])
    grid = np.moveaxis(np.indices(size).astype(float), 0, -1)
    moving = world.look((grid - middle) @ linear.T + middle + shift)  # undone by the motion
    frames = np.stack([world.look(grid), moving])
    motions = np.stack([np.eye(3), linear])
    work = work_of(frames, [[0, 0, 0], shift], bins=(2, 2, 2), linear=motions)
    still = _read_binned(0, work)[0]
    moved, known = warp(*_read_binned(1, work), *_scale_motion(1, work)[::-1], "cubic")
    shown = ndimage.binary_erosion(known, iterations=2)
    assert shown.mean() > 0.2
    assert np.abs(moved - still)[shown].mean() < 0.03
    assert np.abs(_read_binned(1, work)[0] - still)[shown].mean() > 0.3


def test_a_volume_is_its_mean_along_z():
    rng = np.random.default_rng(1)
    frames = rng.uniform(0, 100, (1, 6, 10, 12))
    mask = np.ones((6, 10, 12), bool)
    mask[:4, 3, 3], mask[:, 5, 5] = False, False
    work = work_of(frames, [[2, 0, 0]], bins=(1, 1, 1), mask=mask, interpolation="nearest")
    drawn = draw_panels(0, work, 0.0, 100.0)
    for picture, planes in zip(drawn, (slice(None), slice(0, 4)), strict=True):
        values, known = frames[0, planes], mask[planes]
        count = known.sum(axis=0)
        mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
        expected = np.where(count > 0, np.rint(DARKEST + (255 - DARKEST) * mean / 100), 0)
        np.testing.assert_array_equal(picture, expected)


def test_local_shifts_of_bins_are_those_of_their_pixels():
    nodes = make_nodes((64, 96), (3, 4))
    values = np.random.default_rng(2).normal(size=(2, 3, 4, 2))
    field = LocalField(nodes, values)
    source = SimpleNamespace(frame_shape=(64, 96))
    work = PanelWork(source, np.zeros((2, 2)), field, (4, 4), 1, "cubic")
    _, binned = _scale_motion(1, work)
    place = np.array([[5.0, 11.0]])
    in_pixels = 4 * place + 1.5  # the centre of that bin
    np.testing.assert_allclose(4 * binned.at_places(place), field[1].at_places(in_pixels))


NODES = (np.array([0.0, 100.0, 200.0]), np.array([0.0, 150.0, 250.0]))
MOTIONS = {
    "shift": None,
    "turned": turn_volume([2, 3, -2], 1.01)[None],
    "linear": 1.01 * np.eye(2)[None],
    "local": LocalField(NODES, np.full((1, 3, 3, 2), 1.3)),
}


@pytest.mark.parametrize(
    ("shape", "dtype", "motion"),
    [
        ((260, 300), "u2", "shift"),
        ((40, 44), "f4", "linear"),
        ((260, 300), "u2", "linear"),
        ((260, 300), "f4", "local"),
        ((1040, 1100), "u2", "shift"),
        ((2100, 2000), "f4", "linear"),
        ((40, 200, 220), "u2", "shift"),
        ((16, 60, 70), "u2", "turned"),
        ((24, 150, 160), "f4", "turned"),
    ],
)
def test_the_memory_of_a_task_is_as_forecast(shape, dtype, motion, monkeypatch):
    monkeypatch.setattr(panels, "READ_PIXELS", 2**20)
    pixels = np.random.default_rng(0).integers(0, 200, (1, *shape)).astype(dtype)
    bins = choose_bins(shape)
    small = [size // step for size, step in zip(shape, bins, strict=True)]
    shift = np.full((1, len(shape)), 1.3)
    linear, enlarged = MOTIONS[motion], choose_enlargement(small)
    work = work_of(pixels, shift, bins=bins, linear=linear, enlarged=enlarged)
    draw_panels(0, work, 0, 200)  # what is set up once is not of the task
    tracemalloc.start()
    draw_panels(0, work, 0, 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = estimate_panel_bytes(shape, pixels.dtype.itemsize, 0, only_shifts=motion == "shift")
    assert 0.5 * planned < peak < 1.05 * planned
