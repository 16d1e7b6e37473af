"""The field of view of a series, looked for before a run."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import steadystack
from steadystack.config import make_config
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.survey import field_search, find_field_of_view
from support.round_field import round_series


def look(frames, mask=None, **sections):
    dims = ("t", "z", "y", "x") if frames.ndim == 4 else ("t", "y", "x")
    source = ArrayFrames.checked(xr.DataArray(frames, dims=dims), mask)
    given = {"input": {"path": "memory"}} | sections
    return find_field_of_view(set_up(make_config(given), make_series(source)))


def paint(found, shape):
    image = np.zeros(shape, bool)
    for box in found.boxes:
        image[tuple(slice(*side) for side in box)] = True
    return image


def test_boxes_are_of_the_pixels_that_show_no_scene():
    frames, _, seen = round_series(2)
    found = look(frames)
    assert found.share == paint(found, seen.shape).mean()
    assert paint(found, seen.shape)[~seen].mean() > 0.9
    assert "shows no scene" in found.describe()


def test_large_frames_are_looked_at_by_boxes_of_pixels(monkeypatch):
    frames, _, seen = round_series(2)
    expected = paint(look(frames), seen.shape).repeat(2, 0).repeat(2, 1)
    large = frames.repeat(2, 1).repeat(2, 2)[:, :, :-1]  # so that a side is no multiple
    monkeypatch.setattr(field_search, "MOST_ALONG", max(seen.shape))
    found = paint(look(large), large[0].shape)
    assert np.mean(found != expected[:, :-1]) < 0.01
    assert found[-1, -1]


def test_of_volumes_boxes_hold_all_planes():
    frames = round_series(2)[0]
    found = look(np.stack([frames, frames + 1], axis=1))
    assert {box[0] for box in found.boxes} == {(0, 2)}
    assert {box[1:] for box in found.boxes} == set(look(frames).boxes)


def test_what_is_masked_is_in_no_box():
    frames, _, seen = round_series(2)
    valid = np.zeros_like(seen)
    valid[4:-4, 4:-4] = True
    image = paint(look(frames, valid), seen.shape)
    assert not image[~valid].any()
    assert image[valid & ~seen].mean() > 0.9


def test_it_is_not_looked_for_unasked_or_in_few_frames():
    frames = round_series(2)[0]
    unasked = make_config({"input": {"path": "memory"}, "mask": {"field_of_view": None}})
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), None)
    assert find_field_of_view(set_up(unasked, make_series(source))) is None
    assert look(frames[:5]) is None
    assert look(frames[:6]) is not None


def padded_volumes(dtype, seed=4):
    """Volumes whose first plane and last two are padding of one value, far from all others."""
    rng = np.random.default_rng(seed)
    scene = ndimage.gaussian_filter(rng.normal(size=(20, 70, 70)), 1.5)
    scene = 1000 + 100 * scene / scene.std()
    steps = np.cumsum(rng.uniform(-0.6, 0.6, (8, 3)), axis=0)
    frames = np.stack([ndimage.shift(scene, -at)[4:15, 10:-10, 10:-10] for at in steps])
    frames += rng.normal(0, 20, frames.shape)
    frames[:, 0] = frames[:, -2:] = 0
    return frames.astype(dtype), steps - steps[0]


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_planes_of_one_value_in_all_volumes_show_no_scene(dtype):
    frames, _ = padded_volumes(dtype)
    found = look(frames)
    assert found.boxes == (((0, 1), (0, 50), (0, 50)), ((9, 11), (0, 50), (0, 50)))
    assert found.share == pytest.approx(3 / 11)
    frames[3, 0, 5, 5] = 7
    assert look(frames).boxes == found.boxes[1:]
    frames[:, 0, 5, 5] = 7
    valid = np.ones(frames.shape[1:], bool)
    valid[:, 5, 5] = False
    assert look(frames, valid).boxes == found.boxes
    assert not look(np.ones_like(frames)).boxes


def test_planes_of_one_value_do_not_hold_shifts_along_z():
    """They stand still, at a step of brightness, and pulled shifts along z by 0.36 px."""
    frames, truth = padded_volumes("f4")
    found = steadystack.estimate_shifts(frames)
    assert np.abs(found.frame_shift.to_numpy() - truth).max() < 0.1
    assert "shows no scene" in found.attrs["verdict_reasons"]
    kept = steadystack.estimate_shifts(frames, field_of_view=None)
    assert np.abs(kept.frame_shift.to_numpy() - truth)[:, 0].max() > 0.3
