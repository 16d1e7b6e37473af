"""Read videos with PyAV; frames are found by their time stamps, whatever the compression.

Frames are listed by the stamps of their packets, without decoding. A frame is decoded from the last
key frame before it, or from where reading last ended, and accepted only if it has the right stamp.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.file_formats.pixels import FileArray, explaining_damage
from steadystack.model import InputError, Slices

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv")
# Position of the brightness in packed pixels of several bytes: first byte, step.
PACKED = {"yuyv422": (0, 2), "yvyu422": (0, 2), "uyvy422": (1, 2)}
RGB = ("red", "green", "blue")
# A codec that predicts frames by motion vectors of a quarter of a pixel displaces the content of a
# frame, all parts alike: by this many pixels at one bit per pixel, and in inverse proportion to the
# root of the bits, within a factor of two (H.264, H.265 and MPEG-4: scripts/bench_video.py); by a
# tenth of a pixel at most. Codecs before H.264 have vectors of half a pixel.
STD_OF_ONE_BIT, MOST_STD = 0.01, 0.1
OF_HALF_PIXELS = ("flv", "h261", "h263", "mpeg1", "mpeg2", "mpeg4", "msmpeg4", "wmv1", "wmv2")
WITHOUT_VECTORS = ("8bps", "cinepak", "msrle", "msvideo1", "rpza", "smc")


class VideoPixels:
    """The frames of a video: t, y, x, and c if it is stored in red, green and blue."""

    shards = None
    may_lack = False

    def __init__(self, path: str) -> None:
        self.path, self._lock = path, Lock()
        self._container, self._stream = _open(path)
        self.stamps, self.keys, self._bytes = _list_stamps(path, self._container, self._stream)
        self._frames: Iterator[Any] = iter(())
        self._last = -1  # the frame that was decoded last
        first = self._decode(0)
        self._is_grey = _is_grey(first)
        values = self._convert(first)
        self.channels = RGB if values.ndim == 3 else ()
        self.shape: tuple[int, ...] = (len(self.stamps), *values.shape)
        self.dtype = values.dtype
        self._kept = 0, values
        self.chunks: tuple[int, ...] = (1, *values.shape)

    @property
    def times(self) -> tuple[float, ...]:
        """Time of every frame after the first, seconds."""
        return tuple(
            float((stamp - self.stamps[0]) * self._stream.time_base) for stamp in self.stamps
        )

    @property
    def codec(self) -> str:
        """Name of the codec."""
        return str(self._stream.codec_context.name)

    @property
    def codec_std(self) -> float:
        """Standard deviation, pixels, of the content's position in a frame, due to the codec."""
        codec = self._stream.codec_context.codec
        is_predicted = not codec.intra_only and codec.name not in WITHOUT_VECTORS
        is_predicted &= len(self.keys) < len(self.stamps)
        if not (codec.lossy and is_predicted):
            return 0.0
        bits = 8 * self._bytes / (self.shape[0] * self.shape[1] * self.shape[2])
        std = STD_OF_ONE_BIT * (2 if codec.name.startswith(OF_HALF_PIXELS) else 1)
        return float(min(std / bits**0.5, MOST_STD))

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return [shape or self.shape, str(self.dtype), self.codec]

    def read(self, region: Slices) -> NDArray[Any]:
        """Read a region; raises RuntimeError for a frame that cannot be decoded correctly."""
        with self._lock:
            return np.stack([
                self._read_frame(index)[region[1:]]
                for index in range(region[0].start, region[0].stop)
            ])  # fmt: skip

    def find_missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None

    def _read_frame(self, index: int) -> NDArray[Any]:
        if self._kept[0] == index:  # further blocks of the same frame
            return self._kept[1]
        values = self._convert(self._decode(index))
        if values.shape != self.shape[1:] or values.dtype != self.dtype:
            raise RuntimeError(
                f"frame {index} of {self.path} is {values.dtype} of {values.shape}, the first "
                f"{self.dtype} of {self.shape[1:]}"
            )
        self._kept = index, values
        return values

    def _decode(self, index: int) -> Any:
        """Decode the frame with the stamp of that index.

        From the key frame before it, or the one before that: frames between two keys may need both.
        """
        key = max(bisect_right(self.keys, index) - 1, 0)
        if self._last < index and self.keys[key : key + 1] <= [self._last]:
            frame = self._advance(index)
            if frame is not None:
                return frame
        problem: Exception | None = None
        for start in sorted({key, max(key - 1, 0)}, reverse=True):
            self._seek(start)
            try:
                frame = self._advance(index)
            except Exception as error:  # a decoder that lacks data from before the key frame
                problem = problem or error
                continue
            if frame is not None:
                return frame
        raise RuntimeError(f"frame {index} of {self.path} cannot be decoded: {problem or 'lost'}")

    def _seek(self, key: int) -> None:
        """Go to a key frame by its number among the key frames; to the beginning for the first."""
        if key > 0:
            self._container.seek(self.stamps[self.keys[key]], stream=self._stream, backward=True)
        else:  # reopened, to read again what comes with the first packet, such as a palette
            self._container.close()
            self._container, self._stream = _open(self.path)
        self._frames, self._last = iter(self._container.decode(self._stream)), -1

    def _advance(self, index: int) -> Any:
        """Decode up to a frame; None if it does not follow."""
        wanted = self.stamps[index]
        try:
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= wanted:
                    found = frame.pts == wanted and not frame.is_corrupt
                    self._last = index if found else len(self.stamps)
                    return frame if found else None
        except BaseException:
            self._frames, self._last = iter(()), len(self.stamps)
            raise
        self._last = len(self.stamps)
        return None

    def _convert(self, frame: Any) -> NDArray[Any]:
        """Get a frame's brightness, or its red, green and blue, as stored."""
        form = frame.format
        if form.name == "pal8":
            return _apply_palette(frame, self._is_grey)
        if form.is_rgb:
            if {component.bits for component in form.components} == {8}:
                return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
            if form.name in ("rgb48le", "rgb48be", "bgr48le", "bgr48be"):
                return np.ascontiguousarray(frame.to_ndarray(format="rgb48le")).astype("u2")
        elif form.is_planar or len(form.components) == 1 or form.name in PACKED:
            return _take_brightness(frame)
        raise InputError(
            f"{self.path} has pixels of the format {form.name}, which cannot be read: convert it, "
            "for example with ffmpeg to .avi with -c:v ffv1 -pix_fmt gray"
        )


