"""TIFF stacks and series of TIFF files, whole and torn."""

from __future__ import annotations

import sys

import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr

import steadystack
from steadystack.model import FrameStatus, InputError
from steadystack.readers import StackFrames, locate_stack
from support.settings import write_run
from support.shell import shell
from support.tiff_files import PIXELS, described, imagej, ome_tiff, pages, strips


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
    spec = locate_stack(str(path), channel="GFP" if told else None)
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
    spec = locate_stack(str(tmp_path / "a.tif"))
    assert (spec.spatial, spec.pixel_size, spec.unit) == (("z", "y", "x"), (3.0, 0.5, 0.5), "µm")
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, volumes[2])


def test_a_tiff_of_several_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for channel in (0, 1):
            file.write(PIXELS[:, channel], metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"2 images: set input.series \(0: TYX \(3, 24, 20\); 1"):
        locate_stack(str(tmp_path / "a.ome.tif"))
    with pytest.raises(InputError, match=r"input.series 2 does not exist"):
        locate_stack(str(tmp_path / "a.ome.tif"), series=2)
    spec = locate_stack(str(tmp_path / "a.ome.tif"), series=1)
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])


def test_a_pyramid_in_a_tiff(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        metadata = {"axes": "TYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.4}
        file.write(PIXELS[:, 0], subifds=1, metadata=metadata)
        file.write(PIXELS[:, 0, ::2, ::2], subfiletype=1)
    spec = locate_stack(str(tmp_path / "a.ome.tif"), level=1)
    assert (spec.frame_shape, spec.pixel_size) == ((12, 10), (0.8, 0.6))
    assert spec.levels == ((3, 24, 20), (3, 12, 10))
    np.testing.assert_array_equal(StackFrames(spec).read(1).image, PIXELS[1, 0, ::2, ::2])
    with pytest.raises(InputError, match="levels are 0 to 1"):
        locate_stack(str(tmp_path / "a.ome.tif"), level=2)


def test_files_of_a_folder_and_of_a_pattern(tmp_path):
    """Natural order: frame 10 comes after frame 9; the pattern tells the channels apart."""
    frames = np.random.default_rng(0).integers(0, 999, (12, 24, 20)).astype("u2")
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"img_c0_{index}.tif", frame, metadata=None)
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "img_c0_*.tif", tmp_path / "img_c?_*[0-9].tif"):
        spec = locate_stack(str(path))
        assert (spec.axes, spec.shape, spec.chunks) == (("t", "y", "x"), (12, 24, 20), (1, 24, 20))
        assert "12 TIFF files, img_c0_0.tif to img_c0_11.tif" in spec.kind
        for index in (0, 2, 10):
            found = StackFrames(spec).read(index, (slice(1, 9), slice(0, 20)))
            np.testing.assert_array_equal(found.image, frames[index, 1:9])
    stack = steadystack.open_stack(str(tmp_path / "*.tif"))
    np.testing.assert_array_equal(stack, frames)
    with pytest.raises(InputError, match="no TIFF file matches"):
        locate_stack(str(tmp_path / "img_c1_*.tif"))


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    imagej(tmp_path / "img[1].tif")
    assert locate_stack(str(tmp_path / "img[1].tif"), channel=0).frame_count == 3


def test_files_of_many_frames_each(tmp_path):
    imagej(tmp_path / "part_1.tif")
    tifffile.imwrite(tmp_path / "part_2.tif", PIXELS[:2], imagej=True, metadata={"axes": "TCYX"})
    spec = locate_stack(str(tmp_path / "part_*.tif"), channel=1)
    assert spec.frame_count == 5
    for index, expected in enumerate([*PIXELS[:, 1], *PIXELS[:2, 1]]):
        np.testing.assert_array_equal(StackFrames(spec).read(index).image, expected)
    for name, frames in (("q_1.tif", PIXELS[:2, 1]), ("q_2.tif", PIXELS[2:, 1])):
        pages(tmp_path / name, frames)
    with pytest.raises(InputError, match=r"set input.axes, such as tyx .* or tzyx"):
        locate_stack(str(tmp_path / "q_*.tif"))
    spec = locate_stack(str(tmp_path / "q_*.tif"), axes="tyx")
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])


def test_one_file_of_a_series_is_another_or_torn(tmp_path):
    for index in range(4):
        tifffile.imwrite(tmp_path / f"img{index}.tif", PIXELS[0, 0] + index, compression="zlib")
    spec = locate_stack(str(tmp_path / "img*.tif"))
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


def test_a_real_tiff_holds_what_its_zarr_copy_holds(real_data):
    folder = real_data("bulk_water")
    frames = StackFrames(locate_stack(str(folder / "bulk_water_every5.tif")))
    whole = zarr.open_array(folder / "bulk_water.ome.zarr" / "0", mode="r")
    assert frames.frame_count == 60
    for index in (0, 7, 59):
        np.testing.assert_array_equal(frames.read(index).image, whole[5 * index])


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
    told = shell("run", write_run(tmp_path, input={"path": str(path), "axes": None}))
    assert told.exit_code == 2
    assert "a.tif" in told.stderr
    assert "truncated" in told.stderr
    assert "Traceback" not in told.output


def test_a_tiff_whose_last_page_lacks_pixels(tmp_path):
    path = tmp_path / "a.tif"
    pages(path)
    with tifffile.TiffFile(path) as file:
        end = file.pages[-1].dataoffsets[0]
    path.write_bytes(path.read_bytes()[: end + 100])
    frames = StackFrames(locate_stack(str(path)))
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
    found = StackFrames(locate_stack(str(path))).read(1)
    assert found.status is FrameStatus.INCOMPLETE
    assert not found.valid[:12].any()
    assert found.valid[12:].all()


