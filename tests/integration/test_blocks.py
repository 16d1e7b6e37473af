"""Frames that are measured in blocks: the same as in one piece, wherever the blocks are."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import steadystack
from steadystack.measure import measure_pairs, prepare_block, read_camera_images
from steadystack.measure.method import read_common_mask
from steadystack.model import FRAME_FIELDS, PAIR_RESULTS, FrameStatus, PairTable
from steadystack.ncc import tiles
from steadystack.outputs import write_image
from steadystack.planning import make_plan, open_series, set_up
from steadystack.readers import masks
from support.members import slow_but
from support.scenes import Scene, ellipse
from support.settings import config_of

SIZE = (100, 150)
ORIGINS = np.array([[0, 0], [1.3, -2.2], [3.1, 1.4], [2.2, 4.3], [-1.5, 3.4]])


@pytest.fixture(scope="module")
def frames():
    scene = Scene(4)
    rng = np.random.default_rng(4)
    views = [scene.view(SIZE, origin) + rng.normal(0, 0.1, SIZE) for origin in ORIGINS]
    stack = np.stack(views).astype("f4")
    stack[2, 20:30, 90:140] = np.nan
    stack[4] = 7  # flat
    return stack


def settings(folder, frames, **sections):
    stack = zarr.create_array(
        folder / "stack.zarr", shape=frames.shape, chunks=(1, 50, 64), dtype="f4"
    )
    stack[:] = frames
    write_image(folder / "mask.zarr", ellipse(SIZE, 0.96))
    usual = {
        "mask": {"path": "mask.zarr"},
        "register": {"max_shift": 8},
        "pairs": {"strategy": "all"},
    }
    return config_of(folder, **usual | sections)


def measured(setup, client=None):
    source = setup.series.source
    table = PairTable.unmeasured(setup.pairs, source.frame_count, 2)
    *_, (table, done) = measure_pairs(source, table, setup.method, setup.size, client=client)
    assert done == len(setup.pairs)
    return table


PREPROCESS = [{}, {"high_pass": 6.0}, {"flat_field": "flat.zarr"}]


@pytest.mark.parametrize("preprocess", slow_but([{"high_pass": 6.0}], PREPROCESS))
def test_blocks_give_what_whole_frames_give(tmp_path, frames, monkeypatch, client, preprocess):
    flat = 2 + np.linspace(0, 1, SIZE[0])[:, None] + np.linspace(0, 0.5, SIZE[1])
    write_image(tmp_path / "flat.zarr", flat)
    config = settings(tmp_path, frames, preprocess=preprocess)
    whole = measured(set_up(config, open_series(config)[0]))
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 6000)
    monkeypatch.setattr(masks, "MAX_KEPT_PIXELS", 0)  # and masks are read in parts
    setup = set_up(config, open_series(config)[0])
    assert make_plan(setup).blocks > 4
    parts = measured(setup)
    np.testing.assert_array_equal(parts.status, whole.status)
    np.testing.assert_array_equal(parts.frame_read_status, whole.frame_read_status)
    assert FrameStatus.FLAT.code in parts.frame_read_status
    assert parts.ok.sum() == 6
    np.testing.assert_allclose(parts.shift, whole.shift, atol=2e-4)
    np.testing.assert_allclose(parts.ncc, whole.ncc, atol=1e-5)
    np.testing.assert_allclose(parts.shift_std, whole.shift_std, rtol=0.01)

    there = measured(setup, client)
    for name in (*(column.field for column in PAIR_RESULTS), *FRAME_FIELDS):
        np.testing.assert_array_equal(getattr(there, name), getattr(parts, name), err_msg=name)


def blocks_of_frame(setup, frame):
    """(where it lies in the frame, its valid pixels, its values and NaN) of every block."""
    source, method = setup.series.source, setup.method
    for block in range(len(method.search.blocks)):
        stills = read_camera_images(method, source.frame_shape, block)
        common = read_common_mask(source, block, method)
        image, _ = prepare_block(source, frame, block, method, stills, [common])
        valid = image.mask.pixels
        values = image.level.offset + image.level.scale * image.values.astype(float)
        yield method.part(block)[0], valid, np.where(valid, values, np.nan)


@pytest.mark.parametrize("preprocess", slow_but(PREPROCESS[:1], PREPROCESS))
def test_a_block_holds_what_the_whole_frame_holds_there(tmp_path, frames, monkeypatch, preprocess):
    """On a steep slope, which shows the least that a block does not know of its surroundings."""
    along = [np.linspace(-1, 1, size) for size in SIZE]
    slope = 40 * along[0][:, None] - 25 * along[1]
    write_image(tmp_path / "flat.zarr", 2 + along[0][:, None] / 2 + along[1] / 4)
    config = settings(tmp_path, frames[:3] + slope, preprocess=preprocess)
    whole = np.full(SIZE, np.nan)
    [(where, _, values)] = blocks_of_frame(set_up(config, open_series(config)[0]), 1)
    whole[where] = values
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 6000)
    setup = set_up(config, open_series(config)[0])
    assert make_plan(setup).blocks > 4
    for where, valid, values in blocks_of_frame(setup, 1):
        np.testing.assert_array_equal(np.isfinite(whole[where]), valid)
        np.testing.assert_allclose(values, whole[where], rtol=0, atol=1e-6 * np.ptp(slope))


def test_a_block_that_cannot_be_read_makes_its_frame_unreadable(tmp_path, frames, monkeypatch):
    config = settings(tmp_path, frames)
    chunk = next((tmp_path / "stack.zarr").rglob("c/1/1/1"))
    chunk.write_bytes(b"nonsense")
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 6000)
    setup = set_up(config, open_series(config)[0])
    assert make_plan(setup).blocks > 4
    table = measured(setup)
    assert table.frame_read_status[1] == FrameStatus.UNREADABLE.code
    assert not table.ok[(table.reference == 1) | (table.moving == 1)].any()
    assert table.ok.sum() == 3


def test_a_missing_chunk_leaves_a_frame_of_blocks_incomplete(tmp_path, frames, monkeypatch):
    config = settings(tmp_path, frames)
    next((tmp_path / "stack.zarr").rglob("c/1/1/1")).unlink()
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 6000)
    setup = set_up(config, open_series(config)[0])
    assert make_plan(setup).blocks > 4
    table = measured(setup)
    assert table.frame_read_status[1] == FrameStatus.INCOMPLETE.code
    assert table.ok.sum() == 6


def test_a_whole_run_in_blocks(tmp_path, frames, monkeypatch):
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 6000)
    config = settings(tmp_path, frames, output={"shifts": "out.zarr", "report": "out.png"})
    assert steadystack.stages.plan(config).blocks > 4
    shifts = steadystack.run(config)
    expected = ORIGINS[:4] - ORIGINS[0]
    np.testing.assert_allclose(shifts["frame_shift"][:4], expected, atol=0.05)
