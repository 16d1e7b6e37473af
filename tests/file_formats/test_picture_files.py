"""Pictures as Pillow and plain layouts write them, one frame in each."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import steadystack
from steadystack.cli import main
from steadystack.model import FrameStatus, InputError
from steadystack.readers import StackFrames, locate_mask, locate_stack, read_any_image
from support.drifting_files import TRUTH, make_frames, shifts_of
from support.members import slow_but

RNG = np.random.default_rng(5)
COLOURED = RNG.integers(0, 256, (3, 20, 30, 3)).astype("u1")


def write_pnm(path, pixels, most):
    """Write a PGM or PPM by hand, with a comment in its head."""
    head = f"P{5 if pixels.ndim == 2 else 6}\n# a comment\n{pixels.shape[1]} {pixels.shape[0]}\n"
    dtype = "u1" if most < 256 else ">u2"
    path.write_bytes(f"{head}{most}\n".encode() + pixels.astype(dtype).tobytes())


@pytest.mark.parametrize("ending", slow_but(["png", "pgm"], ["png", "bmp", "pgm", "jpg"]))
def test_a_folder_of_pictures_is_measured(tmp_path, workers, ending):
    """Frame 9 comes before frame 10; 12 bits of a PGM stay what they are."""
    (tmp_path / "frames").mkdir()
    frames = make_frames("u1" if ending in ("bmp", "jpg") else "u2")
    for index, frame in enumerate(frames, 8):
        path = tmp_path / f"frames/f{index}.{ending}"
        if ending == "pgm":
            write_pnm(path, frame, 4095)
        else:
            Image.fromarray(frame).save(path, **({"quality": 98} if ending == "jpg" else {}))
    spec = locate_stack(str(tmp_path / "frames"))
    stack = steadystack.open_stack(str(tmp_path / "frames"))
    expected = (tuple("tyx"), str(frames.dtype), "", None)
    assert (spec.axes, spec.dtype, spec.unit, spec.time) == expected
    assert np.isnan(spec.pixel_size).all()
    assert spec.array.list_frame_files(spec.path)[:3] == tuple(f"f{n}.{ending}" for n in (8, 9, 10))
    if ending == "jpg":
        np.testing.assert_allclose(stack.astype(int), frames.astype(int), atol=12)
    else:
        np.testing.assert_array_equal(stack, frames)
    cluster = workers if ending == "png" else None
    shifts = shifts_of(tmp_path, cluster, path=f"frames/f*.{ending}")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.1)


@pytest.mark.parametrize("ending", ["png", "ppm"])
def test_colours_are_channels(tmp_path, ending):
    for index, frame in enumerate(COLOURED):
        path = tmp_path / f"c{index}.{ending}"
        write_pnm(path, frame, 255) if ending == "ppm" else Image.fromarray(frame).save(path)
    spec = locate_stack(str(tmp_path), channel="green")
    assert (spec.axes, spec.channel_names) == (tuple("tyxc"), ("red", "green", "blue"))
    for frame in range(3):
        found = StackFrames(spec).read(frame, (slice(3, 9), slice(10, 30)))
        np.testing.assert_array_equal(found.image, COLOURED[frame, 3:9, 10:, 1])
    with pytest.raises(InputError, match=r"3 channels: red, green, blue.*input\.channel"):
        locate_stack(str(tmp_path))


def test_palettes_and_grey_with_alpha_are_channels(tmp_path):
    """What a palette stands for is read, not its numbers."""
    (tmp_path / "palette").mkdir()
    (tmp_path / "alpha").mkdir()
    for index, frame in enumerate(COLOURED):
        Image.fromarray(frame).quantize(16).save(tmp_path / f"palette/{index}.png")
        Image.fromarray(frame[..., :2]).save(tmp_path / f"alpha/{index}.png")
    with Image.open(tmp_path / "palette/1.png") as image:
        expected = np.asarray(image.convert("RGB"))
    stack = steadystack.open_stack(str(tmp_path / "palette"), channel="blue")
    np.testing.assert_array_equal(stack[1], expected[..., 2])
    stack = steadystack.open_stack(str(tmp_path / "alpha"), channel="grey")
    np.testing.assert_array_equal(stack, COLOURED[..., 0])


def test_a_picture_is_a_mask(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[4:-4, 4:-4] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    found = locate_mask(str(tmp_path / "mask.png"), 5, (48, 64))
    np.testing.assert_array_equal(found.read(0, (48, 64)), mask > 0)
    np.save(tmp_path / "stack.npy", make_frames())
    shifts = shifts_of(tmp_path, mask={"path": "mask.png"}, path="stack.npy")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.1)


def test_a_draft_for_pictures(tmp_path):
    for index, frame in enumerate(make_frames()):
        Image.fromarray(frame).save(tmp_path / f"f{index}.png")
    drafted = CliRunner().invoke(main, ["init", str(tmp_path / "f*.png")])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.stdout)["input"]["path"] == str(tmp_path / "f*.png")
    alone = CliRunner().invoke(main, ["init", str(tmp_path / "f0.png")])
    assert alone.exit_code == 2
    assert f"'{tmp_path}/*.png'" in alone.output


def test_sixteen_bits_per_colour_are_not_cut_to_eight(tmp_path):
    """Pillow would; the picture is written by another library."""
    codecs = pytest.importorskip("imagecodecs")
    coloured = COLOURED[0].astype("u2") * 257
    (tmp_path / "0.png").write_bytes(codecs.png_encode(coloured))
    with pytest.raises(InputError, match=r"0\.png has 16 bits per colour.*TIFF"):
        locate_stack(str(tmp_path))


@pytest.mark.parametrize("ending", slow_but(["jpg"], ["png", "jpg", "pgm"]))
def test_a_picture_that_is_cut_off_is_named(tmp_path, monkeypatch, ending):
    """The first before anything begins; a later one is a frame that cannot be read."""
    monkeypatch.setattr("steadystack.durable.outages.PAUSES_S", (0.0, 0.0, 0.0))
    for index in range(3):
        path = tmp_path / f"{index}.{ending}"
        pixels = COLOURED[index, ..., 0]
        write_pnm(path, pixels, 255) if ending == "pgm" else Image.fromarray(pixels).save(path)
    whole = (tmp_path / f"0.{ending}").read_bytes()
    (tmp_path / f"2.{ending}").write_bytes(whole[: len(whole) * 3 // 4])
    frames = StackFrames(locate_stack(str(tmp_path)))
    assert frames.read(1).status is FrameStatus.OK
    cut = frames.read(2)
    assert (cut.status, f"{tmp_path}/2.{ending}" in cut.reason) == (FrameStatus.UNREADABLE, True)
    (tmp_path / f"0.{ending}").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(InputError, match=rf"0\.{ending}: the picture cannot be read"):
        locate_stack(str(tmp_path))
    with pytest.raises(InputError, match=rf"0\.{ending}: the mask cannot be read"):
        locate_mask(str(tmp_path / f"0.{ending}"), 5, pixels.shape)
    with pytest.raises(InputError, match=rf"0\.{ending}: the image cannot be read"):
        read_any_image(str(tmp_path / f"0.{ending}"), ("y", "x"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.png", b"not a picture", "the picture cannot be read"),
        ("a.pgm", b"P2\n2 1\n255\n3 4", r"is not a binary PGM or PPM \(P5, P6\)"),
        ("a.pgm", b"P5" + b" " * 4000, r"is not a binary PGM or PPM \(P5, P6\)"),
        ("a.pgm", b"P5\n2 1\n70000\n0000", "its maximum is 70000, not 1 to 65535"),
        ("a.png", None, r"a\.png does not exist"),
    ],
)
def test_what_is_no_picture_is_reported(tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        locate_stack(str(tmp_path / name))


def test_pictures_of_several_kinds_or_none(tmp_path):
    for name in ("a.png", "b.bmp"):
        Image.fromarray(COLOURED[0]).save(tmp_path / name)
    with pytest.raises(InputError, match=r"end in \.bmp, \.png: give a pattern"):
        locate_stack(str(tmp_path))
    with pytest.raises(InputError, match="no picture matches"):
        locate_stack(str(tmp_path / "c*.png"))


def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    Image.fromarray(COLOURED[0]).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"steadystack\[pictures\]"):
        locate_stack(str(tmp_path / "a.png"))
