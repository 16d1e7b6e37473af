"""The path of an object as a layer: in whole frames, also of volumes and of a region."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import steadystack
from steadystack.outputs import write_image, write_stack
from steadystack.viewing import find_shown
from steadystack.viewing.object_layer import list_positions
from support.members import slow_but
from support.settings import config_of

SHAPE, MIDDLE, RADII = (14, 48, 52), np.array([6, 15, 16]), np.array([4.5, 11, 11])


def make_volumes(seed, count=6):
    """Volumes (t, z, y, x), the object's path in them (t, axes), and its mask in the first."""
    rng = np.random.default_rng(seed)
    scenes = [ndimage.gaussian_filter(rng.normal(size=(26, 80, 84)), (1.2, 2, 2)) for _ in range(2)]
    steps = rng.normal(0, 0.3, (2, count, 3)) + np.array([[[0, 0, 0]], [[0.2, 1.0, 0.8]]])
    ground, path = np.cumsum(steps, axis=1) - steps[:, :1]
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    frames = []
    for shifts in zip(ground, path, strict=True):
        under, over = (
            ndimage.shift(scene / scene.std(), shift, mode="wrap")[6:20, 16:64, 16:68]
            for scene, shift in zip(scenes, shifts, strict=True)
        )
        inside = (((grid - MIDDLE - shifts[1]) / RADII) ** 2).sum(axis=-1) < 1
        frames.append(np.where(inside, over, under) + 0.2 * rng.normal(size=SHAPE))
    mask = (((grid - MIDDLE) / (RADII - [0.5, 1.5, 1.5])) ** 2).sum(axis=-1) < 1
    counts = np.clip(3000 + 400 * np.array(frames), 0, 65535).astype("u2")
    return counts, path, mask


@pytest.mark.parametrize("seed", slow_but([0], range(8)))
def test_an_object_in_a_volume_is_followed_and_its_path_is_a_layer(tmp_path, hurried, seed):
    frames, path, mask = make_volumes(seed)
    write_stack(tmp_path / "stack.zarr", frames, axes="tzyx")
    write_image(tmp_path / "object.zarr", mask)
    config = config_of(
        tmp_path,
        input={"path": "stack.zarr"},
        object={"mask": "object.zarr"},
        output={"shifts": "shifts.zarr"},
    )
    shifts = steadystack.run(config)
    off = (shifts["frame_shift"].to_numpy() + path)[1:]
    assert np.abs(off / shifts["frame_shift_std"].to_numpy()[1:]).max() < 4
    assert np.abs(off).max() < 0.2
    layer = find_shown(config).get("object")
    assert layer.kind == "tracks"
    assert len(layer.scale) == layer.data.shape[1] - 1 == 4
    np.testing.assert_array_equal(layer.data[:, 1], np.arange(len(frames)))
    where = np.argwhere(mask).mean(axis=0) + path
    np.testing.assert_allclose(layer.data[:, 2:], where, atol=0.2)


def test_frames_without_the_object_have_no_point_and_a_region_counts():
    position = np.array([[1.5, 2.0], [np.nan, np.nan], [2.5, 3.0]])
    shifts = xr.Dataset({"object_position": (("frame", "axis"), position)})
    found = list_positions(shifts, (10, 20))
    np.testing.assert_array_equal(found, [[0, 0, 11.5, 22], [0, 2, 12.5, 23]])
    nowhere = xr.Dataset({"object_position": (("frame", "axis"), np.full((3, 2), np.nan))})
    assert len(list_positions(nowhere, (0, 0))) == 0
