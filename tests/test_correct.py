"""Corrected stacks on disk: pixels, metadata, pyramids, pieces, and what goes wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from click.testing import CliRunner

import steadystack
from helpers import Scene
from steadystack import stages
from steadystack.cli import main
from steadystack.conditioning import Conditioning
from steadystack.config import CorrectSection, make_config
from steadystack.correction import Invalid, before_and_after, lay_out, write_corrected
from steadystack.correction import regions as regions_module
from steadystack.correction import writing as stack_module
from steadystack.correction.chunks import Cut, levels, on_level, regions, valid_level
from steadystack.dataset import load_shifts
from steadystack.durable import files as files_module
from steadystack.model import FrameStatus, OutputError
from steadystack.outputs import TaskRecord, digest_at, write_image, write_stack
from steadystack.readers import ArrayFrames, locate

SIZE = (72, 80)
TRUTH = np.array([[0, 0], [2.4, -1.2], [-1.5, 0.5], [3.3, 4.1], [1.0, 2.0], [-2.2, -3.7]])
MEMORY = 2**29


def frames_of(world: Scene) -> np.ndarray:
    return np.stack([20000 + 3000 * world.view(SIZE, o) for o in TRUTH]).astype("u2")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


def shifts_of(values: np.ndarray = TRUTH, **columns: list[int]) -> xr.Dataset:
    count = len(values)
    ok = [FrameStatus.OK.code] * count
    given = {"component": [0] * count, "frame_status": ok} | columns
    return xr.Dataset(
        {
            "shift": (("frame", "axis"), values),
            **{name: ("frame", column) for name, column in given.items()},
        },
        {"axis": ["z", "y", "x"][-values.shape[1] :]},
    )


def made(path: Path, source: Path, shifts: xr.Dataset | None = None, memory=MEMORY, **how):
    """A corrected stack of a stack, in this process."""
    client, invalid = how.pop("client", None), how.pop("invalid", Invalid())
    again = how.pop("overwrite", False)
    stack = lay_out(
        str(path), locate(str(source), channel=0), shifts_of() if shifts is None else shifts,
        CorrectSection(**how), invalid, memory,
    )  # fmt: skip
    write_corrected(stack, client, overwrite=again)
    return stack, zarr.open_group(path, mode="r")


def run_of(folder: Path, **sections):
    given = {
        "input": {"path": str(folder / "stack.zarr")},
        "register": {"max_shift": 12},
        "output": {
            "shifts": str(folder / "shifts.zarr"),
            "corrected": str(folder / "steady.ome.zarr"),
        },
        "cluster": {"kind": "in-process"},
    }
    return make_config({**given, **sections})


@pytest.mark.parametrize("interpolation", ["cubic", "fourier"])
@pytest.mark.parametrize("border", ["keep", "crop", "expand"])
def test_corrected_and_measured_again_nothing_is_left(frames, tmp_path, interpolation, border):
    write_stack(tmp_path / "stack.zarr", frames)
    config = run_of(tmp_path, correct={"interpolation": interpolation, "border": border})
    shifts = stages.run(config)
    steady = steadystack.open_stack(config.output.corrected)
    valid = zarr.open_group(config.output.corrected, mode="r")["valid"][:]
    again = steadystack.estimate_shifts(steady, mask=valid, max_shift=8)
    assert np.abs(shifts["shift"] - TRUTH).max() < 0.02
    assert np.abs(again["shift"]).max() < 0.05
    if border == "crop":
        assert valid.all()
    if border == "expand":
        assert (valid.sum(axis=(1, 2)) == np.prod(SIZE)).all()


@pytest.mark.parametrize("interpolation", ["whole", "linear", "cubic", "fourier"])
@pytest.mark.parametrize("border", ["keep", "crop", "expand"])
def test_the_store_holds_what_the_lazy_array_does(frames, tmp_path, interpolation, border):
    write_stack(tmp_path / "stack.zarr", frames, pixel_size=(0.5, 0.25))
    _, group = made(
        tmp_path / "a.zarr", tmp_path / "stack.zarr", interpolation=interpolation, border=border
    )
    lazy = steadystack.correct(frames, shifts_of(), interpolation=interpolation, border=border)
    np.testing.assert_array_equal(group["0"][:], lazy.values)
    opened = steadystack.correct(
        steadystack.open_stack(str(tmp_path / "stack.zarr")), shifts_of(), border=border
    )
    first = {"keep": 0, "crop": 4, "expand": -4}[border]
    assert float(opened["x"][0]) == 0.25 * first


def test_a_frame_with_an_invalid_area_keeps_exactly_that_moved(frames, tmp_path):
    hole = np.ones(SIZE, bool)
    hole[20:33, 30:41] = hole[50, 60] = False
    pixels = np.where(hole, frames, 0)
    pixels[:, 50, 60] = 65535
    write_stack(tmp_path / "stack.zarr", pixels)
    write_image(tmp_path / "mask.zarr", hole)
    config = run_of(
        tmp_path,
        mask={"path": str(tmp_path / "mask.zarr")},
        correct={"interpolation": "cubic", "border": "expand"},
    )
    shifts = stages.run(config)
    group = zarr.open_group(config.output.corrected, mode="r")
    about = dict(group.attrs)["steadystack"]["box"]
    whole = np.floor(shifts["shift"].to_numpy() + 0.5).astype(int)
    for frame in range(len(frames)):
        y, x = whole[frame] - about["first"]
        expected = np.zeros(about["shape"], bool)
        expected[y : y + SIZE[0], x : x + SIZE[1]] = hole
        np.testing.assert_array_equal(group["valid"][frame], expected)
        known = group["0"][frame][expected]
        assert 5000 < known.min() < known.max() < 35000
        assert (group["0"][frame][~expected] == 0).all()
    assert group["valid_fraction"][0] == pytest.approx(hole.sum() / np.prod(about["shape"]))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("sharded", [False, True])
def test_all_channels_and_planes_with_their_metadata(frames, tmp_path, version, sharded):
    if version == "0.4" and sharded:
        pytest.skip("OME-Zarr 0.4 knows no shards")
    planes = np.stack([frames, frames // 2, 65535 - frames], axis=1)[:, None]
    planes = np.concatenate([planes, planes // 3], axis=1)  # t c z y x
    source = tmp_path / "stack.ome.zarr"
    group = zarr.create_group(source, zarr_format=2 if version == "0.4" else 3)
    array = group.create_array(
        "full", shape=planes.shape, chunks=(1, 1, 1, 36, 40), dtype="u2",
        shards=(1, 1, 1, 72, 80) if sharded else None,
        config={"write_empty_chunks": True},
        dimension_names=list("tczyx") if version == "0.5" else None,
    )  # fmt: skip
    array[:] = planes
    units = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        *({"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"),
    ]
    steps = [
        {"type": "scale", "scale": [2.0, 1.0, 3.0, 0.5, 0.5]},
        {"type": "translation", "translation": [0.0, 0.0, 6.0, 10.0, 20.0]},
    ]
    level = {"path": "full", "coordinateTransformations": steps}
    multiscale = {"name": "cells", "axes": units, "datasets": [level]}
    omero = {
        "channels": [
            {"label": name, "color": colour, "window": {"start": 0, "end": 9, "min": 0, "max": 99}}
            for name, colour in (("DAPI", "0000FF"), ("GFP", "00FF00"))
        ]
    }
    if version == "0.4":
        multiscale["version"] = "0.4"
        group.attrs.update({"multiscales": [multiscale], "omero": omero})
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], "omero": omero}

    # Shifts were measured on a projection: planes are moved alike.
    target = tmp_path / "steady.ome.zarr"
    _, result = made(target, source, border="crop", levels=2)
    attributes = dict(result.attrs)
    ome = attributes.get("ome", attributes)
    assert ome["omero"] == omero
    assert ome["multiscales"][0]["axes"] == units
    own = ome["multiscales"][0]["datasets"]
    assert own[0]["coordinateTransformations"][0]["scale"] == [2.0, 1.0, 3.0, 0.5, 0.5]
    first = [10 + 3 * 0.5, 20 + 4 * 0.5]
    assert own[0]["coordinateTransformations"][1]["translation"] == [0, 0, 6, *first]
    assert own[1]["coordinateTransformations"][0]["scale"] == [2.0, 1.0, 3.0, 1.0, 1.0]
    assert own[1]["coordinateTransformations"][1]["translation"] == [
        0, 0, 6, first[0] + 0.25, first[1] + 0.25,
    ]  # fmt: skip
    assert result["0"].metadata.zarr_format == array.metadata.zarr_format
    assert result["0"].chunks == array.chunks
    assert result["0"].compressors == array.compressors
    assert (result["0"].shards is not None) == sharded
    for channel, plane in product(range(2), range(3)):
        expected = steadystack.correct(planes[:, channel, plane], shifts_of(), border="crop")
        np.testing.assert_array_equal(result["0"][:, channel, plane], expected.values)
    spec = locate(str(target), channel="GFP")
    assert (spec.pixel_size, spec.unit) == ((3.0, 0.5, 0.5), "micrometer")
    _opens_elsewhere(target, result["0"][:], (2.0, 1.0, 3.0, 0.5, 0.5))


@pytest.mark.filterwarnings("ignore")  # what other libraries warn of
def _opens_elsewhere(path: Path, pixels: np.ndarray, scale: tuple[float, ...]) -> None:
    """As ome-zarr-py and ngff-zarr read it: axes, scale, pixels of both levels."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ngff_zarr
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader

        (node,) = [n for n in Reader(parse_url(str(path)))() if n.data]
        np.testing.assert_array_equal(np.asarray(node.data[0]), pixels)
        assert [axis["name"] for axis in node.metadata["axes"]] == list("tczyx")
        found = node.metadata["coordinateTransformations"][0][0]["scale"]
        assert tuple(found) == scale
        assert len(node.data) == 2
        images = ngff_zarr.from_ngff_zarr(str(path)).images
        assert tuple(images[0].dims) == tuple("tczyx")
        assert tuple(images[0].scale[axis] for axis in "tczyx") == scale
        np.testing.assert_array_equal(np.asarray(images[0].data), pixels)
        assert images[1].scale["x"] == 2 * scale[-1]


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


