"""Stacks as other programs write them, plates, TIFF; and inputs that are not as they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
import zarr
from click.testing import CliRunner

import steadystack
from helpers import Scene
from steadystack.cli import main
from steadystack.dataset import load_shifts
from steadystack.model import FrameStatus, InputError
from steadystack.outputs import write_stack
from steadystack.readers import ArrayFrames, StackFrames, locate, positions

STORES = Path(__file__).parent / "data"
T, C, Y, X = np.ogrid[:3, :2, :24, :20]
PIXELS = (1000 * T + 500 * C + 20 * Y + X).astype("u2")  # as scripts/write_stores.py has them
SHIFTS = np.array([[0, 0], [1, -2], [2.5, -3], [4, -5.5], [6, -6], [7, -8]])


def drifting(count=6, shape=(48, 64)):
    """Frames of a scene that drifts by known, partly fractional pixels; uint16."""
    scene = Scene(3)
    return np.stack([scene.view(shape, shift) * 500 + 3000 for shift in SHIFTS[:count]]).astype(
        "u2"
    )


def shell(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def whole_way(folder, stack, *options, **sections):
    """init, check and run of a stack from the shell; the shifts, and what check said."""
    made = shell("init", stack, *options)
    assert made.exit_code == 0, made.output
    settings = yaml.safe_load(made.output)
    settings["register"]["max_shift"] = 12
    settings["cluster"] = {"kind": "in-process"}
    settings["output"] = {"shifts": "shifts.zarr"}
    for name, keys in sections.items():
        settings.setdefault(name, {}).update(keys)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    checked = shell("check", folder / "run.yaml")
    assert checked.exit_code == 0, checked.output
    done = shell("run", folder / "run.yaml")
    assert done.exit_code == 0, done.output
    return steadystack.load_config(folder / "run.yaml"), checked.output


def assert_right(config):
    import xarray as xr

    with xr.open_zarr(config.output.shifts) as shifts:
        found = shifts["shift"].to_numpy()
    np.testing.assert_allclose(found, SHIFTS[: len(found)], atol=0.05)


# Stores written by others: every row a writer


MICROMETERS = ((0.4, 0.3), "micrometer")
TIMES = ((0.0, 2.5, 5.0), "second")


@pytest.mark.parametrize(
    ("name", "keys", "chunks", "shards", "labels"),
    [
        ("ome-zarr-py-04", {}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("ome-zarr-py-05", {}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("ome-zarr-py-04-plate", {"position": "A/01/1"}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("ome-zarr-py-05-plate", {"position": "B/03/0"}, (3, 2, 24, 20), None, ("DAPI", "GFP")),
        ("bioio-04", {}, (1, 1, 12, 10), None, ("DAPI", "GFP")),
        ("bioio-05", {}, (1, 1, 12, 10), None, ("DAPI", "GFP")),
        ("ngff-zarr-04", {}, (3, 2, 12, 12), None, ()),
        ("ngff-zarr-05-sharded", {}, (3, 2, 12, 12), (3, 2, 24, 24), ()),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_what_other_writers_write(tmp_path, name, keys, chunks, shards, labels, packed):
    path = STORES / f"{name}.zip"
    if not packed:
        shutil.unpack_archive(path, tmp_path / "a.zarr")
        path = tmp_path / "a.zarr"
    channel = "GFP" if labels else 1
    spec = locate(str(path), channel=channel, **keys)
    assert spec.axes == ("t", "c", "y", "x")
    assert (spec.shape, spec.levels) == ((3, 2, 24, 20), ((3, 2, 24, 20), (3, 2, 12, 10)))
    assert (spec.channel_names, spec.channel) == (labels, 1)
    assert ((spec.pixel_size, spec.unit), spec.time) == (MICROMETERS, TIMES)
    assert (spec.chunks, spec.shards) == (chunks, shards)
    for frame in range(3):
        np.testing.assert_array_equal(StackFrames(spec).read(frame).image, PIXELS[frame, 1])
    coarse = locate(str(path), channel=channel, level=1, **keys)
    assert (coarse.frame_shape, coarse.pixel_size) == ((12, 10), (0.8, 0.6))


NGIO, JAVA = "omezarr_ngio/tests/data", "omezarr_zarr_java"
GLANCER, FRACTAL = "omezarr_neuroglancer/zarr", "omezarr_fractal/v04"
PLATE = "20200812-CardiomyocyteDifferentiation14-Cycle1_B_03_mip.zarr"


@pytest.mark.parametrize(
    ("name", "keys", "shape", "axes", "labels", "size", "unit", "at", "value"),
    [
        (f"{NGIO}/v04/images/test_image_tcyx.zarr", {"channel": "channel_2"}, (4, 3, 64, 64),
         "tcyx",
         ("channel_0", "channel_1", "channel_2"), (0.5, 0.5), "micrometer", (0, 5, 6), 0),
        (f"{NGIO}/v05/images/test_image_tczyx.zarr", {"channel": 1}, (4, 2, 10, 64, 64), "tczyx",
         ("channel_0", "channel_1"), (1.0, 0.5, 0.5), "micrometer", (3, 9, 5, 6), 0),
        (f"{JAVA}/v0.4", {"channel": 1}, (1, 2, 8, 16, 16), "tczyx", (), (0.5, 0.5, 0.5),
         "micrometer", (0, 1, 2, 3), None),
        (f"{JAVA}/v0.5_hcs", {"channel": 0, "position": "A/1"}, (1, 2, 4, 8, 8), "tczyx", (),
         (1.0, 1.0, 1.0), "micrometer", (0, 1, 2, 3), None),
        (f"{FRACTAL}/{PLATE}", {"level": 1, "axes": "tzyx"}, None, "tzyx", ("DAPI",), None,
         "micrometer", (0, 700, 900), None),
        (f"{GLANCER}/ome_zarr/simple_0.4/scale0/image", {"axes": "ty", "bad": "needs y and x"},
         None, "", (), None, "", None, None),
        (f"{GLANCER}/zarr_v2/from_zarr-python/data.zarr/3d.chunked.mixed.i2.F", {}, (3, 3, 3),
         "tyx", (), (1.0, 1.0), "", (1, 2, 0), None),
        (f"{GLANCER}/zarr_v3/from_zarrita/data.zarr/3d.chunked.compressed.sharded.i2", {},
         (4, 4, 4), "tyx", (), (1.0, 1.0), "", (3, 2, 1), None),
        (f"{GLANCER}/ome_zarr/all_0.6/basic/scale.zarr", {"bad": "0.6.* is not supported"},
         None, "", (), None, "", None, None),
    ],
)  # fmt: skip
def test_what_lies_beside_the_project(
    real_data, name, keys, shape, axes, labels, size, unit, at, value
):
    top, rest = name.split("/", 1)
    path = real_data(top) / rest
    bad = keys.pop("bad", None)
    if bad:
        with pytest.raises(InputError, match=bad):
            locate(str(path), **keys)
        return
    spec = locate(str(path), **keys)
    assert "".join(spec.axes) == axes
    assert shape is None or spec.shape == shape
    assert spec.channel_names[: len(labels)] == labels
    assert size is None or (spec.pixel_size, spec.unit) == (size, unit)
    array = zarr.open(path, mode="r")
    if isinstance(array, zarr.Group):
        inside = "A/1/0/0" if "position" in keys else str(keys.get("level", 0))
        array = array[inside]
    frame, *place = at
    index = dict(zip([a for a in spec.axes if a in spec.spatial], place, strict=True))
    index |= {"t": frame, "c": spec.channel or 0}
    expected = array[tuple(index.get(axis, 0) for axis in spec.axes)]
    assert StackFrames(spec).read(frame).image[tuple(place)] == expected
    assert value is None or expected == value


# Plates and collections


@pytest.fixture
def plate(tmp_path):
    """A plate of three wells; one is on its list and not there."""
    shutil.unpack_archive(STORES / "ome-zarr-py-05-plate.zip", tmp_path / "plate.zarr")
    return tmp_path / "plate.zarr"


def test_positions_of_a_plate(plate):
    found = positions(str(plate))
    assert (found.names, found.missing) == (("A/01/0", "A/01/1", "B/03/0"), ("B/02",))
    for name, path in zip(found.names, found.paths(), strict=True):
        by_path = StackFrames(locate(path, channel=0)).read(1).image
        by_position = StackFrames(locate(str(plate), position=name, channel=0)).read(1).image
        np.testing.assert_array_equal(by_path, by_position)
    assert locate(str(plate), position="B/03", channel=0).array.inside == "B/03/0/s0"
    assert positions(found.paths()[0]) is None


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (None, r"holds several images: set input.position to one of its 3 \(A/01/0, A/01/1, B/03"),
        ("A/01", "well with 2 fields: set it to one of A/01/0, A/01/1"),
        ("B/02/0", "lists this well, and the store does not hold it; it has A/01/0"),
        ("B/3/0", "is not in the plate .*; did you mean B/03/0"),
        ("Z/99/7", "is not in the plate .*; it has A/01/0"),
    ],
)
def test_positions_that_are_not_there(plate, position, words):
    with pytest.raises(InputError, match=words):
        locate(str(plate), position=position, channel=0)


def test_a_position_of_what_is_no_plate(plate):
    with pytest.raises(InputError, match="is no plate"):
        locate(str(plate / "A/01/0"), position="A/01/0", channel=0)
    with pytest.raises(InputError, match=r"is a plate: set input.position"):
        locate(str(plate), series=0)
    with pytest.raises(InputError, match="is no collection"):
        locate(str(plate / "A/01/0"), series=0, channel=0)


def test_a_plate_without_any_well(plate):
    for row in ("A", "B"):
        shutil.rmtree(plate / row)
    with pytest.raises(InputError, match="none of its 3 wells is there"):
        locate(str(plate), position="A/01/0")


def test_a_collection_of_series(tmp_path):
    """The layout of bioformats2raw, with and without its list of series."""
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for name in ("0", "1"):
        write_stack(tmp_path / "image.zarr", PIXELS[:, int(name)])
        shutil.copytree(tmp_path / "image.zarr", tmp_path / "b.zarr" / name)
        shutil.unpack_archive(STORES / "ome-zarr-py-04.zip", tmp_path / "a.zarr" / name)
    zarr.open_group(tmp_path / "b.zarr", mode="a", zarr_format=3).attrs["ome"] = {
        "version": "0.5", "bioformats2raw.layout": 3
    }  # fmt: skip
    for listed in (False, True):
        if listed:
            group.create_group("OME").attrs["series"] = ["1", "0"]
        with pytest.raises(InputError, match=r"set input.series to one of 0 to 1"):
            locate(str(tmp_path / "a.zarr"))
        with pytest.raises(InputError, match=r"input.series 2 is not there"):
            locate(str(tmp_path / "a.zarr"), series=2)
        spec = locate(str(tmp_path / "a.zarr"), series=1, channel="DAPI")
        assert spec.array.inside.split("/")[0] == ("0" if listed else "1")
    spec = locate(str(tmp_path / "b.zarr"), series=1)
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])


def test_the_whole_way_from_a_position_of_a_plate(plate):
    image = plate / "B/03/0"
    shutil.rmtree(image)
    write_stack(image, drifting(), pixel_size=(0.5, 0.5))
    config, checked = whole_way(plate.parent, plate, "--position", "B/03/0")
    assert config.input.position == "B/03/0"
    assert "B/03/0 of 3; wells that are not in the store: B/02" in checked
    assert_right(config)
    refused = shell("init", plate)
    assert refused.exit_code == 2
    assert "set input.position" in refused.stderr
    assert "--position" in refused.stderr


def test_the_whole_way_from_all_positions_of_a_plate(plate, caplog):
    for name in ("A/01/0", "A/01/1", "B/03/0"):
        shutil.rmtree(plate / name)
        write_stack(plate / name, drifting())
    made = shell("init", plate, "--position", "all")
    assert "wells that it does not hold: B/02" in caplog.text
    settings = made.stdout.replace("max_shift: 12", "max_shift: 11") + "\n  workers: 1\n"
    (plate.parent / "run.yaml").write_text(settings)
    done = shell("run", plate.parent / "run.yaml")
    assert done.exit_code == 0, done.output
    for name in ("A-01-0", "A-01-1", "B-03-0"):
        shifts = load_shifts(str(plate.parent / f"plate-{name}-shifts.zarr"))
        assert np.abs(shifts["shift"] - SHIFTS).max() < 0.1
        assert (plate.parent / f"plate-{name}-report.html").exists()


# TIFF


def ome_tiff(path, **keys):
    metadata = {
        "axes": "TCYX", "PhysicalSizeY": 0.4, "PhysicalSizeX": 0.3, "TimeIncrement": 2.5,
        "PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm", "TimeIncrementUnit": "s",
        "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    tifffile.imwrite(path, PIXELS, metadata=metadata, **keys)


def imagej(path):
    tifffile.imwrite(
        path, PIXELS, imagej=True, resolution=(1 / 0.3, 1 / 0.4),
        metadata={"axes": "TCYX", "unit": "um", "finterval": 2.5, "Labels": ["DAPI", "GFP"] * 3},
    )  # fmt: skip


def pages(path, frames=PIXELS[:, 1], **keys):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, metadata=None, **keys)


def strips(path):
    pages(path, compression="zstd", rowsperstrip=6)


def described(path):
    tifffile.imwrite(path, PIXELS[:, 1], photometric="minisblack")


@pytest.mark.parametrize(
    ("write", "told", "chunks"),
    [
        (lambda path: ome_tiff(path, compression="zlib", tile=(16, 16)), True, (1, 1, 16, 16)),
        (lambda path: ome_tiff(path, compression="lzw", rowsperstrip=8), True, (1, 1, 8, 20)),
        (imagej, True, (1, 1, 24, 20)),
        (pages, False, (1, 24, 20)),
        (strips, False, (1, 6, 20)),
        (described, False, (1, 24, 20)),
    ],
)
def test_tiff_stacks(tmp_path, write, told, chunks):
    path = tmp_path / "a.ome.tif" if told else tmp_path / "A.TIFF"
    write(path)
    spec = locate(str(path), channel="GFP" if told else None)
    assert (spec.frame_count, spec.frame_shape, spec.chunks) == (3, (24, 20), chunks)
    if told:
        assert spec.channel_names == ("DAPI", "GFP")
        np.testing.assert_allclose(spec.pixel_size, (0.4, 0.3), rtol=1e-5)
        assert spec.unit in ("um", "µm")
        assert spec.time[0] == (0.0, 2.5, 5.0)
    for frame in range(3):
        found = StackFrames(spec).read(frame, (slice(3, 19), slice(2, 20)))
        np.testing.assert_array_equal(found.image, PIXELS[frame, 1, 3:19, 2:20])
        assert found.status is FrameStatus.OK
    stack = steadystack.open_stack(str(path), channel=1 if told else None)
    np.testing.assert_array_equal(stack, PIXELS[:, 1])


def test_a_tiff_of_volumes_and_a_length_in_its_unit(tmp_path):
    volumes = np.arange(3 * 4 * 24 * 20, dtype="f4").reshape(3, 4, 24, 20)
    tifffile.imwrite(
        tmp_path / "a.tif", volumes, imagej=True, resolution=(2, 2),
        metadata={"axes": "TZYX", "unit": "micron", "spacing": 3.0},
    )  # fmt: skip
    spec = locate(str(tmp_path / "a.tif"))
    assert (spec.spatial, spec.pixel_size, spec.unit) == (("z", "y", "x"), (3.0, 0.5, 0.5), "µm")
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, volumes[2])


def test_a_tiff_of_several_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for channel in (0, 1):
            file.write(PIXELS[:, channel], metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"2 images: set input.series \(0: TYX \(3, 24, 20\); 1"):
        locate(str(tmp_path / "a.ome.tif"))
    with pytest.raises(InputError, match=r"input.series 2 is not there"):
        locate(str(tmp_path / "a.ome.tif"), series=2)
    spec = locate(str(tmp_path / "a.ome.tif"), series=1)
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])


def test_a_pyramid_in_a_tiff(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        metadata = {"axes": "TYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.4}
        file.write(PIXELS[:, 0], subifds=1, metadata=metadata)
        file.write(PIXELS[:, 0, ::2, ::2], subfiletype=1)
    spec = locate(str(tmp_path / "a.ome.tif"), level=1)
    assert (spec.frame_shape, spec.pixel_size) == ((12, 10), (0.8, 0.6))
    assert spec.levels == ((3, 24, 20), (3, 12, 10))
    np.testing.assert_array_equal(StackFrames(spec).read(1).image, PIXELS[1, 0, ::2, ::2])
    with pytest.raises(InputError, match="levels are 0 to 1"):
        locate(str(tmp_path / "a.ome.tif"), level=2)


def test_files_of_a_folder_and_of_a_pattern(tmp_path):
    """Natural order: frame 10 comes after frame 9; the pattern tells the channels apart."""
    frames = np.random.default_rng(0).integers(0, 999, (12, 24, 20)).astype("u2")
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"img_c0_{index}.tif", frame, metadata=None)
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "img_c0_*.tif", tmp_path / "img_c?_*[0-9].tif"):
        spec = locate(str(path))
        assert (spec.axes, spec.shape, spec.chunks) == (("t", "y", "x"), (12, 24, 20), (1, 24, 20))
        assert "12 TIFF files, img_c0_0.tif to img_c0_11.tif" in spec.kind
        for index in (0, 2, 10):
            found = StackFrames(spec).read(index, (slice(1, 9), slice(0, 20)))
            np.testing.assert_array_equal(found.image, frames[index, 1:9])
    stack = steadystack.open_stack(str(tmp_path / "*.tif"))
    np.testing.assert_array_equal(stack, frames)
    with pytest.raises(InputError, match="no TIFF file has such a name"):
        locate(str(tmp_path / "img_c1_*.tif"))


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    imagej(tmp_path / "img[1].tif")
    assert locate(str(tmp_path / "img[1].tif"), channel=0).frame_count == 3


def test_init_names_outputs_after_the_input(tmp_path):
    (tmp_path / "frames").mkdir()
    for index in range(2):
        tifffile.imwrite(tmp_path / "frames" / f"t{index}.tif", PIXELS[index, 0])
    shutil.unpack_archive(STORES / "ome-zarr-py-05-plate.zip", tmp_path / "plate.zarr")
    for words, name in (
        (("frames",), "frames-shifts.zarr"),
        (("frames/t*.tif",), "frames-shifts.zarr"),
        (("plate.zarr", "--position", "B/03/0", "--channel", "GFP"), "plate-B-03-0-shifts.zarr"),
    ):
        made = shell("init", tmp_path / words[0], *words[1:])
        assert yaml.safe_load(made.output)["output"]["shifts"] == name


def test_a_pattern_that_gives_one_frame(tmp_path):
    tifffile.imwrite(tmp_path / "t0.tif", PIXELS[0, 0])
    tifffile.imwrite(tmp_path / "t0.tiff", PIXELS[0, 0])
    told = shell("init", tmp_path / "t*.tif")
    assert told.exit_code == 2
    assert "has one frame (1 TIFF file, t0.tif, no other matches): a time-lapse" in told.stderr
    told = shell("init", tmp_path / "t0.tif", tmp_path / "t0.tiff")  # as a shell expands it
    assert told.exit_code == 2
    assert "t0.tiff, and one is taken: put a pattern in quotes" in told.stderr


def test_files_of_many_frames_each(tmp_path):
    imagej(tmp_path / "part_1.tif")
    tifffile.imwrite(tmp_path / "part_2.tif", PIXELS[:2], imagej=True, metadata={"axes": "TCYX"})
    spec = locate(str(tmp_path / "part_*.tif"), channel=1)
    assert spec.frame_count == 5
    for index, expected in enumerate([*PIXELS[:, 1], *PIXELS[:2, 1]]):
        np.testing.assert_array_equal(StackFrames(spec).read(index).image, expected)
    for name, frames in (("q_1.tif", PIXELS[:2, 1]), ("q_2.tif", PIXELS[2:, 1])):
        pages(tmp_path / name, frames)
    with pytest.raises(InputError, match=r"set input.axes, such as tyx .* or tzyx"):
        locate(str(tmp_path / "q_*.tif"))
    spec = locate(str(tmp_path / "q_*.tif"), axes="tyx")
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])


def test_one_file_of_a_series_is_another_or_torn(tmp_path):
    for index in range(4):
        tifffile.imwrite(tmp_path / f"img{index}.tif", PIXELS[0, 0] + index, compression="zlib")
    spec = locate(str(tmp_path / "img*.tif"))
    tifffile.imwrite(tmp_path / "img1.tif", PIXELS[0, 0, 1:])
    torn = tmp_path / "img2.tif"
    torn.write_bytes(torn.read_bytes()[:200])
    (tmp_path / "img3.tif").unlink()
    tifffile.imwrite(tmp_path / "img3.tif", PIXELS[0, 0])
    frames = StackFrames(spec)
    assert frames.read(0).status is frames.read(3).status is FrameStatus.OK
    for index, words in ((1, "img1.tif: ValueError: it holds uint16 of (23, 20)"), (2, "img2.tif")):
        found = frames.read(index)
        assert found.status is FrameStatus.UNREADABLE
        assert words in found.reason


def test_the_whole_way_from_a_series_of_tiff_files(tmp_path):
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(drifting()):
        tifffile.imwrite(tmp_path / "frames" / f"t{index}.tif", frame)
    config, checked = whole_way(tmp_path, tmp_path / "frames" / "t*.tif")
    assert "6 TIFF files, t0.tif to t5.tif" in checked
    assert "MiB (decoded) in a run" in checked
    assert_right(config)
    exported = [*("export", config.output.shifts), tmp_path / "a.csv"]
    assert shell(*exported).exit_code == 0
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows[0].startswith("frame,file,status")
    assert [row.split(",")[1] for row in rows[1:]] == [f"t{index}.tif" for index in range(6)]
    tifffile.imwrite(tmp_path / "frames" / "t00.tif", drifting()[0])  # which frame is which now?
    assert shell(*exported, "--overwrite").exit_code == 0
    assert (tmp_path / "a.csv").read_text().startswith("frame,status")


def test_a_real_tiff_holds_what_its_zarr_copy_holds(real_data):
    folder = real_data("bulk_water")
    frames = StackFrames(locate(str(folder / "bulk_water_every5.tif")))
    whole = zarr.open_array(folder / "bulk_water.ome.zarr" / "0", mode="r")
    assert frames.frame_count == 60
    for index in (0, 7, 59):
        np.testing.assert_array_equal(frames.read(index).image, whole[5 * index])


def test_a_real_series_of_tiff_files_moves_by_what_its_names_say(real_data, tmp_path):
    """Speckles, def_N.tif moved by N pixels along both axes; def_10 does not come after def_1."""
    path = real_data("dice_pixel_shift") / "def_*.tif"
    settings = {
        "input": {"path": str(path)},
        "register": {"max_shift": 4},
        "pairs": {"strategy": "consecutive"},
        "cluster": {"kind": "in-process"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    shifts = steadystack.run(steadystack.load_config(tmp_path / "run.yaml"))
    expected = -np.arange(15)[:, None] * np.ones(2)
    np.testing.assert_allclose(shifts["shift"], expected, atol=0.02)


def test_npy_stacks(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS[:, 0])
    spec = locate(str(tmp_path / "a.npy"))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 0])
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:200])
    with pytest.raises(InputError, match=r"b.npy cannot be read as .npy"):
        locate(str(tmp_path / "b.npy"))


# What is not as it should be


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("write", "share"),
    [(write, share) for write in (imagej, ome_tiff, pages) for share in (0.0005, 0.002, 0.4)]
    + [(imagej, 0.8), (ome_tiff, 0.8)],
)
def test_a_tiff_that_is_cut_off(tmp_path, write, share):
    path = tmp_path / "a.tif"
    write(path)
    cut(path, share)
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump(
            {"input": {"path": str(path), "axes": None}, "cluster": {"kind": "in-process"}}
        )
    )
    told = shell("run", tmp_path / "run.yaml")
    assert told.exit_code == 2
    assert "a.tif" in told.stderr
    assert "cut off" in told.stderr
    assert "Traceback" not in told.output


def test_a_tiff_whose_last_page_lacks_pixels(tmp_path):
    path = tmp_path / "a.tif"
    pages(path)
    with tifffile.TiffFile(path) as file:
        end = file.pages[-1].dataoffsets[0]
    path.write_bytes(path.read_bytes()[: end + 100])
    frames = StackFrames(locate(str(path)))
    assert [frames.read(i).status for i in range(3)] == [
        FrameStatus.OK, FrameStatus.OK, FrameStatus.UNREADABLE
    ]  # fmt: skip
    assert "corrupted" in frames.read(2).reason


def test_tiff_strips_that_were_never_written_are_missing(tmp_path):
    path = tmp_path / "a.tif"
    pages(path, compression="zlib", rowsperstrip=12)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag = file.pages[1].tags["StripByteCounts"]
        tag.overwrite([0, tag.value[1]])
    found = StackFrames(locate(str(path))).read(1)
    assert found.status is FrameStatus.INCOMPLETE
    assert not found.valid[:12].any()
    assert found.valid[12:].all()


def test_what_is_no_tiff(tmp_path):
    (tmp_path / "a.tif").write_text("no TIFF at all")
    with pytest.raises(InputError, match="is no TIFF file"):
        locate(str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="is not there"):
        locate(str(tmp_path / "b.tif"))


def unpacked(tmp_path, name="ome-zarr-py-05"):
    shutil.unpack_archive(STORES / f"{name}.zip", tmp_path / "a.zarr")
    return zarr.open_group(tmp_path / "a.zarr", mode="r+"), str(tmp_path / "a.zarr")


def test_a_level_whose_scale_does_not_fit(tmp_path):
    group, path = unpacked(tmp_path)
    ome = group.attrs["ome"]
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"] = [
        2.5,
        1,
        0.4,
        0.3,
    ]
    group.attrs["ome"] = ome
    assert locate(path, channel=0).pixel_size == (0.4, 0.3)
    with pytest.raises(
        InputError, match=r"level 1 has \(3, 2, 12, 10\) pixels and states .*pixel_size"
    ):
        locate(path, channel=0, level=1)
    spec = locate(path, channel=0, level=1, pixel_size=(0.8, 0.6))
    assert (spec.pixel_size, spec.unit) == ((0.8, 0.6), "micrometer")
    assert locate(path, channel=0, pixel_size=2).pixel_size == (2.0, 2.0)
    with pytest.raises(InputError, match="pixel_size has 3 values for the axes y, x"):
        locate(path, channel=0, pixel_size=(1, 2, 3))
    ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]["scale"] = [1, 1]
    group.attrs["ome"] = ome
    with pytest.raises(InputError, match=r"has the scale \[1, 1\] for 4 axes"):
        locate(path, channel=0, level=1)


def test_levels_of_odd_sizes_fit_whichever_way_they_were_rounded(tmp_path):
    for size, coarse in ((25, 12), (25, 13), (3, 1), (3, 2)):
        group = zarr.create_group(tmp_path / "a.zarr", overwrite=True)
        for name, side in (("0", size), ("1", coarse)):
            group.create_array(name, shape=(2, side, side), dtype="u1")
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{
            "axes": [{"name": axis} for axis in "tyx"],
            "datasets": [{"path": str(i), "coordinateTransformations": [
                {"type": "scale", "scale": [1, 1 + i, 1 + i]}]} for i in (0, 1)],
        }]}  # fmt: skip
        assert locate(str(tmp_path / "a.zarr"), level=1).pixel_size == (2, 2)


def test_axes_in_an_unusual_order(tmp_path):
    order = ("x", "c", "t", "y")
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS.transpose(3, 1, 0, 2), dimension_names=order)
    spec = locate(str(tmp_path / "a.zarr"), channel=1)
    assert (spec.axes, spec.frame_count, spec.frame_shape) == (order, 3, (24, 20))
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])
    stack = steadystack.open_stack(str(tmp_path / "a.zarr"), channel=1)
    np.testing.assert_array_equal(ArrayFrames.checked(stack).read(1).image, PIXELS[1, 1])


def test_a_channel_name_that_occurs_twice(tmp_path):
    group, path = unpacked(tmp_path)
    ome = group.attrs["ome"]
    for channel in ome["omero"]["channels"]:
        channel["label"] = "GFP"
    group.attrs["ome"] = ome
    with pytest.raises(
        InputError, match=r"'GFP' is the name of 2 channels: choose by number \(0, 1"
    ):
        locate(path, channel="GFP")
    assert locate(path, channel=1).channel == 1


def growing_zarr(path, count):
    array = zarr.open_array(path, mode="a") if path.exists() else zarr.create_array(
        path, shape=(count, 48, 64), chunks=(1, 48, 64), dtype="u2", dimension_names=["t", "y", "x"]
    )  # fmt: skip
    array.resize((count, 48, 64))
    array[...] = drifting(count)


def growing_folder(path, count):
    path.mkdir(exist_ok=True)
    for index, frame in enumerate(drifting(count)):
        tifffile.imwrite(path / f"f{index}.tif", frame)


@pytest.mark.parametrize("grow", [growing_zarr, growing_folder])
def test_a_stack_that_grows_while_it_is_read(tmp_path, grow):
    """A run keeps to the frames that it found; the next one says what is new and loses nothing."""
    path = tmp_path / "stack"
    grow(path, 4)
    frames = StackFrames(locate(str(path)))
    grow(path, 6)
    assert frames.frame_count == 4
    for index in range(4):
        np.testing.assert_array_equal(frames.read(index).image, drifting(4)[index])

    settings = {
        "input": {"path": "stack"},
        "register": {"max_shift": 12},
        "cluster": {"kind": "in-process"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    if path.is_dir() and not (path / "zarr.json").exists():
        for index in (4, 5):
            (path / f"f{index}.tif").unlink()
    else:
        growing_zarr(path, 4)
    assert shell("run", tmp_path / "run.yaml").exit_code == 0
    before = sorted(
        (f.relative_to(tmp_path), f.read_bytes())
        for f in (tmp_path / "shifts.zarr").rglob("*")
        if f.is_file()
    )
    grow(path, 6)
    told = shell("run", tmp_path / "run.yaml")
    assert told.exit_code == 2
    assert "6 frames now, and had 4" in told.stderr
    assert "--overwrite" in told.stderr
    after = sorted(
        (f.relative_to(tmp_path), f.read_bytes())
        for f in (tmp_path / "shifts.zarr").rglob("*")
        if f.is_file()
    )
    assert before == after
    assert shell("run", tmp_path / "run.yaml", "--overwrite").exit_code == 0


def test_files_that_are_others_than_when_the_run_began(tmp_path):
    growing_folder(tmp_path / "stack", 3)
    frames = StackFrames(locate(str(tmp_path / "stack")))
    tifffile.imwrite(tmp_path / "stack" / "a.tif", drifting(1)[0])  # before the others
    found = frames.read(1)
    assert found.status is FrameStatus.UNREADABLE
    assert "others than when the run began" in found.reason


def test_a_stack_that_became_another_one(tmp_path):
    growing_zarr(tmp_path / "a.zarr", 4)
    frames = StackFrames(locate(str(tmp_path / "a.zarr")))
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 40, 64), dtype="u2", overwrite=True)
    found = frames.read(1)
    assert found.status is FrameStatus.UNREADABLE
    assert "had the shape (4, 48, 64) and has (4, 40, 64) now" in found.reason


def test_a_chunk_that_cannot_be_decoded_costs_its_frame_and_is_told(tmp_path):
    write_stack(tmp_path / "a.zarr", drifting(), pixel_size=(0.5, 0.5))
    torn = tmp_path / "a.zarr/0/c/3/0/0"
    torn.write_bytes(torn.read_bytes()[:40])
    settings = {"input": {"path": "a.zarr"}, "register": {"max_shift": 12},
                "cluster": {"kind": "in-process"}}  # fmt: skip
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    shell("run", tmp_path / "run.yaml")
    import xarray as xr

    with xr.open_zarr(tmp_path / "shifts.zarr") as shifts:
        status = shifts["frame_status"].to_numpy()
        found = shifts["shift"].to_numpy()
    assert [FrameStatus.from_code(code) for code in status][3] is FrameStatus.UNREADABLE
    kept = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(found[kept], SHIFTS[kept], atol=0.05)


def test_init_and_check_say_what_they_understood(tmp_path):
    shutil.unpack_archive(STORES / "ngff-zarr-05-sharded.zip", tmp_path / "a.zarr")
    said = shell("init", tmp_path / "a.zarr", "--channel", "1").output
    for words in ("axes: t 3, c 2, y 24, x 20", "pixel size: 0.4 x 0.3 micrometer",
                  "frame times: 0 to 5 second", "(3, 2, 12, 12) in shards of (3, 2, 24, 24)",
                  "levels: (3, 2, 24, 20), (3, 2, 12, 10)"):  # fmt: skip
        assert words in said
