"""Frames whose chunks are missing or torn."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import steadystack
from steadystack.model import FrameStatus
from steadystack.readers import ArrayFrames, StackFrames, locate_stack
from support.scenes import rough
from support.stores import chunk_file


def test_missing_chunks_of_a_real_plate(real_data):
    """Level 0 of this image has no chunks: Zarr reads zeros, here nothing is valid."""
    folder = real_data("omezarr_fractal") / "v04"
    path = str(next(folder.glob("*.zarr")))
    lost = StackFrames(locate_stack(path, axes="tzyx")).read(0)
    assert lost.status is FrameStatus.MISSING
    assert not lost.valid.any()
    whole = StackFrames(locate_stack(path, axes="tzyx", level=1)).read(0)
    assert whole.status is FrameStatus.OK
    assert whole.valid.all()
    assert whole.image.std() > 0
    trusted = StackFrames(locate_stack(path, axes="tzyx", missing_chunks="fill")).read(0)
    assert trusted.valid.all()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill_value", [0, 7])
def test_a_missing_chunk_is_not_valid(tmp_path, zarr_format, fill_value):
    data = np.full((3, 8, 10), fill_value, "u2")  # dark, but there
    data[:, 2:6, 2:8] = 50
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 4, 5), dtype="u2",
        zarr_format=zarr_format, fill_value=fill_value, config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = data
    array[2] = fill_value
    chunk_file(tmp_path / "a.zarr", zarr_format, 1, 0, 1).unlink()
    frames = StackFrames(locate_stack(str(tmp_path / "a.zarr")))
    assert frames.read(0).valid.all()
    assert frames.read(2).valid.all()  # all fill value, and stored so
    found = frames.read(1)
    assert found.status is FrameStatus.INCOMPLETE
    assert not found.valid[:4, 5:].any()
    assert found.valid.sum() == 60
    trusted = StackFrames(locate_stack(str(tmp_path / "a.zarr"), missing_chunks="fill")).read(1)
    assert trusted.valid.all()
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(stack.coords["valid"][1], found.valid)
    assert ArrayFrames.checked(stack.isel(t=[0, 1])).read(1).valid.sum() == 60


def test_a_missing_inner_chunk_of_a_shard_is_not_valid(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(2, 8, 8), chunks=(1, 4, 4), shards=(1, 8, 8), dtype="i2"
    )
    array[0] = 1
    array[1, :4] = 1  # the lower inner chunks are never written
    found = StackFrames(locate_stack(str(tmp_path / "a.zarr"))).read(1)
    assert found.status is FrameStatus.INCOMPLETE
    assert found.valid[:4].all()
    assert not found.valid[4:].any()
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(stack.coords["valid"][1], found.valid)


def test_a_missing_chunk_of_an_array_filled_with_nan(tmp_path):
    data = rough(1, (2, 8, 8)).astype("f4")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 4, 8), dtype="f4", fill_value=np.nan
    )
    array[...] = data
    array[0, :4] = np.nan  # measured as unknown, but there
    chunk_file(tmp_path / "a.zarr", 3, 1, 0, 0).unlink()
    frames = StackFrames(locate_stack(str(tmp_path / "a.zarr")))
    assert frames.read(1).status is FrameStatus.INCOMPLETE
    chunk_file(tmp_path / "a.zarr", 3, 1, 1, 0).unlink()
    assert frames.read(1).status is FrameStatus.MISSING


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_truncated_chunk_is_unreadable(tmp_path, zarr_format):
    data = np.arange(3 * 64 * 64, dtype="u4").reshape(3, 64, 64)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=data.shape, chunks=(1, 32, 64), dtype="u4",
        zarr_format=zarr_format,
    )  # fmt: skip
    array[...] = data
    torn = chunk_file(tmp_path / "a.zarr", zarr_format, 1, 1, 0)
    torn.write_bytes(torn.read_bytes()[:40])
    frames = StackFrames(locate_stack(str(tmp_path / "a.zarr")))
    found = frames.read(1)
    assert found.status is FrameStatus.UNREADABLE
    assert not found.valid.any()
    assert frames.read(2).status is FrameStatus.OK
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"))
    with pytest.raises(OSError, match="cannot be decoded"):
        stack.isel(t=1).compute()
    assert ArrayFrames.checked(stack).read(1).status is FrameStatus.UNREADABLE