@pytest.mark.parametrize("seed", range(12))
def test_every_chunk_of_every_level_lies_in_one_task(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 9)), 2, *map(int, rng.integers(200, 3000, 2)))
    chunks = (int(rng.integers(1, 4)), 1, *map(int, rng.choice([64, 100, 128, 250], 2)))
    shards = None if seed % 2 else (*chunks[:2], 2 * chunks[2], 3 * chunks[3])
    cut = Cut(tuple("tcyx"), shape, 2, chunks, shards, chunks, "cubic", True)
    laid = regions(cut, (40 + 60 * (seed % 3)) * 2**20)
    for level in (*levels(cut, laid, None), valid_level(cut, laid)):
        written = np.zeros(level.shape, np.uint8)
        unit = level.shards or level.chunks
        for number in range(len(laid)):
            region = on_level(laid.at(number), level)
            written[region] += 1
            for side, piece, size in zip(region, unit, level.shape, strict=True):
                assert side.start % piece == 0
                assert side.stop % piece == 0 or side.stop == size
        assert (written == 1).all()
        if level.shards:
            assert not any(a % b for a, b in zip(level.shards, level.chunks, strict=True))


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


def test_labels_of_the_same_frames_stay_labels(frames, tmp_path):
    labels = np.zeros(frames.shape, "i4")
    for frame, (y, x) in enumerate(np.round(-TRUTH).astype(int)):
        labels[frame, 30 + y : 40 + y, 30 + x : 45 + x] = 70001
    write_stack(tmp_path / "stack.zarr", frames)
    write_stack(tmp_path / "labels.zarr", labels)
    config = run_of(
        tmp_path,
        correct={
            "stack": str(tmp_path / "labels.zarr"),
            "labels": True,
            "levels": 2,
            "interpolation": "cubic",
        },
        mask={"invalid_values": [0]},  # of the stack that is measured
    )
    stages.run(config)
    group = zarr.open_group(config.output.corrected, mode="r")
    assert set(np.unique(group["0"][:])) == {0, 70001}
    assert set(np.unique(group["1"][:])) == {0, 70001}
    inside = group["0"][:, 31:39, 31:44]
    assert (inside == 70001).all()
    assert group["0"].dtype == np.int32
    assert group["valid"][0].all()

    write_stack(tmp_path / "labels.zarr", labels[:4])
    with pytest.raises(steadystack.InputError, match=r"correct.stack: .*as many and as large"):
        stages.correct(config)


