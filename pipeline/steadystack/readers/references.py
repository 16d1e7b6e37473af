"""References to arrays in stores and files, and how they are opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import zarr

from steadystack.durable import get_place
from steadystack.file_formats import (
    HDF_SUFFIXES,
    PICTURE_SUFFIXES,
    TIFF_SUFFIXES,
    FileArray,
    Pixels,
    ZarrPixels,
    find_coding,
    open_czi,
    open_hdf,
    open_level,
    open_lif,
    open_mrc,
    open_nd2,
    open_npy,
    open_picture,
    open_raw,
    open_video,
    open_with,
)
from steadystack.readers.composed import CutPixels, FilesPixels, list_series_files, open_files


class _InOneFile:
    """Defaults for references: all frames in one file, and not a Zarr array."""

    def list_frame_files(self, path: str) -> tuple[str, ...] | None:
        """List the name of the file that holds each frame; None: all frames are in one file."""
        return None

    def open_zarr_array(self, path: str) -> zarr.Array[Any] | None:
        """Open the array as Zarr; None if it is not in a Zarr store."""
        return None


@dataclass(frozen=True)
class InZarr(_InOneFile):
    """An array in a Zarr store, by its path in the store; "": the store is the array.

    `is_coded`: its attributes may say how its numbers are coded, as xarray writes them.
    """

    inner_path: str = ""
    is_coded: bool = False

    def __str__(self) -> str:
        return self.inner_path

    def open(self, path: str) -> Pixels:
        array = self.open_zarr_array(path)
        return ZarrPixels(array, find_coding(array) if self.is_coded else None)

    def open_zarr_array(self, path: str) -> zarr.Array[Any]:
        place = get_place(path)
        with place.explaining_outages():
            node = place.open_zarr()
            array = node if isinstance(node, zarr.Array) else node[self.inner_path]
        assert isinstance(array, zarr.Array)
        return array


@dataclass(frozen=True)
class InTiff(_InOneFile):
    """An image in a TIFF file, and a level of it."""

    series: int = 0
    level: int = 0

    def __str__(self) -> str:
        return f"{self.series} {self.level}"

    def open(self, path: str) -> Pixels:
        return ZarrPixels(open_level(path, self.series, self.level))


# Functions that open the array of a file, (path, name in the file), by name of the format.
OPENERS: dict[str, Callable[[str, str], FileArray]] = {
    "npy": open_npy,
    "hdf": open_hdf,
    "mrc": open_mrc,
    "picture": open_picture,
    "raw": open_raw,
    "video": open_video,
    "czi": open_czi,
    "lif": open_lif,
    "nd2": open_nd2,
    "reader": open_with,
}


@dataclass(frozen=True)
class InFile(_InOneFile):
    """The array of that name in a file of a format of `OPENERS`; "": the only one."""

    file_format: str
    name: str = ""

    def __str__(self) -> str:
        return self.name

    def open(self, path: str) -> Pixels:
        return OPENERS[self.file_format](path, self.name).pixels


@dataclass(frozen=True)
class InFiles(_InOneFile):
    """The first `count` files of a folder or pattern; files that come later are left out.

    Attributes
    ----------
    is_joined : whether each file has the first axis of the array itself, not a single entry of it
    digest : hash of the names of the files
    file_reference : the image in each file, for TIFF files, pictures or HDF5
    """

    count: int
    is_joined: bool
    digest: str
    file_reference: InTiff | InFile

    @classmethod
    def from_files(
        cls, files: Sequence[str], file_reference: InTiff | InFile, is_joined: bool
    ) -> InFiles:
        return cls(len(files), is_joined, _digest_names(files), file_reference)

    def __str__(self) -> str:
        arrangement = "joined" if self.is_joined else "stacked"
        return f"{self.count} files {arrangement} {self.digest} {self.file_reference}"

    def open(self, path: str) -> FilesPixels:
        files = (list_series_files(path, self._suffixes) or [])[: self.count]
        if _digest_names(files) != self.digest:
            raise RuntimeError(f"the files of {path} have changed since the run began")
        return open_files(files, self.file_reference, self.is_joined)

    @property
    def _suffixes(self) -> tuple[str, ...]:
        if isinstance(self.file_reference, InTiff):
            return TIFF_SUFFIXES
        return HDF_SUFFIXES if self.file_reference.file_format == "hdf" else PICTURE_SUFFIXES

    def list_frame_files(self, path: str) -> tuple[str, ...]:
        pixels = self.open(path)
        counts = pixels.counts or (1,) * len(pixels.files)
        names = [name.rsplit("/", 1)[-1] for name in pixels.files]
        return tuple(name for name, count in zip(names, counts, strict=True) for _ in range(count))


@dataclass(frozen=True)
class Cut:
    """A part of another array: (first, stop, step) along each of its axes."""

    whole: InZarr | InTiff | InFile | InFiles
    sides: tuple[tuple[int, int, int], ...]

    def __str__(self) -> str:
        return f"{self.whole} of which {list(map(list, self.sides))}"

    def open(self, path: str) -> CutPixels:
        return CutPixels(self.whole.open(path), self.sides)

    def list_frame_files(self, path: str) -> tuple[str, ...] | None:
        """List the name of the file that holds each frame; None: all frames are in one file."""
        files = self.whole.list_frame_files(path)  # frames are along the first axis of many files
        return None if files is None else files[slice(*self.sides[0])]

    def open_zarr_array(self, path: str) -> zarr.Array[Any] | None:
        """Open the whole array as Zarr; None if it is not in a Zarr store."""
        return self.whole.open_zarr_array(path)


# Where the array is in the store at a path. Its text goes into digests: do not change it.
Reference: TypeAlias = InZarr | InTiff | InFile | InFiles | Cut


@dataclass(frozen=True)
class LocatedArray:
    """An array in a store, and what the store says about it.

    Attributes
    ----------
    kind : of store and array, in words
    axes, scale, units : name, size of a pixel and its unit, per array axis; None: not known
    time : time of every frame and its unit; None: not known
    levels : shapes of the levels of the pyramid that the array is a level of
    image : path in the store of the OME-Zarr image that the array is a level of; None: of none
    scale_doubt : why `scale` may be wrong; "": no doubt
    codec_std : standard deviation, pixels, of the content's position in a frame, due to a codec
    """

    pixels: Pixels
    reference: Reference
    kind: str
    axes: Sequence[str] | None = None
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    channel_names: tuple[str, ...] = ()
    time: tuple[tuple[float, ...], str] | None = None
    levels: tuple[tuple[int, ...], ...] = ()
    image: str | None = None
    scale_doubt: str = ""
    codec_std: float = 0.0


def locate_in_file(file_format: str, path: str, name: str = "") -> LocatedArray:
    """Locate the array of that name in a file of a format of `OPENERS`."""
    found = OPENERS[file_format](path, name)
    return LocatedArray(
        found.pixels,
        InFile(file_format, found.name),
        found.kind,
        found.axes,
        found.scale,
        found.units,
        found.channel_names,
        time=found.time,
        codec_std=found.codec_std,
    )


@dataclass(frozen=True)
class ArrayChoice:
    """Which array is meant where a path holds several; keys of the settings' `input` section."""

    level: int = 0
    variable: str | None = None
    position: str | None = None
    series: int | None = None
    axes: str | None = None
    reader: str | None = None
    raw: str | None = None


def _digest_names(files: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


@lru_cache(maxsize=32)
def open_reference(path: str, reference: Reference, digest: str = "") -> Pixels:
    """Open the array of a reference, or return the one that this process has opened before.

    Cached for the last 32 combinations of arguments: the array keeps the metadata of its first
    opening, even if the store changes. `digest`, of the metadata found, is part of the cache key,
    so that a stack located anew after a change is opened anew. To see the store as it is now, use
    ``reference.open(path)``.
    """
    return reference.open(path)


def digest_metadata(
    path: str,
    reference: Reference,
    pixels: Pixels,
    axes: Sequence[str],
    shape: tuple[int, ...] | None = None,
) -> str:
    """Hash path, reference, axes and the array's metadata to 16 hexadecimal digits.

    `shape`: that of the array when it had fewer frames; None: its current one.
    """
    text = json.dumps(
        [path, str(reference), list(axes), pixels.describe(shape)], sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
