"""Read pictures, one frame each: PNG, JPEG, BMP with Pillow; PGM and PPM directly.

Their resolution, if any, is meant for printing: it is not used as pixel size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.file_formats.pixels import FileArray, explaining_damage
from steadystack.model import InputError, Slices

PNM_SUFFIXES = (".pgm", ".ppm", ".pnm")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *PNM_SUFFIXES)
COLOURS = ("red", "green", "blue", "alpha")
# Names of the channels, by Pillow's mode; pictures in other modes are read as red, green, blue.
CHANNELS = {
    "1": (), "L": (), "I": (), "F": (), "I;16": (), "I;16L": (), "I;16B": (),
    "LA": ("grey", "alpha"), "RGB": COLOURS[:3], "RGBA": COLOURS,
}  # fmt: skip
# The header of a binary PGM (P5) or PPM (P6): width, height, maximum; comments in between.
_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEAD = re.compile(rb"P([56])" + rb"".join(_GAP + rb"(\d+)" for _ in range(3)) + rb"\s")
MOST_HEAD = 4096  # bytes


class PicturePixels:
    """A picture that is decoded whole whenever a region of it is read; y, x, and its channels."""

    shards = None
    may_lack = False

    def __init__(
        self, decode: Callable[[], NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._decode, self.shape, self.dtype, self.chunks = decode, shape, dtype, shape

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return [shape or self.shape, str(self.dtype)]

    def read(self, region: Slices) -> NDArray[Any]:
        return np.array(self._decode()[region], self.dtype)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


def is_picture(path: str) -> bool:
    """Whether a path is that of a single picture, judged by its name."""
    place = get_place(path)
    has_suffix = path.lower().endswith(PICTURE_SUFFIXES)
    return has_suffix and not place.is_pattern and not place.is_folder()


def open_picture(path: str, name: str = "") -> FileArray:
    """Open a picture: its header is read at once, its pixels on demand.

    Axes are y, x, and c for the channels of one in colour. Raises InputError for anything but a
    picture, and if it has more bits than its library returns.
    """
    with explaining_damage(path, "the picture"):
        try:
            if path.lower().endswith(PNM_SUFFIXES):
                pixels, channels = _open_pnm(path)
            else:
                pixels, channels = _open_with_pillow(path)
        except FileNotFoundError as error:
            raise InputError(get_place(path).describe_missing()) from error
    axes = ["y", "x", "c"] if channels else ["y", "x"]
    return FileArray(pixels, f"{path.rpartition('.')[2].upper()} picture", "", axes,
                     channel_names=channels)  # fmt: skip


def _open_with_pillow(path: str) -> tuple[PicturePixels, tuple[str, ...]]:
    with _load(path) as image:
        mode, size = image.mode, image.size
        codes = [str(entry) for tile in image.tile for entry in np.atleast_1d(np.array(tile[3]))]
    channels = CHANNELS.get(mode, COLOURS[:3])
    if channels and any(";16" in code for code in codes):
        raise InputError(
            f"{path} has 16 bits per colour, of which Pillow reads 8: write it as TIFF, or each "
            "colour as a greyscale picture of 16 bits"
        )
    shape = (size[1], size[0], *((len(channels),) if channels else ()))
    dtype = {"1": "?", "I": "i4", "F": "f4", "I;16": "u2", "I;16L": "u2", "I;16B": "u2"}
    return PicturePixels(partial(_decode, path), shape, np.dtype(dtype.get(mode, "u1"))), channels


def _load(path: str) -> Any:
    """Open a picture with Pillow, which decodes it on demand."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(
            f"{path} is a picture: that needs Pillow (pip install 'steadystack[pictures]')"
        ) from error
    return Image.open(get_place(path).get_source())


def _decode(path: str) -> NDArray[Any]:
    try:
        with _load(path) as image:
            return np.asarray(image if image.mode in CHANNELS else image.convert("RGB"))
    except OSError as error:
        if error.errno is None and type(error) is OSError:  # from Pillow, without the file's name
            raise OSError(f"{path}: {error}") from error
        raise


def _open_pnm(path: str) -> tuple[PicturePixels, tuple[str, ...]]:
    with get_place(path).open() as file:
        head = _HEAD.match(file.read(MOST_HEAD))
    if head is None:
        raise InputError(f"{path} is not a binary PGM or PPM (P5, P6): write one, or PNG or TIFF")
    kind, width, height, most = (int(number) for number in head.groups())
    if not 0 < most < 2**16:
        raise InputError(f"{path} is not a PGM or PPM: its maximum is {most}, not 1 to 65535")
    channels = COLOURS[:3] if kind == 6 else ()
    shape = (height, width, *((3,) if channels else ()))
    dtype = np.dtype("u1" if most < 2**8 else ">u2")
    decode = partial(_read_pnm, path, head.end(), shape, dtype)
    return PicturePixels(decode, shape, dtype.newbyteorder("=")), channels


def _read_pnm(path: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    count = int(np.prod(shape, dtype=object))
    with get_place(path).open() as file:
        file.seek(offset)
        content = file.read(count * dtype.itemsize)
    if len(content) < count * dtype.itemsize:
        raise ValueError(
            f"{path} is truncated: {len(content)} of {count * dtype.itemsize} bytes of pixels"
        )
    return np.frombuffer(content, dtype).reshape(shape)