@pytest.mark.parametrize("interpolated", ["moved", "left", "blank"])
@pytest.mark.parametrize("unusable", ["left", "blank"])
def test_frames_without_a_shift_of_their_own(frames, tmp_path, interpolated, unusable):
    values = TRUTH.copy()
    values[3] = np.nan
    status = [FrameStatus.OK.code] * len(TRUTH)
    status[1], status[3] = FrameStatus.INTERPOLATED.code, FrameStatus.UNCONNECTED.code
    shifts = shifts_of(values, frame_status=status, component=[0, 0, 0, -1, 0, 1])
    write_stack(tmp_path / "stack.zarr", frames)
    how = {"interpolated": interpolated, "unusable": unusable, "interpolation": "whole"}
    _, group = made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts, **how)
    found = group["0"][:]
    moved = steadystack.correct(frames, shifts_of(), interpolation="whole").values
    np.testing.assert_array_equal(found[[0, 2, 4]], moved[[0, 2, 4]])
    wanted = {"moved": moved[1], "left": frames[1], "blank": 0 * frames[1]}[interpolated]
    np.testing.assert_array_equal(found[1], wanted)
    for frame in (3, 5):
        np.testing.assert_array_equal(found[frame], frames[frame] * (unusable == "left"))
    lazy = steadystack.correct(frames, shifts, **how)
    np.testing.assert_array_equal(found, lazy.values)


