"""Regions of a corrected stack: pieces, chunks that frames share, coarser levels."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import steadystack
from steadystack.correction import regions as regions_module
from steadystack.outputs import write_stack
from support.corrected import SIZE, frames_of, made, shifts_of
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
