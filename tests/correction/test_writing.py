"""Corrected stacks on disk: pixels, metadata, pyramids, and what goes wrong on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr

import steadystack
from steadystack.config import CorrectSection
from steadystack.correction import plan_corrected, write_tiff
from steadystack.correction import regions as regions_module
from steadystack.correction import writing as stack_module
from steadystack.durable import files as files_module
from steadystack.model import FrameStatus, OutputError
from steadystack.outputs import TaskRecord, read_digest, write_image, write_stack
from steadystack.readers import locate_stack
from steadystack.validity import Validity
from support import ROOT
from support.corrected import MEMORY, TRUTH, frames_of, made, shifts_of
from support.members import slow_but
from support.scenes import Scene


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "fourier"])
@pytest.mark.parametrize("border", ["same", "crop", "expand"])
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
    first = {"same": 0, "crop": 4, "expand": -4}[border]
    assert float(opened["x"][0]) == 0.25 * first


def test_frames_that_turn_may_be_stored_as_volumes_of_a_single_plane(frames, tmp_path):
    """As most writers of OME-Zarr do: t, c, z, y, x."""
    turned = np.tile([[0.999, -0.04], [0.04, 0.999]], (len(frames), 1, 1))
    shifts = shifts_of().assign(frame_linear=(("frame", "axis", "of_axis"), turned))
    array = zarr.create_array(
        tmp_path / "stack.zarr", data=frames[:, None, None], chunks=(1, 1, 1, 36, 40),
        dimension_names=list("tczyx"),
    )  # fmt: skip
    _, result = made(tmp_path / "steady.zarr", tmp_path / "stack.zarr", shifts)
    assert result["0"].shape == array.shape
    np.testing.assert_array_equal(result["0"][:, 0, 0], steadystack.correct(frames, shifts).values)


@pytest.mark.parametrize(
    ("version", "sharded"),
    slow_but([("0.4", False), ("0.5", True)], product(["0.4", "0.5"], [False, True])),
)
def test_all_channels_and_planes_with_their_metadata(frames, tmp_path, version, sharded):
    if version == "0.4" and sharded:
        pytest.skip("OME-Zarr 0.4 has no shards")
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
    spec = locate_stack(str(target), channel="GFP")
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


@pytest.mark.parametrize("interpolated", ["moved", "unmoved", "blank"])
@pytest.mark.parametrize("unusable", ["unmoved", "blank"])
def test_frames_without_a_shift_of_their_own(frames, tmp_path, interpolated, unusable):
    values = TRUTH.copy()
    values[3] = np.nan
    status = [FrameStatus.OK.code] * len(TRUTH)
    status[1], status[3] = FrameStatus.INTERPOLATED.code, FrameStatus.DISCONNECTED.code
    shifts = shifts_of(values, frame_status=status, component=[0, 0, 0, -1, 0, 1])
    write_stack(tmp_path / "stack.zarr", frames)
    how = {"interpolated": interpolated, "unusable": unusable, "interpolation": "nearest"}
    _, group = made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts, **how)
    found = group["0"][:]
    moved = steadystack.correct(frames, shifts_of(), interpolation="nearest").values
    np.testing.assert_array_equal(found[[0, 2, 4]], moved[[0, 2, 4]])
    wanted = {"moved": moved[1], "unmoved": frames[1], "blank": 0 * frames[1]}[interpolated]
    np.testing.assert_array_equal(found[1], wanted)
    for frame in (3, 5):
        np.testing.assert_array_equal(found[frame], frames[frame] * (unusable == "unmoved"))
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
    from support.corrected import made
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
        tests=str(ROOT / "tests"), target=str(target), source=str(source)
    )
    died = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    partial = tmp_path / ".steady.zarr.steadystack" / "new"
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


def test_a_full_disk_is_reported_and_nothing_is_lost(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    write, left = regions_module.write_region, [5]

    def full(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)

    monkeypatch.setattr(regions_module, "write_region", full)
    with pytest.raises(OutputError, match="no space left on the disk; what was written is kept"):
        made(target, source)
    assert not target.exists()
    assert len(TaskRecord(str(target)).done) == 2
    monkeypatch.setattr(regions_module, "write_region", write)
    _, group = made(target, source)
    np.testing.assert_array_equal(group["0"][:], steadystack.correct(frames, shifts_of()).values)


def test_what_is_there_is_not_overwritten(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    write_image(target, np.ones((3, 3)))
    with pytest.raises(
        steadystack.InputError, match="is not a corrected stack: it will not be overwritten"
    ):
        made(target, source, overwrite=True)
    assert zarr.open_array(target, mode="r").shape == (3, 3)

    target = tmp_path / "other.zarr"
    made(target, source)
    before = read_digest(str(target))
    with pytest.raises(
        steadystack.InputError,
        match="frames: write it again with `steadystack correct --overwrite`",
    ):
        made(target, source, interpolation="linear")

    # The old one stays until the new one is whole.
    def stopped(number, work):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stack_module, "correct_region", stopped)
        with pytest.raises(KeyboardInterrupt):
            made(target, source, interpolation="linear", overwrite=True)
    assert read_digest(str(target)) == before
    made(target, source, interpolation="linear")  # what --overwrite has begun goes on
    assert read_digest(str(target)) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other.zarr", "stack.zarr", "steady.zarr",
    ]  # fmt: skip


def test_a_replacement_that_is_cut_short_is_taken_back(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, frames)
    made(target, source)
    replace = os.replace

    def dying(old, new):
        if str(old).endswith(".steady.zarr.steadystack/new"):
            raise KeyboardInterrupt
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(files_module, "_exchange", lambda one, other: False)
        patch.setattr(files_module.os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            made(target, source, interpolation="cubic", overwrite=True)
    assert not target.exists()
    made(target, source)  # the old one is back: there is nothing to do
    assert target.exists()


def test_shifts_too_large_for_a_common_part_and_too_little_memory(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    far = shifts_of(30 * TRUTH)
    with pytest.raises(steadystack.InputError, match="crop leaves nothing"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", far, border="crop")
    with pytest.raises(steadystack.InputError, match=r"one chunk of .* needs 25 MiB"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", memory=2**20)
    with pytest.raises(steadystack.InputError, match="6 frames, but there are shifts for 4"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts_of(TRUTH[:4]))
    with pytest.raises(steadystack.InputError, match="nothing to correct"):
        made(tmp_path / "a.zarr", tmp_path / "stack.zarr", shifts_of(np.nan * TRUTH))


def test_what_others_put_there_while_a_tiff_is_written_stays(frames, tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.ome.tif"
    write_stack(source, frames)
    write = stack_module.write_ome_tiff

    def write_and_put(*arguments):
        write(*arguments)
        target.write_bytes(b"theirs")

    monkeypatch.setattr(stack_module, "write_ome_tiff", write_and_put)
    spec = locate_stack(str(source), channel=0)
    stack = plan_corrected(
        str(target), spec, shifts_of(), CorrectSection(), Validity(), None, MEMORY
    )
    with pytest.raises(steadystack.InputError, match=r"steady\.ome\.tif exists and was not made"):
        write_tiff(stack)
    assert target.read_bytes() == b"theirs"