def test_what_cannot_be_read_is_not_known(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    (tmp_path / "stack.zarr/0/c/2/0/0").write_bytes(b"torn")
    (tmp_path / "stack.zarr/0/c/4/0/0").unlink()
    _, group = made(tmp_path / "a.zarr", tmp_path / "stack.zarr")
    assert group["valid"][:].any(axis=(1, 2)).tolist() == [True, True, False, True, False, True]
    assert group["valid_fraction"][:].tolist()[2::2] == [0, 0]


def test_a_cluster_writes_the_same(frames, tmp_path, client):
    write_stack(tmp_path / "stack.zarr", frames)
    _, here = made(tmp_path / "a.zarr", tmp_path / "stack.zarr", levels=2)
    _, there = made(tmp_path / "b.zarr", tmp_path / "stack.zarr", levels=2, client=client)
    for name in ("0", "1", "valid", "valid_fraction"):
        np.testing.assert_array_equal(here[name][:], there[name][:])


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from test_correct import made
    from steadystack.correction import regions

    write, calls = regions.write_region, []

    def dying(spec, level, region, block):
        if level.name == "0":
            calls.append(region)
        if len(calls) == 3:  # half of a frame is there
            half = (slice(2, 3), slice(0, 72), slice(0, 40))
            write(spec, level, half, block[..., :40])
            os.kill(os.getpid(), signal.SIGKILL)
        write(spec, level, region, block)

    regions.write_region = dying
    made(Path({target!r}), Path({source!r}), interpolation="cubic")
"""


def test_a_killed_process_leaves_nothing_half_and_the_next_goes_on(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    script = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), target=str(target), source=str(source)
    )
    died = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    partial = tmp_path / "steady.zarr.partial"
    assert sorted(TaskRecord(str(target)).done) == [0, 1]
    with (partial / ".done").open("a") as file:
        file.write("4 57")  # a line that was being written

    correct_region, begun = stack_module.correct_region, []

    def counting(number, work):
        begun.append(number)
        return correct_region(number, work)

    monkeypatch.setattr(stack_module, "correct_region", counting)
    _, group = made(target, source, interpolation="cubic")
    assert begun == [2, 3, 4, 5]
    assert not partial.exists()
    assert not (target / ".done").exists()
    expected = steadystack.correct(frames, shifts_of(), interpolation="cubic")
    np.testing.assert_array_equal(group["0"][:], expected.values)
    made(target, source, interpolation="cubic")
    assert len(begun) == 4  # it is done already


def test_a_full_disk_is_told_and_nothing_is_lost(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    write, left = regions_module.write_region, [5]

    def full(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)

    monkeypatch.setattr(regions_module, "write_region", full)
    with pytest.raises(OutputError, match="no space is left on the disk; what is written is kept"):
        made(target, source)
    assert not target.exists()
    assert len(TaskRecord(str(target)).done) == 2
    monkeypatch.setattr(regions_module, "write_region", write)
    _, group = made(target, source)
    np.testing.assert_array_equal(group["0"][:], steadystack.correct(frames, shifts_of()).values)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of half a MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_really_is_full(tmp_path, small_disk):
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 60000, (360, 160)).astype("u2")  # no codec makes less of it
    write_stack(tmp_path / "stack.zarr", scene + rng.integers(0, 99, (6, 360, 160)).astype("u2"))
    config = run_of(
        tmp_path,
        register={"max_shift": 4},
        output={
            "shifts": str(tmp_path / "shifts.zarr"),
            "corrected": str(small_disk / "steady.zarr"),
        },
    )
    (tmp_path / "run.yaml").write_text(json.dumps(config.dump()))
    stages.measure(config)
    stages.solve(config)
    told = CliRunner().invoke(main, ["correct", str(tmp_path / "run.yaml")])
    assert told.exit_code == 1
    assert "no space is left on the disk" in told.stderr
    assert not (small_disk / "steady.zarr").exists()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = CliRunner().invoke(main, ["correct", str(tmp_path / "run.yaml")])
    assert again.exit_code == 0, again.output
    assert (small_disk / "steady.zarr").exists()


def test_what_is_there_is_not_overwritten(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    write_image(target, np.ones((3, 3)))
    with pytest.raises(
        steadystack.InputError, match="is no corrected stack: it is not overwritten"
    ):
        made(target, source, overwrite=True)
    assert zarr.open_array(target, mode="r").shape == (3, 3)

    target = tmp_path / "other.zarr"
    made(target, source)
    before = digest_at(str(target))
    with pytest.raises(
        steadystack.InputError, match="other shifts or settings: `steadystack correct --overwrite`"
    ):
        made(target, source, interpolation="linear")

    # The old one stays until the new one is whole.
    def stopped(number, work):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stack_module, "correct_region", stopped)
        with pytest.raises(KeyboardInterrupt):
            made(target, source, interpolation="linear", overwrite=True)
    assert digest_at(str(target)) == before
    with pytest.raises(steadystack.InputError, match="made with other shifts"):
        made(target, source, interpolation="linear")
    made(target, source, interpolation="linear", overwrite=True)
    assert digest_at(str(target)) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other.zarr", "stack.zarr", "steady.zarr",
    ]  # fmt: skip


def test_a_replacement_that_is_cut_short_is_taken_back(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    made(target, source)
    replace = os.replace

    def dying(old, new):
        if str(old) == f"{target}.partial":
            raise KeyboardInterrupt
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(files_module, "_exchanged", lambda one, other: False)
        patch.setattr(files_module.os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            made(target, source, interpolation="cubic", overwrite=True)
    assert not target.exists()
    made(target, source)  # the old one is back: there is nothing to do
    assert target.exists()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"output": {"corrected": "{}/stack.zarr/in.zarr"}}, "lie in each other"),
        ({"output": {"corrected": "{}/stack.zarr"}}, "lie in each other"),
        ({"output": {"corrected": "{}/shifts.zarr/in.zarr"}}, "lie in each other"),
        ({"output": {"corrected": "{}/steady.png"}}, "must end in .zarr or .ome.tif"),
        ({"output": {"corrected": "https://server/a.zarr"}}, "cannot be written"),
        ({"output": {}}, "output.corrected is not set"),
        ({"correct": {"interpolation": "quintic"}}, "correct.interpolation"),
        ({"correct": {"fill_value": -1}}, "fill_value -1.0 is not a value of uint16"),
        ({"correct": {"chunks": [1, 2, 3]}}, "correct.chunks has 3 values for the axes y, x"),
        ({"correct": {"chunks": 32, "shards": 33}}, "33 along y is no multiple"),
        ({"correct": {"shards": 99, "format": "0.4"}}, "0.4 knows no shards"),
        ({"correct": {"levels": 12}}, "set it lower"),
        ({"correct": {"stack": "{}/nothing.zarr"}}, "correct.stack: .*nothing.zarr is not there"),
    ],
)
def test_bad_settings_are_told_in_a_line(frames, tmp_path, sections, words):
    write_stack(tmp_path / "stack.zarr", frames)
    text = json.dumps(sections).replace("{}/", f"{tmp_path}/")
    given = {
        "input": {"path": str(tmp_path / "stack.zarr")},
        "register": {"max_shift": 12},
        "cluster": {"kind": "in-process"},
        **json.loads(text),
    }
    given["output"] = {"corrected": str(tmp_path / "steady.zarr")} | given.get("output", {})
    if json.loads(text).get("output") == {}:
        del given["output"]["corrected"]
    (tmp_path / "run.yaml").write_text(json.dumps(given))
    runner = CliRunner()
    assert runner.invoke(main, ["measure", str(tmp_path / "run.yaml")]).exit_code in (0, 2)
    assert runner.invoke(main, ["solve", str(tmp_path / "run.yaml")]).exit_code in (0, 2)
    told = runner.invoke(main, ["correct", str(tmp_path / "run.yaml")])
    assert told.exit_code == 2, told.output
    assert len(told.stderr.splitlines()) == 1
    assert re.search(words, told.stderr)


def test_shifts_too_large_for_a_common_part_and_too_little_memory(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    far = shifts_of(30 * TRUTH)
    with pytest.raises(steadystack.InputError, match="crop leaves nothing"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", far, border="crop")
    with pytest.raises(steadystack.InputError, match=r"one chunk of .* needs 25 MiB"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", memory=2**20)
    with pytest.raises(steadystack.InputError, match="6 frames and there are shifts for 4"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts_of(TRUTH[:4]))
    with pytest.raises(steadystack.InputError, match="nothing to correct"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts_of(np.nan * TRUTH))


def test_from_the_shell_with_tiff_and_tables(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames, pixel_size=(0.5, 0.5), frame_interval=2.0)
    config = run_of(
        tmp_path,
        correct={"border": "expand"},
        output={
            "shifts": str(tmp_path / "shifts.zarr"),
            "corrected": str(tmp_path / "steady.ome.tif"),
        },
    )
    (tmp_path / "run.yaml").write_text(json.dumps(config.dump()))
    runner = CliRunner()
    told = runner.invoke(main, ["run", str(tmp_path / "run.yaml")])
    assert told.exit_code == 0, told.output
    shifts = load_shifts(str(tmp_path / "shifts.zarr"))
    with tifffile.TiffFile(tmp_path / "steady.ome.tif") as file:
        assert file.is_ome
        series = file.series[0]
        assert series.axes == "TYX"
        expected = steadystack.correct(frames, shifts, border="expand")
        np.testing.assert_array_equal(series.asarray(), expected.values)
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        assert 'TimeIncrement="2.0"' in file.ome_metadata
    made = (tmp_path / "steady.ome.tif").stat().st_mtime_ns
    for command in ("run", "correct"):  # it is done already
        told = runner.invoke(main, [command, str(tmp_path / "run.yaml")])
        assert told.exit_code == 0, told.output
        assert (tmp_path / "steady.ome.tif").stat().st_mtime_ns == made
    other = config.dump() | {"correct": {"border": "crop"}}
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    told = runner.invoke(main, ["correct", str(tmp_path / "other.yaml")])
    assert told.exit_code == 2
    assert "is not what these shifts and settings make" in told.stderr
    again = runner.invoke(main, ["correct", str(tmp_path / "run.yaml"), "--overwrite"])
    assert again.exit_code == 0
    assert "6 frames" in again.output

    export = ["export", str(tmp_path / "shifts.zarr")]
    told = runner.invoke(main, [*export, str(tmp_path / "a.csv")])
    assert told.exit_code == 0, told.output
    assert "every good frame shows" in told.output
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0].startswith("frame,time,status,component,shift_y,shift_x,")
    fourth = dict(zip(rows[0].split(","), rows[4].split(","), strict=True))
    assert float(fourth["shift_x"]) == pytest.approx(4.1, abs=0.02)
    assert float(fourth["translate_x"]) == pytest.approx(2.05, abs=0.01)
    assert (fourth["first_x"], fourth["stop_x"]) == ("4", "84")
    assert runner.invoke(main, [*export, str(tmp_path / "a.csv")]).exit_code == 2
    assert runner.invoke(main, [*export, str(tmp_path / "a.txt")]).exit_code == 2
    nothing = runner.invoke(main, ["export", str(tmp_path / "steady.ome.tif"), "b.csv"])
    assert nothing.exit_code == 2
    assert nothing.output.count("\n") == 1
    assert "steady.ome.tif is no shifts dataset" in nothing.stderr
    assert runner.invoke(main, [*export, str(tmp_path / "a.nc")]).exit_code == 0
    assert runner.invoke(main, [*export, str(tmp_path / "a.json")]).exit_code == 0
    layers = json.loads((tmp_path / "a.json").read_text())
    assert layers[3]["scale"] == [1, 0.5, 0.5]
    np.testing.assert_allclose(layers[3]["translate"], [3, 1.65, 2.05], atol=0.02)


def test_tiff_refuses_what_it_cannot_hold(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames.astype("i8"))
    config = run_of(
        tmp_path,
        output={
            "shifts": str(tmp_path / "shifts.zarr"),
            "corrected": str(tmp_path / "steady.ome.tif"),
        },
    )
    with pytest.raises(steadystack.InputError, match="OME-TIFF holds no int64"):
        stages.run(config)


def test_views_before_and_after(frames):
    shifts = TRUTH.copy()
    shifts[2] = np.nan
    before, after = before_and_after(
        ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x"))),
        shifts, Conditioning(), interpolation="whole", band=3,
    )  # fmt: skip
    used = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(before.mean, frames[used].mean(axis=0))
    np.testing.assert_array_equal(before.maximum, frames[used].max(axis=0))
    np.testing.assert_allclose(before.kymographs["x"], frames[:, 35:38].mean(axis=1))
    np.testing.assert_allclose(before.kymographs["y"], frames[:, :, 39:42].mean(axis=2))
    moved = steadystack.correct(
        frames.astype(float), shifts_of(shifts), interpolation="whole"
    ).values
    np.testing.assert_allclose(after.mean, np.nanmean(moved[used], axis=0))
    np.testing.assert_allclose(after.maximum, np.nanmax(moved[used], axis=0))
    assert np.isnan(after.kymographs["x"][2]).all()
    spread = [
        np.nanstd(view.kymographs["x"][used][:, 10:-10], axis=0).mean() for view in (before, after)
    ]
    assert spread[1] < 0.5 * spread[0]


def test_a_series_without_a_shift_has_its_report_and_no_corrected_stack(tmp_path):
    noise = np.random.default_rng(0).normal(1000, 100, (6, 48, 52)).astype("u2")
    write_stack(tmp_path / "stack.zarr", noise)
    settings = {
        "input": {"path": "stack.zarr"},
        "register": {"max_shift": 6},
        "output": {"report": "report.html", "corrected": "steady.zarr"},
        "cluster": {"kind": "in-process"},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    told = CliRunner().invoke(main, ["run", str(tmp_path / "run.yaml")])
    assert told.exit_code == 3, told.output
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "steady.zarr").exists()