def open_video(path: str, name: str = "") -> FileArray:
    """Open a video; its brightness is read, or red, green and blue as channels if stored so.

    Raises InputError if it is not a video, if it is cut off, or if its frames have no times.
    """
    with explaining_damage(path, "the video"):
        pixels = VideoPixels(path)
    axes = ["t", "y", "x"] + (["c"] if pixels.channels else [])
    times, kind = (pixels.times, "s"), f"video, {pixels.codec}"
    if pixels.codec_std:
        kind += f", which displaces the content of frames by about {pixels.codec_std:.2g} px"
    return FileArray(
        pixels, kind, "", axes,
        time=times, channel_names=pixels.channels, codec_std=pixels.codec_std,
    )  # fmt: skip


def _open(path: str) -> tuple[Any, Any]:
    try:
        import av
    except ImportError as error:
        raise InputError(
            f"{path} is a video: that needs PyAV (pip install 'steadystack[video]')"
        ) from error
    try:
        container = av.open(get_place(path).get_source())
    except FileNotFoundError as error:
        raise InputError(get_place(path).describe_missing()) from error
    if not container.streams.video:
        raise InputError(f"{path} holds no video, but {len(container.streams)} other streams")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # every worker has a single core
    stream.codec_context.options = {"err_detect": "crccheck+explode"}  # do not conceal lost data
    return container, stream


