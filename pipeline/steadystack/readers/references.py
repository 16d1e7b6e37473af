"""Where an array is in what lies at a path, how it is read there; series of files as one array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.model import InputError, Slices, UnreachableError
from steadystack.readers.pixels import Pixels, ZarrPixels, open_npy
from steadystack.readers.tiff import list_series_files, open_level


class _InOneFile:
    """What references have in common unless they say otherwise."""

    def files_of_frames(self, path: str) -> tuple[str, ...] | None:
        """The name of the file that holds each frame; None: they are not in files of their own."""
        return None

    def zarr_array(self, path: str) -> zarr.Array[Any] | None:
        """The array itself, if it is one of Zarr."""
        return None


@dataclass(frozen=True)
class InZarr(_InOneFile):
    """An array in a Zarr store, by its path there; "": the store is the array."""

    inside: str = ""

    def __str__(self) -> str:
        return self.inside

    def open(self, path: str) -> Pixels:
        return ZarrPixels(self.zarr_array(path))

    def zarr_array(self, path: str) -> zarr.Array[Any]:
        where = get_place(path)
        with where.explaining_outages():
            node = where.open_zarr()
            found = node if isinstance(node, zarr.Array) else node[self.inside]
        assert isinstance(found, zarr.Array)
        return found


@dataclass(frozen=True)
class InTiff(_InOneFile):
    """An image in a TIFF file, and a level of it."""

    series: int = 0
    level: int = 0

    def __str__(self) -> str:
        return f"{self.series} {self.level}"

    def open(self, path: str) -> Pixels:
        return ZarrPixels(open_level(path, self.series, self.level))


@dataclass(frozen=True)
class InNpy(_InOneFile):
    """The array of a .npy file."""

    def __str__(self) -> str:
        return ""

    def open(self, path: str) -> Pixels:
        return open_npy(path)


@dataclass(frozen=True)
class InFiles(_InOneFile):
    """The first `count` files of a folder or pattern, also when there are more by now.

    `joined`: each of them has the first axis itself. `digest` is that of their names.
    """

    count: int
    joined: bool
    digest: str
    each: InTiff

    @classmethod
    def of(cls, files: Sequence[str], each: InTiff, joined: bool) -> InFiles:
        return cls(len(files), joined, _digest_names(files), each)

    def __str__(self) -> str:
        how = "joined" if self.joined else "stacked"
        return f"{self.count} files {how} {self.digest} {self.each}"

    def open(self, path: str) -> FilesPixels:
        files = (list_series_files(path) or [])[: self.count]
        if _digest_names(files) != self.digest:
            raise RuntimeError(f"the files of {path} have changed since the run began")
        return open_files(files, self.each, self.joined)

    def files_of_frames(self, path: str) -> tuple[str, ...]:
        found = self.open(path)
        counts = found.counts or (1,) * len(found.files)
        names = [name.rsplit("/", 1)[-1] for name in found.files]
        return tuple(name for name, count in zip(names, counts, strict=True) for _ in range(count))


# Where an array is in what lies at a path. What it is written as stands in digests.
Reference: TypeAlias = InZarr | InTiff | InNpy | InFiles


def _digest_names(files: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


@lru_cache(maxsize=32)
def open_reference(path: str, reference: Reference, digest: str = "") -> Pixels:
    """The array as it was when this process first saw it; `digest` is of what was found there."""
    return reference.open(path)


@dataclass(frozen=True)
class FilesPixels:
    """Arrays in many files, one behind the other along the first axis.

    `counts` are how many entries each file has along it; None: each file is one entry, which has
    no such axis itself. Files are opened when they are read.
    """

    files: tuple[str, ...]
    counts: tuple[int, ...] | None
    first: Pixels
    each: InTiff

    @property
    def shape(self) -> tuple[int, ...]:
        if self.counts is None:
            return len(self.files), *self.first.shape
        return sum(self.counts), *self.first.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.first.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1, *self.first.chunks) if self.counts is None else self.first.chunks

    shards = None
    may_lack = False

    def described(self) -> Any:
        return [self.shape, str(self.dtype), [name.rsplit("/", 1)[-1] for name in self.files]]

    def read(self, region: Slices) -> NDArray[Any]:
        start, stop = region[0].start, region[0].stop
        parts, begin = [], 0
        for file, count in zip(self.files, self.counts or (1,) * len(self.files), strict=True):
            low, high = max(start - begin, 0), min(stop - begin, count)
            if low < high:
                try:
                    parts.append(self._read_file(file, count, (slice(low, high), *region[1:])))
                except (MemoryError, OSError, UnreachableError):
                    raise
                except Exception as error:
                    raise RuntimeError(f"{file}: {type(error).__name__}: {error}") from error
            begin += count
        return np.concatenate(parts)

    def _read_file(self, file: str, count: int, region: Slices) -> NDArray[Any]:
        """A part of one file, which holds so many entries; a single one may have no axis for it."""
        entry = self.first.shape if self.counts is None else self.first.shape[1:]
        pixels = self.each.open(file)
        single = count == 1 and pixels.shape == entry
        if pixels.dtype != self.dtype or not (single or pixels.shape == (count, *entry)):
            raise ValueError(
                f"it holds {pixels.dtype} of {pixels.shape}, the series {self.dtype} of {entry}"
            )
        return pixels.read(region[1:])[None] if single else pixels.read(region)

    def missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


def open_files(files: Sequence[str], each: InTiff, joined: bool) -> FilesPixels:
    """A series of files; `joined`: each has the first axis itself."""
    first = each.open(files[0])
    if not joined:
        return FilesPixels(tuple(files), None, first, each)
    counts = []
    for file in files:
        shape = each.open(file).shape
        if shape == first.shape[1:]:
            shape = (1, *shape)
        if shape[1:] != first.shape[1:]:
            raise InputError(f"{file} has the shape {shape}, {files[0]} has {first.shape}")
        counts.append(shape[0])
    return FilesPixels(tuple(files), tuple(counts), first, each)


def digest_metadata(path: str, reference: Reference, pixels: Pixels, axes: Sequence[str]) -> str:
    """A short digest of the metadata that decides what is read."""
    text = json.dumps(
        [path, str(reference), list(axes), pixels.described()], sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
