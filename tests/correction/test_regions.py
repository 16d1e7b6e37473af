"""Regions of a corrected stack: pieces, chunks that frames share, coarser levels."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

import steadystack
from steadystack.config import CorrectSection
from steadystack.correction import plan_corrected, write_corrected
from steadystack.correction import regions as regions_module
from steadystack.outputs import write_stack
from steadystack.readers import locate_stack
from steadystack.validity import ArrayMask, Validity
from steadystack.warp import filling
from support.corrected import SIZE, TRUTH, frames_of, made, shifts_of
from support.scenes import Scene


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


def test_frames_and_channels_that_share_chunks_in_any_order_of_axes(frames, tmp_path):
    stack = np.stack([frames, frames // 2], axis=-1)  # t y x c
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=stack.shape, chunks=(4, 30, 80, 2), dtype="u2",
        dimension_names=list("tyxc"), config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = stack
    _, group = made(tmp_path / "b.zarr", tmp_path / "a.zarr", interpolation="cubic")
    assert group["0"].chunks == (4, 2, 30, 80)
    for channel in range(2):
        expected = steadystack.correct(stack[..., channel], shifts_of(), interpolation="cubic")
        np.testing.assert_array_equal(group["0"][:, channel], expected.values)


def test_large_frames_go_by_pieces_that_read_what_they_need(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    stack = rng.integers(0, 60000, (2, 512, 300)).astype("u2")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=stack.shape, chunks=(1, 32, 32), dtype="u2",
        dimension_names=list("tyx"), config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = stack
    read, asked = regions_module.read_block, []

    def counting(spec, frames, channels, part):
        asked.append([side.stop - side.start for side in part])
        return read(spec, frames, channels, part)

    monkeypatch.setattr(regions_module, "read_block", counting)
    shifts = shifts_of(np.array([[0, 0], [20.4, -8.5]]))
    made_of, group = made(
        tmp_path / "b.zarr", tmp_path / "a.zarr", shifts, memory=25 * 2**20, levels=4,
        interpolation="cubic",
    )  # fmt: skip
    assert made_of.tasks > 2 * len(stack)
    assert max(sides[0] for sides in asked) < 300
    assert sum(np.prod(sides) for sides in asked) < 3 * stack.size
    one, whole = made(tmp_path / "c.zarr", tmp_path / "a.zarr", shifts, levels=4,
                      interpolation="cubic")  # fmt: skip
    assert one.tasks == 2
    np.testing.assert_array_equal(group["valid"][:], whole["valid"][:])
    for name in "0123":  # sums in single precision depend on where blocks begin
        differ = group[name][:].astype(int) - whole[name][:]
        assert np.abs(differ).max() <= 1
        assert (differ != 0).mean() < 0.01


def test_what_fills_in_a_mask_is_found_once_wherever_frames_move(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    mask = np.indices(SIZE)[0] < 40
    filling._find_holes.cache_clear()
    shifts = shifts_of(np.arange(len(frames))[:, None] * [4.3, -3.7])
    made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts, interpolation="cubic",
         validity=Validity((ArrayMask(mask),)))  # fmt: skip
    assert filling._find_holes.cache_info().misses == 1


def test_coarser_levels_are_means_of_what_is_known(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    _, group = made(tmp_path / "a.zarr", tmp_path / "stack.zarr", levels=3, fill_value=7)
    fine, valid = group["0"][:].astype(float), group["valid"][:]
    fine[~valid] = np.nan
    for name, factor in (("1", 2), ("2", 4)):
        blocks = fine.reshape(len(fine), SIZE[0] // factor, factor, SIZE[1] // factor, factor)
        known = np.isfinite(blocks).any(axis=(2, 4))
        coarse = group[name][:]
        assert (coarse[~known] == 7).all()
        with np.errstate(invalid="ignore"):
            mean = np.nansum(blocks, axis=(2, 4)) / np.isfinite(blocks).sum(axis=(2, 4))
        full = np.isfinite(blocks).all(axis=(2, 4))
        assert np.abs(coarse - mean)[full].max() <= 1
        assert (np.abs(coarse - mean)[known] < 3000).all()  # no fill value is in it


@pytest.mark.parametrize("border", ["same", "crop", "expand"])
def test_offsets_of_channels_are_taken_off_where_frames_move_locally(frames, tmp_path, border):
    """A channel is moved as a series whose local shifts have its offset in them."""
    offsets, count = np.array([[0, 0], [2.3, -1.6]]), len(frames)
    nodes = {"node_y": [0.0, 30.0, 71.0], "node_x": [0.0, 50.0, 79.0]}
    local = np.random.default_rng(2).normal(0, 0.5, (count, 3, 3, 2))
    dims = ("frame", "node_y", "node_x", "axis")

    def moving_by(offset):
        shifts = shifts_of(TRUTH + offset)
        values = shifts["frame_shift"].to_numpy()[:, None, None] + local
        return shifts.assign_coords(nodes).assign(frame_local_shift=(dims, values))

    shifts = moving_by(0).assign(channel_offset=(("channel", "axis"), offsets))
    stack = xr.DataArray(np.stack([frames, frames], axis=1), dims=tuple("tcyx"))
    lazy = steadystack.correct(stack, shifts.assign_coords(channel=["0", "1"]), border=border)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=stack.shape, chunks=(1, 1, 30, 40), dtype="u2",
        dimension_names=list("tcyx"), config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = stack
    corrected = plan_corrected(
        str(tmp_path / "b.zarr"), locate_stack(str(tmp_path / "a.zarr"), channel=[0, 1]), shifts,
        CorrectSection(border=border), Validity(), None, 2**29,
    )  # fmt: skip
    write_corrected(corrected, None)
    found = zarr.open_group(tmp_path / "b.zarr", mode="r")["0"][:]
    box = corrected.work.box
    for channel, offset in enumerate(offsets):
        alone = steadystack.correct(frames, moving_by(offset), border="expand")
        y, x = (alone[axis].to_numpy() for axis in "yx")
        places = np.ix_(
            np.arange(box.first[0], box.stop[0]) - int(y[0]),
            np.arange(box.first[1], box.stop[1]) - int(x[0]),
        )
        for images in (found, lazy.to_numpy()):
            if border == "crop":
                assert (images[:, channel] > 0).all()
            inside = [(p >= 0) & (p < s) for p, s in zip(places, alone.shape[1:], strict=True)]
            shown = np.broadcast_to(inside[0] & inside[1], box.shape)
            rows, columns = (
                np.clip(p, 0, s - 1) for p, s in zip(places, alone.shape[1:], strict=True)
            )
            expected = np.where(shown, alone.to_numpy()[:, rows, columns], 0)
            assert np.abs(images[:, channel].astype(int) - expected).max() <= 1