def _list_stamps(path: str, container: Any, stream: Any) -> tuple[list[int], list[int], int]:
    """List the time stamps of frames, in order, and the indices of key frames.

    Also returns the total number of bytes.
    """
    packets, found, size = 0, [], 0
    for packet in container.demux(stream):
        packets += packet.size > 0 or packet.dts is not None
        if packet.size and not packet.is_discard:
            found.append((packet.pts, bool(packet.is_keyframe)))
            size += packet.size
    if packets < stream.frames:
        raise InputError(
            f"{path} is truncated: {packets} of {stream.frames} frames are there: copy it again, "
            "or write those to another file (ffmpeg -i IN -c copy OUT)"
        )
    stamps = [stamp for stamp, _ in found]
    _check_whole(path, stream, stamps)
    if not found or None in stamps or len(set(stamps)) < len(stamps):
        raise InputError(
            f"{path}: not all of its {len(found)} frames have a time stamp, by which they are "
            "found: convert it (ffmpeg -i IN -c:v ffv1 OUT.mkv)"
        )
    is_reordered = "avi" in container.format.name and stream.codec_context.has_b_frames
    if is_reordered and stamps == sorted(stamps):  # in stored order
        raise InputError(
            f"{path}: its frames are stored in a different order than they are shown in, which AVI "
            "does not record: convert it (ffmpeg -i IN -c:v ffv1 OUT.mkv)"
        )
    found.sort()
    keys = [index for index, (_, is_key) in enumerate(found) if is_key]
    return [stamp for stamp, _ in found], keys, size


def _check_whole(path: str, stream: Any, stamps: Sequence[int | None]) -> None:
    """Raise InputError if a stream ends frames before the duration that Matroska states."""
    known = [stamp for stamp in stamps if stamp is not None]
    told = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if told is None or len(known) < 2:
        return
    hours, minutes, seconds = told.groups()
    duration = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    first, last = (float(stamp * stream.time_base) for stamp in (min(known), max(known)))
    step = (last - first) / (len(known) - 1)
    if last + 2.5 * step < duration:
        raise InputError(
            f"{path} is truncated: {last + step:.6g} of {duration:.6g} s are there: copy it again, "
            "or write those to another file (ffmpeg -i IN -c copy OUT)"
        )


def _get_plane(frame: Any, number: int, width: int, dtype: str) -> NDArray[Any]:
    """Get a plane of a frame, with `width` numbers per line."""
    plane = frame.planes[number]
    if plane.line_size <= 0:
        raise ValueError("its lines lie upside down in memory")
    lines = np.frombuffer(plane, "u1").reshape(-1, plane.line_size)[: frame.height]
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(lines[:, : width * size]).view(dtype)


def _take_brightness(frame: Any) -> NDArray[Any]:
    """Take the brightness of a frame: its only component, or the first of those of YUV."""
    name, bits = frame.format.name, frame.format.components[0].bits
    if name in PACKED:
        first, step = PACKED[name]
        return np.ascontiguousarray(_get_plane(frame, 0, frame.width * step, "u1")[:, first::step])
    wide = "f4" if bits == 32 else ">u2" if name.endswith("be") else "<u2"
    plane = _get_plane(frame, 0, frame.width, "u1" if bits <= 8 else wide)
    return plane.astype(plane.dtype.newbyteorder("="))


def _read_palette(frame: Any) -> NDArray[Any]:
    """Read the red, green and blue of every entry of a palette; its bytes are in the order BGRA."""
    return np.frombuffer(frame.planes[1], "u1")[:1024].reshape(256, 4)[:, 2::-1]


def _is_grey(frame: Any) -> bool:
    """Whether a frame has a palette of greys."""
    if frame.format.name != "pal8":
        return False
    return bool((np.ptp(_read_palette(frame), axis=1) == 0).all())


def _apply_palette(frame: Any, is_grey: bool) -> NDArray[Any]:
    colours = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(colours[..., 0] if is_grey and _is_grey(frame) else colours)
