"""The path of an object whose mask is drawn on one frame, in scenes in which it is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from followed_scenes import make_followed_scene
from steadystack.config import make_config
from steadystack.model import InputError
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.survey import follow_object
from steadystack.validity import ArrayMask
from support.members import slow_but


def trace(frames, mask, **sections):
    """The run in windows, and where these lie (frames, axes); NaN where there is none."""
    dims = ("t", "z", "y", "x")[-frames.ndim :] if frames.ndim == 4 else ("t", "y", "x")
    source = ArrayFrames.checked(xr.DataArray(frames, dims=dims))
    given = {"input": {"path": "memory"}, "object": {"mask": "memory"}} | sections
    series = make_series(source, drawn=ArrayMask(mask))
    setup, path = follow_object(set_up(make_config(given), series))
    nothing = (np.nan,) * (frames.ndim - 1)
    return setup, np.array([nothing if place is None else place for place in path.places])


@pytest.mark.parametrize("what", ["object", "ground"])
@pytest.mark.parametrize("seed", slow_but(range(2), range(20)))
def test_the_path_is_found_to_the_pixel(seed, what):
    scene = make_followed_scene(seed)
    _, places = trace(scene.frames, scene.masks[what])
    assert np.abs(places - places[0] - scene.paths[what]).max() < 0.8


def test_it_is_found_before_and_after_the_frame_it_is_drawn_on():
    scene = make_followed_scene(5, count=9)
    _, forward = trace(scene.frames, scene.masks["object"])
    _, back = trace(scene.frames[::-1], scene.masks["object"], solve={"anchor": 8})
    assert np.abs(back[::-1] - forward).max() <= 1


def test_it_leaves_the_picture_and_comes_back():
    scene = make_followed_scene(1, count=8, speed=1)
    mask = scene.masks["object"]
    window = np.zeros_like(scene.frames)  # the picture moves to the side, and back
    for number, off in enumerate((0, 12, 24, 36, 90, 36, 20, 0)):
        window[number, :, : 128 - off] = scene.frames[number, :, off:]
        window[number, :, 128 - off :] = np.random.default_rng(number).normal(size=(128, off))
    frames = window[:, :, :100]
    path = scene.paths["object"] - np.array([(0, o) for o in (0, 12, 24, 36, 90, 36, 20, 0)])
    setup, places = trace(frames, mask[:, :100], register={"max_shift": 20})
    seen = [0, 1, 2, 3, 5, 6, 7]
    assert np.isnan(places[4]).all()
    assert np.abs(places - places[0] - path)[seen].max() < 1
    assert not setup.series.source.read(4).valid.any()


def test_errors_do_not_add_up():
    scene = make_followed_scene(2, count=40, noise=0.6, speed=0.3)
    _, places = trace(scene.frames, scene.masks["object"])
    assert np.abs(places - places[0] - scene.paths["object"]).max() < 0.8


def test_a_volume_is_followed():
    rng = np.random.default_rng(3)
    blob = ndimage.gaussian_filter(rng.normal(size=(8, 16, 16)), 1)
    frames = ndimage.gaussian_filter(rng.normal(size=(12, 48, 48)), 1)[None].repeat(5, axis=0)
    path = np.array([(1, 10, 12), (1, 12, 13), (2, 14, 16), (3, 13, 19), (2, 15, 21)])
    for frame, (z, y, x) in zip(frames, path, strict=True):
        frame[z : z + 8, y : y + 16, x : x + 16] = blob
    mask = np.zeros(frames.shape[1:], bool)
    mask[1:9, 10:26, 12:28] = True
    frames += rng.normal(0, 0.02, frames.shape)
    np.testing.assert_array_equal(trace(frames, mask)[1], path)


def test_a_frame_that_does_not_show_it_cannot_be_drawn_on():
    scene = make_followed_scene(0, count=3)
    scene.frames[0] = np.nan
    with pytest.raises(
        InputError, match="less than 25% of the object's pixels are valid in frame 0"
    ):
        trace(scene.frames, scene.masks["object"])


def test_without_an_object_all_stays_as_it_is():
    source = ArrayFrames.checked(xr.DataArray(np.zeros((3, 32, 32)), dims=("t", "y", "x")))
    setup = set_up(make_config({"input": {"path": "memory"}}), make_series(source))
    assert follow_object(setup) == (setup, None)
