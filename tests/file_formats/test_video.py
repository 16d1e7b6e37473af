"""Videos as PyAV writes them, every frame against what decoding from the beginning gives."""

from __future__ import annotations

import os
import struct
import sys
from contextlib import contextmanager

import av
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter, shift

import steadystack
from steadystack.cli import main
from steadystack.model import FrameStatus, InputError
from steadystack.readers import StackFrames, locate_mask, locate_stack
from support.drifting_files import TRUTH, make_frames, shifts_of

SCENES = gaussian_filter(
    np.random.default_rng(1).normal(128, 400, (57, 48, 64)).clip(0, 255), (0, 2, 2)
).astype("u1")


@contextmanager
def keeping_its_priority():
    """SVT-AV1 makes a process of root one of real time, for which all other tests wait."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def write(path, codec, pixels, frames=SCENES, key_every=12, form="gray", **options):
    with keeping_its_priority(), av.open(path, "w") as file:
        try:
            stream = file.add_stream(codec, rate=5, options=options)
        except (ValueError, av.FFmpegError):
            pytest.skip(f"this FFmpeg does not write {codec}")
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.gop_size = pixels, key_every
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=form)))
        file.mux(stream.encode())
    return str(path)


def decode_all(path):
    """The brightness of all frames, decoded one after the other."""
    with av.open(path) as file:
        frames = list(file.decode(video=0))
    size = frames[0].height, frames[0].width
    lines = [np.frombuffer(f.planes[0], "u1").reshape(-1, f.planes[0].line_size) for f in frames]
    return np.stack([line[: size[0], : size[1]] for line in lines])


WRITTEN = {
    "every frame a key": ("a.mov", "mjpeg", "yuvj420p", {}),
    "lossless": ("a.avi", "ffv1", "gray", {}),
    "MPEG-4 in AVI, out of order": ("a.avi", "mpeg4", "yuv420p", {"bf": "2"}),
    "H.264, out of order": ("a.mp4", "libx264", "yuv420p", {"bf": "3"}),
    "H.264, groups that overlap": ("a.mp4", "libx264", "yuv420p", {"x264-params": "open-gop=1"}),
    "H.264, one key": ("a.mov", "libx264", "yuv420p", {"bf": "3", "key_every": 250}),
    "AV1": ("a.mp4", "libsvtav1", "yuv420p", {}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_frame_is_the_one_of_its_number(tmp_path, name):
    """Forwards, backwards and in any order, to the last bit."""
    file, codec, pixels, options = WRITTEN[name]
    path = write(tmp_path / file, codec, pixels, **options)
    expected = decode_all(path)
    spec = locate_stack(path)
    assert (spec.axes, spec.shape, spec.dtype) == (tuple("tyx"), (57, 48, 64), "uint8")
    np.testing.assert_allclose(spec.time[0], np.arange(57) / 5, atol=1e-9)
    assert spec.time[1] == "s"
    pixels = spec.array.open(path)
    order = [*range(0, 57, 7), *range(56, -1, -5), *np.random.default_rng(2).permutation(57)]
    for index in map(int, order):
        block = pixels.read((slice(index, index + 1), slice(3, 40), slice(5, 64)))
        np.testing.assert_array_equal(block[0], expected[index, 3:40, 5:])
    np.testing.assert_array_equal(steadystack.open_stack(path), expected)


CODECS = {
    "lossless": ("ffv1", "gray", 12, 0.0),
    "every frame by itself": ("mjpeg", "yuvj420p", 12, 0.0),
    "a key at every frame": ("libx264", "yuv420p", 1, 0.0),
    "H.264": ("libx264", "yuv420p", 12, 0.01),
    "MPEG-4, vectors of half a pixel": ("mpeg4", "yuv420p", 12, 0.02),
}


@pytest.mark.parametrize("name", CODECS)
def test_where_a_codec_puts_frames_is_known_by_the_bits_it_spends(tmp_path, name):
    codec, pixels, key_every, of_one_bit = CODECS[name]
    path = write(tmp_path / "a.mkv", codec, pixels, key_every=key_every)
    with av.open(path) as file:
        bits = 8 * sum(packet.size for packet in file.demux(video=0))
    expected = of_one_bit / np.sqrt(bits / SCENES.size)
    assert locate_stack(path).codec_std == pytest.approx(expected)
    assert locate_stack(path, frames="::2").codec_std == pytest.approx(expected)
    assert ("displaces the content of frames" in locate_stack(path).kind) == bool(of_one_bit)
    assert expected < 0.1


def test_a_codec_that_spends_hardly_any_bits_moves_frames_by_a_tenth_of_a_pixel(tmp_path):
    path = write(tmp_path / "a.mp4", "libx264", "yuv420p", np.zeros((24, 256, 256), "u1"))
    assert locate_stack(path).codec_std == 0.1


def test_stated_errors_of_a_video_include_where_its_codec_puts_frames(tmp_path):
    """The same frames as an array state less, and are right; those of the video would not hold."""
    rng = np.random.default_rng(3)
    scene = gaussian_filter(rng.normal(size=(160, 160)), 2)
    truth = np.cumsum(rng.normal(0, 0.4, (24, 2)), axis=0)
    truth -= truth[0]
    frames = np.stack([shift(scene, -one, order=3)[32:128, 32:128] for one in truth])
    frames = np.clip(128 + 45 * frames / frames.std(), 0, 255).round().astype("u1")
    write(tmp_path / "a.mp4", "libx264", "yuv420p", frames, key_every=250, crf="30")
    shifts = shifts_of(tmp_path, None, path="a.mp4")
    off = (shifts["frame_shift"] - truth).to_numpy()[1:]
    std = shifts["frame_shift_std"].to_numpy()
    codec_std = shifts.attrs["codec_std"]
    assert codec_std == locate_stack(str(tmp_path / "a.mp4")).codec_std > 0
    alone = np.sqrt(std[1:] ** 2 - 2 * codec_std**2)
    stack = steadystack.open_stack(tmp_path / "a.mp4")
    in_memory = steadystack.estimate_shifts(stack, max_shift=8)
    assert in_memory.attrs["codec_std"] == codec_std
    np.testing.assert_allclose(in_memory["frame_shift_std"], std, rtol=0.05)
    np.testing.assert_array_equal(std[0], 0)
    assert np.sqrt((off**2).mean()) < 1.5 * np.sqrt((std[1:] ** 2).mean())
    assert np.sqrt((off**2).mean()) > 2 * np.sqrt((alone**2).mean())


@pytest.mark.slow
def test_a_video_is_measured_on_workers(tmp_path, workers):
    frames = make_frames("u1")
    write(tmp_path / "a.avi", "ffv1", "gray", frames)
    shifts = shifts_of(tmp_path, workers, path="a.avi")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.1)
    np.testing.assert_allclose(shifts["time"], np.arange(5) / 5)


def test_a_draft_for_a_video_and_frames_of_it(tmp_path):
    path = write(tmp_path / "a.mp4", "mpeg4", "yuv420p", np.repeat(make_frames("u1"), 2, 0))
    drafted = CliRunner().invoke(main, ["init", path, "--frames", "::2"])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.stdout)["input"] == {"path": path, "frames": "::2"}
    spec = locate_stack(path, frames="::2")
    np.testing.assert_allclose(spec.time[0], np.arange(5) * 0.4)


def test_more_bits_and_colours_are_kept(tmp_path):
    deep = SCENES[:4].astype("u2") * 257
    path = write(tmp_path / "deep.mkv", "ffv1", "gray16le", deep, form="gray16le")
    np.testing.assert_array_equal(steadystack.open_stack(path), deep)
    colours = np.stack([SCENES[:4], SCENES[4:8], SCENES[8:12]], -1)
    path = write(tmp_path / "colours.avi", "rawvideo", "bgr24", colours, form="rgb24")
    spec = locate_stack(path, channel="green")
    assert (spec.axes, spec.channel_names) == (tuple("tyxc"), ("red", "green", "blue"))
    np.testing.assert_array_equal(steadystack.open_stack(path, channel="blue"), colours[..., 2])
    with pytest.raises(InputError, match="3 channels: red, green, blue"):
        locate_stack(path)


def write_palette(path, frames, palette):
    """Write an AVI of 8 bits and a palette by hand, as ImageJ does: lines from the lowest up."""
    count, height, width = frames.shape
    line = -(-width // 4) * 4

    def chunk(name, content):
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    bitmap = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, line * height, 0, 0, 256, 0)
    colours = np.concatenate([palette[:, ::-1], np.zeros((256, 1), "u1")], 1).tobytes()
    head = struct.pack(
        "<14I", 200000, 0, 0, 0x10, count, 0, 1, line * height, width, height, 0, 0, 0, 0
    )
    stream = struct.pack("<4s4s10I4H", b"vids", b"DIB ", 0, 0, 0, 1, 5, 0, count, line * height,
                         0, 0, 0, 0, width, height)  # fmt: skip
    padded = np.pad(frames[:, ::-1], ((0, 0), (0, 0), (0, line - width)))
    images = b"".join(chunk(b"00db", frame.tobytes()) for frame in padded)
    index = b"".join(
        struct.pack("<4s3I", b"00db", 0x10, 4 + n * (line * height + 8), line * height)
        for n in range(count)
    )
    streams = b"strl" + chunk(b"strh", stream) + chunk(b"strf", bitmap + colours)
    lists = chunk(b"LIST", b"hdrl" + chunk(b"avih", head) + chunk(b"LIST", streams))
    content = b"AVI " + lists + chunk(b"LIST", b"movi" + images) + chunk(b"idx1", index)
    path.write_bytes(chunk(b"RIFF", content))
    return str(path)


def test_a_palette_of_greys_is_grey_and_others_are_channels(tmp_path):
    grey = np.repeat(np.arange(256, dtype="u1")[::-1, None], 3, 1)
    path = write_palette(tmp_path / "a.avi", SCENES[:5, :, :61], grey)
    spec = locate_stack(path)
    assert (spec.axes, spec.shape) == (tuple("tyx"), (5, 48, 61))
    np.testing.assert_array_equal(steadystack.open_stack(path), 255 - SCENES[:5, :, :61])
    np.testing.assert_allclose(spec.time[0], np.arange(5) / 5)
    fire = np.random.default_rng(3).integers(0, 256, (256, 3)).astype("u1")
    path = write_palette(tmp_path / "b.avi", SCENES[:5], fire)
    stack = steadystack.open_stack(path, channel="red")
    np.testing.assert_array_equal(stack, fire[SCENES[:5], 0])


def test_a_video_is_a_mask(tmp_path):
    masks = (SCENES[:5] > 128).astype("u1") * 255
    path = write(tmp_path / "mask.avi", "ffv1", "gray", masks)
    found = locate_mask(path, 5, (48, 64))
    assert found.per_frame
    np.testing.assert_array_equal(found.read(3, (48, 64)), masks[3] > 0)


def test_a_video_that_is_cut_off_is_reported(tmp_path):
    path = tmp_path / "a.avi"
    write(path, "mjpeg", "yuvj420p")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.avi is truncated: \d+ of 57 frames"):
        locate_stack(str(path))
    write(tmp_path / "a.mp4", "mpeg4", "yuv420p")
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.mp4: the video cannot be read"):
        locate_stack(str(tmp_path / "a.mp4"))
    write(tmp_path / "a.mkv", "ffv1", "gray")
    assert locate_stack(str(tmp_path / "a.mkv")).frame_count == 57
    content = (tmp_path / "a.mkv").read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / "a.mkv").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"a\.mkv is truncated: [\d.]+ of [\d.]+ s are there"):
            locate_stack(str(tmp_path / "a.mkv"))


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_a_frame_that_is_damaged_cannot_be_read_and_others_can(tmp_path, codec):
    """Those that are made from it cannot be read either: up to the next key frame."""
    path = tmp_path / "a.mov"
    write(path, codec, "yuv420p" if codec == "mpeg4" else "yuvj420p")
    spec = locate_stack(str(path))
    expected = decode_all(str(path))
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    content, packet = bytearray(path.read_bytes()), bytes(packets[20])
    middle = content.find(packet) + len(packet) // 2
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    next_key = next(key for key in keys if key > 20)
    frames = StackFrames(spec)
    for index in range(20, next_key):
        assert frames.read(index).status is FrameStatus.UNREADABLE
    for index in (19, next_key, 0, 56):
        np.testing.assert_array_equal(frames.read(index).image, expected[index])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.mp4", None, r"none\.mp4 does not exist"),
        ("text.mp4", b"not a video", "the video cannot be read"),
        ("text.avi", b"", "the video cannot be read"),
    ],
)
def test_what_is_no_video_is_reported(tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        locate_stack(str(tmp_path / name))


def test_an_order_that_avi_does_not_tell_is_refused(tmp_path):
    path = write(tmp_path / "a.avi", "libx264", "yuv420p", bf="3")
    with pytest.raises(InputError, match="in a different order than they are shown in"):
        locate_stack(path)


def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"steadystack\[video\]"):
        locate_stack(str(tmp_path / "a.mp4"))