def test_strips_that_a_file_of_a_series_lacks_are_missing(tmp_path):
    for number in range(3):
        pages(tmp_path / f"a{number}.tif", compression="zlib", rowsperstrip=12)
    with tifffile.TiffFile(tmp_path / "a1.tif", mode="r+b") as file:
        tag = file.pages[1].tags["StripByteCounts"]
        tag.overwrite([0, tag.value[1]])
    with tifffile.TiffFile(tmp_path / "a1.tif") as file:
        count = len(file.pages)
    spec = locate_stack(str(tmp_path / "a*.tif"), axes="tyx")
    for frame in range(3 * count):
        found = StackFrames(spec).read(frame)
        assert found.valid[:12].all() == (frame != count + 1)
        assert found.valid[12:].all()


def test_a_folder_of_tiff_files_and_pictures_asks_which(tmp_path):
    pages(tmp_path / "mean.tif")
    PIL.Image.new("L", (4, 4)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"holds TIFF files and pictures: give a pattern.*\*\.tif"):
        locate_stack(str(tmp_path))


def test_what_is_no_tiff(tmp_path):
    (tmp_path / "a.tif").write_text("no TIFF at all")
    with pytest.raises(InputError, match="is not a TIFF file"):
        locate_stack(str(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="does not exist"):
        locate_stack(str(tmp_path / "b.tif"))


@pytest.mark.parametrize("colours", [False, True])
def test_pages_written_one_by_one_are_a_stack(tmp_path, colours):
    frames = np.random.default_rng(0).integers(0, 999, (30, 24, 20, *((3,) * colours)), "u2")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in frames:
            file.write(frame, resolution=(20000, 40000), resolutionunit="CENTIMETER",
                       photometric="rgb" if colours else "minisblack")  # fmt: skip
    spec = locate_stack(str(tmp_path / "a.tif"), channel=1 if colours else None)
    assert (spec.frame_count, spec.frame_shape, spec.unit) == (30, (24, 20), "micrometer")
    np.testing.assert_allclose(spec.pixel_size, (0.25, 0.5))
    stack = steadystack.open_stack(str(tmp_path / "a.tif"), channel=1 if colours else None)
    np.testing.assert_array_equal(stack, frames[..., 1] if colours else frames)


def test_pages_that_differ_are_no_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in range(20):
            file.write(np.zeros((24, 20 + size), "u2"))
    with pytest.raises(InputError, match=r"20 images: set input.series .* and 12 more\)$"):
        locate_stack(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("tag", ["XResolution", "YResolution", "ResolutionUnit"])
def test_a_resolution_of_0_is_not_known(tmp_path, tag):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[:, 0], resolution=(20000, 40000), resolutionunit="CENTIMETER",
                     metadata={"axes": "TYX"}, photometric="minisblack")  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite(0 if tag == "ResolutionUnit" else (0, 0))
    expected = {"XResolution": (0.25, np.nan), "YResolution": (np.nan, 0.5)}
    spec = locate_stack(str(path))
    np.testing.assert_allclose(spec.pixel_size, expected.get(tag, (np.nan, np.nan)))


def test_a_list_of_pages_that_is_a_ring_is_reported(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder="<") as file:
        for frame in PIXELS[:, 0]:
            file.write(frame)
    with tifffile.TiffFile(path) as file:
        pages = [page.offset for page in file.pages]
        end = pages[-1] + 2 + 12 * len(file.pages[-1].tags)
    content = bytearray(path.read_bytes())
    content[end : end + 4] = pages[1].to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.tif is truncated or damaged \(.*circular"):
        locate_stack(str(path))


def test_a_tifffile_that_lacks_something_in_zarr_is_reported_with_the_way_out(
    tmp_path, monkeypatch
):
    """As tifffile 2026.3 does in zarr 3.4, and then says "zarr 3.4 < 3 is not supported"."""
    pages(tmp_path / "a.tif")
    monkeypatch.delitem(sys.modules, "tifffile.zarr", raising=False)
    monkeypatch.setitem(sys.modules, "zarr.abc.store", None)  # to import from it is an ImportError
    words = f"tifffile {tifffile.__version__} is not compatible with zarr {zarr.__version__}; pip"
    with pytest.raises(InputError, match=words) as raised:
        locate_stack(str(tmp_path / "a.tif"))
    assert "< 3" not in str(raised.value)


def test_an_ome_tiff_of_several_files_is_one_stack(tmp_path):
    """Each describes, and stands for, all of them: as frames they would be there many times."""
    names = [f"t{i}.ome.tif" for i in range(3)]
    parts = "".join(
        f'<TiffData FirstT="{i}" IFD="0"><UUID FileName="{name}">urn:uuid:{i}</UUID></TiffData>'
        for i, name in enumerate(names)
    )
    for i, name in enumerate(names):
        described = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{i}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="20" SizeY="24" SizeZ="1" SizeC="1" SizeT="3">{parts}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            tmp_path / name, np.full((24, 20), i, "u2"), description=described, metadata=None
        )
    for name in names:
        stack = steadystack.open_stack(str(tmp_path / name))
        assert stack[:, 0, 0].values.tolist() == [0, 1, 2]
    for several in (tmp_path, tmp_path / "t*.ome.tif"):
        with pytest.raises(InputError, match=r"t0\.ome\.tif is part of an OME-TIFF of 3 files"):
            locate_stack(str(several))
    (tmp_path / names[1]).unlink()
    assert steadystack.open_stack(str(tmp_path / names[0])).shape == (3, 24, 20)
