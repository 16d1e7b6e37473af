"""Frames and regions of stacks of every format, against stacks that are cut by hand."""

from __future__ import annotations

import shutil
from itertools import product

import av
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from PIL import Image

import steadystack
from steadystack.model import FrameStatus, InputError
from steadystack.outputs import write_stack
from steadystack.readers import StackFrames, locate_stack
from support.members import slow_but
from support.microscope_files import write_czi, write_lif
from support.stores import chunk_file

rng = np.random.default_rng(0)
T, C, Z, Y, X = 11, 2, 3, 40, 50
PIXELS = rng.integers(0, 60000, (T, C, Z, Y, X)).astype("u2")
FLAT = PIXELS[:, 1, 2]  # t, y, x


def ome_05(folder):
    write_stack(folder / "a.zarr", PIXELS, axes="tczyx", pixel_size=(2, 0.5, 0.25))
    return folder / "a.zarr", PIXELS[:, 1], {"channel": 1}


def zarr_arrays(zarr_format, **layout):
    def write(folder):
        array = zarr.create_array(
            folder / "a.zarr", shape=FLAT.shape, dtype="u2", zarr_format=zarr_format, **layout
        )
        array[...] = FLAT
        return folder / "a.zarr", FLAT, {}

    return write


def another_order(folder):
    zarr.create_array(folder / "a.zarr", data=FLAT.transpose(2, 0, 1), chunks=(7, 4, 9))
    return folder / "a.zarr", FLAT, {"axes": "xty"}


def xarray_group(folder):
    times = np.arange(T) * 3.0
    stack = xr.DataArray(
        FLAT, dims=("time", "y", "x"), coords={"time": ("time", times, {"units": "s"})}, name="a"
    )
    stack.to_dataset().to_zarr(folder / "a.zarr", zarr_format=3, consolidated=False)
    return folder / "a.zarr", FLAT, {"variable": "a"}


def zipped(folder):
    write_stack(folder / "b.zarr", FLAT)
    shutil.make_archive(str(folder / "a.zarr"), "zip", folder / "b.zarr")
    return folder / "a.zarr.zip", FLAT, {}


def tiff(folder):
    tifffile.imwrite(folder / "a.ome.tif", PIXELS, metadata={"axes": "TCZYX"})
    return folder / "a.ome.tif", PIXELS[:, 0], {"channel": 0}


def tiff_files(folder):
    for frame in range(T):
        tifffile.imwrite(folder / f"img_{frame}.tif", FLAT[frame])
    return folder / "img_*.tif", FLAT, {}


def joined_files(folder):
    for name, part in (("a", FLAT[:4]), ("b", FLAT[4:5]), ("c", FLAT[5:])):
        tifffile.imwrite(folder / f"{name}.tif", part, metadata={"axes": "TYX"}, imagej=True)
    return folder / "*.tif", FLAT, {}


def npy(folder):
    np.save(folder / "a.npy", FLAT)
    return folder / "a.npy", FLAT, {}


def pictures(folder):
    for frame in range(T):
        Image.fromarray(FLAT[frame]).save(folder / f"img_{frame}.png")
    return folder, FLAT, {}


def raw(folder):
    """A header, and eight bytes before each frame, as a camera writes them."""
    frames = FLAT.astype(">u2")
    (folder / "a.bin").write_bytes(
        bytes(100) + b"".join(b"frame%03d" % n + frame.tobytes() for n, frame in enumerate(frames))
    )
    return folder / "a.bin", FLAT, {"raw": f">uint16 {Y} x {X} offset 100 gap 8"}


def video(folder):
    with av.open(folder / "a.mkv", "w") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = X, Y, "gray16le"
        for frame in FLAT:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
        file.mux(stream.encode())
    return folder / "a.mkv", FLAT, {}


def czi(folder):
    return write_czi(folder / "a.czi", PIXELS), PIXELS[:, 1], {"channel": 1}


def lif(folder):
    path = write_lif(folder / "a.lif", {"overview": PIXELS[:1], "series": PIXELS})
    return path, PIXELS[:, 1], {"channel": 1, "series": 1}


FORMATS = {
    "OME-Zarr 0.5": ome_05,
    "Zarr 2": zarr_arrays(2, chunks=(1, 16, 16)),
    "Zarr 3, several frames in a chunk": zarr_arrays(3, chunks=(4, 16, 50)),
    "sharded": zarr_arrays(3, chunks=(1, 10, 10), shards=(2, 20, 30)),
    "another order": another_order,
    "xarray": xarray_group,
    "zip": zipped,
    "TIFF": tiff,
    "TIFF files": tiff_files,
    "joined TIFF files": joined_files,
    ".npy": npy,
    "pictures": pictures,
    "raw": raw,
    "CZI": czi,
    "LIF": lif,
    "video": video,
}


