"""CZI and LIF, written by hand; ND2 where a file is at hand: planes, channels, sizes and times."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import steadystack
from steadystack.cli import main
from steadystack.model import FrameStatus, InputError
from steadystack.readers import StackFrames, locate_mask, locate_stack
from support.drifting_files import TRUTH, make_frames, shifts_of
from support.members import slow_but
from support.microscope_files import CziWriter, write_czi, write_lif

PLANES = np.random.default_rng(4).integers(0, 60000, (5, 2, 3, 20, 30)).astype("u2")
WRITERS = {"czi": write_czi, "lif": lambda path, array: write_lif(path, {"Series001": array})}
# Nobody but its microscopes writes ND2: the path of such a file, with several frames.
ND2 = os.environ.get("STEADYSTACK_ND2", "")


@pytest.mark.parametrize("kind", WRITERS)
def test_every_plane_is_read(tmp_path, kind):
    path = WRITERS[kind](tmp_path / f"a.{kind}", PLANES)
    spec = locate_stack(path, channel=1)
    assert spec.dtype == "uint16"
    assert (spec.axes[0], spec.frame_count, spec.frame_shape) == ("t", 5, (3, 20, 30))
    np.testing.assert_array_equal(steadystack.open_stack(path, channel=1), PLANES[:, 1])
    with pytest.raises(InputError, match=r"2 channels.*input\.channel"):
        locate_stack(path)


@pytest.mark.parametrize("kind", slow_but(["czi"], WRITERS))
@pytest.mark.parametrize("where", slow_but(["on workers"], ["here", "on workers"]))
def test_a_file_of_a_microscope_is_measured(tmp_path, workers, kind, where):
    frames = make_frames()
    WRITERS[kind](tmp_path / f"a.{kind}", frames[:, None, None])
    np.save(tmp_path / "mask.npy", np.pad(np.ones((44, 60), bool), 2))
    shifts = shifts_of(
        tmp_path,
        workers if where == "on workers" else None,
        mask={"path": "mask.npy"},
        path=f"a.{kind}",
    )
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.1)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_draft_and_a_mask(tmp_path, kind):
    frames = make_frames()[:, None, None]
    path = WRITERS[kind](tmp_path / f"a.{kind}", frames)
    drafted = CliRunner().invoke(main, ["init", path])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.stdout)["input"]["path"] == path
    masks = (frames > 1000).astype("u1")
    found = locate_mask(WRITERS[kind](tmp_path / f"mask.{kind}", masks), 5, (48, 64))
    np.testing.assert_array_equal(found.read(2, (48, 64)), masks[2, 0, 0] > 0)


def test_what_a_lif_file_says_is_taken(tmp_path):
    """Sizes are those between first and last pixel; the times of its planes go before a step."""
    images = {"overview": PLANES[:1, :1, :1], "series": PLANES}
    path = write_lif(tmp_path / "a.lif", images)
    spec = locate_stack(path, series=1, channel="Red")
    np.testing.assert_allclose(spec.pixel_size, (2, 0.5, 0.25))
    assert (spec.unit, spec.channel_names, spec.channel) == ("micrometer", ("Green", "Red"), 1)
    np.testing.assert_allclose(spec.time[0], 3.0 * np.arange(5))
    with pytest.raises(InputError, match=r"2 images: set input\.series \(0: overview.*1: series"):
        locate_stack(path)
    with pytest.raises(InputError, match=r"input\.series 2 does not exist"):
        locate_stack(path, series=2)
    starts = np.array([0, 3.5, 7, 11, 13.25])
    stamps = (starts[:, None] + 0.1 * np.arange(6)).ravel().tolist()
    path = write_lif(tmp_path / "b.lif", {"series": PLANES}, times=stamps)
    np.testing.assert_allclose(locate_stack(path, channel=0).time[0], starts, atol=1e-3)
    path = write_lif(tmp_path / "c.lif", {"series": PLANES}, times=[*stamps[15:], *stamps[:15]])
    np.testing.assert_allclose(locate_stack(path, channel=0).time[0], 3.0 * np.arange(5))


def test_what_a_czi_file_says_is_taken(tmp_path):
    times = [2.0, 3.5, 7.0, 9.0, 12.25]
    path = write_czi(tmp_path / "a.czi", PLANES, times=times, channels=["DAPI", "GFP"])
    spec = locate_stack(path, channel="GFP")
    np.testing.assert_allclose(spec.pixel_size, (2, 0.5, 0.25))
    assert (spec.unit, spec.channel_names, spec.channel) == ("micrometer", ("DAPI", "GFP"), 1)
    np.testing.assert_allclose(spec.time[0], np.array(times) - 2)
    dates = (45000 + np.array(times) / 86400).tolist()
    path = write_czi(tmp_path / "b.czi", PLANES[:, :1], times=dates)
    assert locate_stack(path).time is None


def test_tiles_of_a_czi_file_are_joined_and_what_none_covers_is_missing(tmp_path):
    """Two scenes; the second of tiles that overlap, of which the last lies on top; one lacks."""
    writer, scene = CziWriter(), np.zeros((3, 40, 50), "u2")
    valid = np.zeros((3, 40, 50), bool)
    rng = np.random.default_rng(8)
    writer.add_tile(PLANES[0, 0, 0], {"X": 0, "Y": 0, "T": 0, "S": 0, "M": 0})
    for t in range(3):
        for order, (top, left) in enumerate([(0, 0), (0, 20), (20, 0), (20, 20)]):
            if (t, order) == (1, 3):  # a corner of one frame
                continue
            tile = rng.integers(1, 60000, (20, 30)).astype("u2")
            place = {"X": 900 + left, "Y": -7 + top, "T": t, "S": 1, "M": order}
            writer.add_tile(tile, place)
            scene[t, top : top + 20, left : left + 30] = tile
            valid[t, top : top + 20, left : left + 30] = True
        small = np.zeros((10, 12), "u2")
        writer.add_tile(small, {"X": 900, "Y": -7, "T": t, "S": 1, "M": 9}, stored=(40, 50))
    path = writer.save(tmp_path / "a.czi")
    stack = steadystack.open_stack(path, series=1)
    np.testing.assert_array_equal(stack, scene)
    np.testing.assert_array_equal(stack["valid"], valid)
    frames = StackFrames(locate_stack(path, series=1))
    part = frames.read(1, (slice(15, 30), slice(18, 40)))
    np.testing.assert_array_equal(part.image, scene[1, 15:30, 18:40])
    assert part.status is FrameStatus.INCOMPLETE
    with pytest.raises(InputError, match=r"2 scenes: set input\.series"):
        locate_stack(path)


def test_a_frame_that_a_czi_file_lacks_is_missing(tmp_path):
    writer = CziWriter()
    for t in (2, 3, 5):
        writer.add_tile(PLANES[t - 2, 0, 0], {"X": 0, "Y": 0, "T": t})
    frames = StackFrames(locate_stack(writer.save(tmp_path / "a.czi")))
    statuses = [frames.read(frame).status for frame in range(frames.frame_count)]
    ok = FrameStatus.OK
    assert statuses == [ok, ok, FrameStatus.MISSING, ok]
    np.testing.assert_array_equal(frames.read(3).image, PLANES[3, 0, 0])


def test_colours_of_a_czi_file_are_channels(tmp_path):
    writer = CziWriter()
    colours = np.random.default_rng(9).integers(0, 256, (2, 20, 30, 3)).astype("u1")
    for t, frame in enumerate(colours):
        writer.add_tile(frame, {"X": 0, "Y": 0, "C": 0, "T": t})
    path = writer.save(tmp_path / "a.czi")
    np.testing.assert_array_equal(steadystack.open_stack(path, channel="red"), colours[..., 0])


def split_bytes(pixels):
    """The low bytes of all numbers, then the high ones, with the head that says so."""
    halves = pixels.reshape(-1, 1).view("u1").T
    return b"\x03\x01\x01" + imagecodecs.zstd_encode(np.ascontiguousarray(halves).tobytes())


PACKED = {
    "zstd": (5, lambda pixels: imagecodecs.zstd_encode(pixels.tobytes())),
    "zstd with a head": (6, lambda pixels: b"\x01" + imagecodecs.zstd_encode(pixels.tobytes())),
    "bytes apart": (6, split_bytes),
}


@pytest.mark.parametrize("name", PACKED)
def test_tiles_that_are_packed_are_unpacked(tmp_path, name):
    writer = CziWriter()
    for t, plane in enumerate(PLANES[:, 0, 0]):
        writer.add_tile(plane, {"X": 0, "Y": 0, "C": 0, "T": t}, pack=PACKED[name])
    path = writer.save(tmp_path / "a.czi")
    np.testing.assert_array_equal(steadystack.open_stack(path), PLANES[:, 0, 0])


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_file_that_is_cut_off_is_reported(tmp_path, kind, share):
    path = Path(WRITERS[kind](tmp_path / f"a.{kind}", PLANES))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"a\.{kind}.*(truncated|cannot be read)"):
        locate_stack(str(path), channel=0)


@pytest.mark.parametrize("kind", ["czi", "lif", "nd2"])
def test_what_is_no_such_file_is_reported(tmp_path, monkeypatch, kind):
    (tmp_path / f"text.{kind}").write_bytes(b"not a microscope's file")
    with pytest.raises(InputError, match=f"the {kind.upper()} file cannot be read"):
        locate_stack(str(tmp_path / f"text.{kind}"))
    with pytest.raises(InputError, match=rf"none\.{kind} does not exist"):
        locate_stack(str(tmp_path / f"none.{kind}"))
    library = {"czi": "czifile", "lif": "liffile", "nd2": "nd2"}[kind]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"steadystack\[{kind}\]"):
        locate_stack(str(tmp_path / f"text.{kind}"))


def test_planes_that_are_no_channels_are_refused(tmp_path):
    writer = CziWriter()
    for view in range(2):
        writer.add_tile(PLANES[0, 0, 0], {"X": 0, "Y": 0, "V": view, "T": 0})
    with pytest.raises(InputError, match="several planes along V"):
        locate_stack(writer.save(tmp_path / "a.czi"))


@pytest.mark.skipif(not ND2, reason="needs an ND2 file: set STEADYSTACK_ND2 to its path")
def test_an_nd2_file_is_read_as_its_library_reads_it():
    import nd2

    with nd2.ND2File(ND2) as file:
        whole, sizes, voxel = file.to_xarray(delayed=False), dict(file.sizes), file.voxel_size()
    series = 0 if sizes.get("P", 1) > 1 else None
    channel = 0 if sizes.get("C", 1) > 1 else None
    stack = steadystack.open_stack(ND2, series=series, channel=channel)
    picked = {axis: 0 for axis in "PC" if axis in whole.dims}
    np.testing.assert_array_equal(stack.values.squeeze(), whole.isel(picked).values.squeeze())
    spec = locate_stack(ND2, series=series, channel=channel)
    assert spec.pixel_size[-1] == pytest.approx(voxel.x)