FRAMES = (None, "3:", "1:10:3")
REGIONS = (None, [[5, 31], [20, 50]], [None, [0, 17]])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("frames", "region"),
    slow_but([(None, None), ("1:10:3", REGIONS[1]), ("3:", REGIONS[2])], product(FRAMES, REGIONS)),
)
def test_frames_and_regions_of_every_format(tmp_path, name, frames, region):
    path, whole, keys = FORMATS[name](tmp_path)
    chosen = {None: slice(None), "3:": slice(3, None), "1:10:3": slice(1, 10, 3)}[frames]
    sides = [slice(None) if side is None else slice(*side) for side in region or [None, None]]
    expected = whole[(chosen, ..., *sides)]
    spec = locate_stack(str(path), frames=frames, region=region, **keys)
    assert (spec.frame_count, spec.frame_shape) == (len(expected), expected.shape[1:])
    assert list(spec.frame_numbers) == list(range(T))[chosen]
    assert (spec.uncut is None) == (frames is None and region is None)
    reader = StackFrames(spec)
    part = (slice(2, 9), slice(3, 11))
    for index in range(len(expected)):
        found = reader.read(index)
        np.testing.assert_array_equal(found.image, expected[index])
        assert found.status is FrameStatus.OK
        inside = (*(slice(0, size) for size in expected.shape[1:-2]), *part)
        np.testing.assert_array_equal(reader.read(index, inside).image, expected[index][inside])
    lazy = steadystack.open_stack(str(path), frames=frames, region=region, **keys)
    np.testing.assert_array_equal(lazy, expected)
    if name == "xarray":
        np.testing.assert_array_equal(lazy["t"], np.arange(T)[chosen] * 3.0)


def test_files_of_the_frames_that_are_used(tmp_path):
    path, _, _ = tiff_files(tmp_path)
    spec = locate_stack(str(path), frames="2:9:4", region=[[0, 20], None])
    assert spec.array.list_frame_files(spec.path) == ("img_2.tif", "img_6.tif")


def test_one_plane_of_a_volume(tmp_path):
    write_stack(tmp_path / "a.zarr", PIXELS, axes="tczyx", pixel_size=(2, 0.5, 0.25))
    spec = locate_stack(str(tmp_path / "a.zarr"), channel=1, region=[[2, 3], None, [8, 30]])
    assert (spec.spatial, spec.pixel_size) == (("y", "x"), (0.5, 0.25))
    np.testing.assert_array_equal(StackFrames(spec).read(4).image, FLAT[4, :, 8:30])


def test_missing_chunks_are_those_of_the_frames_that_are_used(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=FLAT.shape, chunks=(1, 20, 25), dtype="u2",
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = FLAT
    chunk_file(tmp_path / "a.zarr", 3, 5, 0, 1).unlink()
    for frames, index in (("1::2", 2), ("3:", 2)):
        reader = StackFrames(
            locate_stack(str(tmp_path / "a.zarr"), frames=frames, region=[[10, 40], [10, 50]])
        )
        expected = np.ones((30, 40), bool)
        expected[:10, 15:] = False
        found = reader.read(index)
        assert found.status is FrameStatus.INCOMPLETE
        np.testing.assert_array_equal(found.valid, expected)
        assert reader.read(index - 1).valid.all()


def test_other_frames_have_another_digest_and_all_of_them_that_of_the_stack(tmp_path):
    write_stack(tmp_path / "a.zarr", FLAT)
    path = str(tmp_path / "a.zarr")
    choices = [
        {}, {"frames": "1:"}, {"frames": "::2"}, {"region": [[0, 20], None]},
        {"frames": "1:", "region": [[0, 20], None]},
    ]  # fmt: skip
    assert len({locate_stack(path, **choice).digest for choice in choices}) == len(choices)
    everything = {"frames": ":99", "region": [[0, 40], None]}
    assert locate_stack(path, **everything) == locate_stack(path)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (
            {"frames": "11:"},
            r"input.frames '11:' leaves 0 of the 11 frames of .*, 0 to 10: at leas",
        ),
        ({"frames": "4:5"}, "leaves 1 of the 11 frames"),
        ({"frames": "8:2"}, "leaves 0 of the 11 frames"),
        (
            {"region": [[0, 41], None]},
            "along y is not inside the frame, whose pixels are 0 to 40",
        ),
        ({"region": [[0, 15], None]}, "has 15 pixels: at least 16 are needed"),
        ({"region": [["1 um", "9 um"], None]}, "needs a pixel size with a unit"),
    ],
)
def test_what_leaves_too_little_is_refused(tmp_path, choice, words):
    write_stack(tmp_path / "a.zarr", FLAT)
    with pytest.raises(InputError, match=words):
        locate_stack(str(tmp_path / "a.zarr"), **choice)


def test_a_stack_that_shrank_is_reported(tmp_path):
    np.save(tmp_path / "a.npy", FLAT)
    spec = locate_stack(str(tmp_path / "a.npy"), frames="2:9")
    np.save(tmp_path / "a.npy", FLAT[:6])
    found = StackFrames(spec).read(6)
    assert found.status is FrameStatus.UNREADABLE
