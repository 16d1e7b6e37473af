"""Arrays of pixels wherever they lie, read alike: Zarr, TIFF, series of TIFF files, .npy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.model import Bools, InputError, Slices, UnreachableError
from steadystack.store.remote import is_remote, not_there, open_file, open_node, telling_outages
from steadystack.store.tiffs import is_tiff, open_level, series_files


class Pixels(Protocol):
    """An array that is read by regions."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """The smallest pieces that decode by themselves."""
        ...

    @property
    def shards(self) -> tuple[int, ...] | None: ...

    @property
    def may_lack(self) -> bool:
        """Whether pixels may be missing."""
        ...

    def described(self) -> Any:
        """The metadata that decides what is read, as plain values."""
        ...

    def read(self, region: Slices) -> NDArray[Any]: ...

    def missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Which pixels of a block that was read are not in the store; None if none is lacking."""
        ...


class ZarrPixels:
    """A Zarr array."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.shape = tuple(int(size) for size in array.shape)
        self.chunks = tuple(int(size) for size in array.chunks)
        self.dtype = np.dtype(array.dtype)
        self.shards = tuple(array.shards) if array.shards is not None else None

    @property
    def may_lack(self) -> bool:
        """Chunks are missing, or lie where nobody can count them: in shards, on a web server."""
        try:
            return self.shards is not None or bool(
                self.array.nchunks_initialized < self.array.nchunks
            )
        except Exception:  # a store that cannot list
            return True

    def described(self) -> Any:
        return self.array.metadata.to_dict()

    def read(self, region: Slices) -> NDArray[Any]:
        return np.asarray(self.array[region])

    def missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Which pixels of a block belong to chunks that are not in the store.

        Zarr reads a chunk that is not there as its fill value, without a word, and so it reads an
        inner chunk that a shard does not hold. Only a chunk that is all fill value can be missing;
        such a chunk is read once more through an array that differs in nothing but its fill value:
        what changes was never stored.
        """
        fill = np.asarray(0 if self.array.fill_value is None else self.array.fill_value)

        def is_fill(values: NDArray[Any]) -> Bools:
            return np.asarray(np.isnan(values) if fill != fill else values == fill)

        missing = np.zeros(block.shape, bool)
        for piece in _pieces(region, self.chunks):
            inside = tuple(
                slice(p.start - r.start, p.stop - r.start)
                for p, r in zip(piece, region, strict=True)
            )
            if is_fill(block[inside]).all():
                missing[inside] = ~is_fill(np.asarray(self._with_other_fill[piece]))
        return missing if missing.any() else None

    @cached_property
    def _with_other_fill(self) -> zarr.Array[Any]:
        """The same array with another fill value: 1 instead of 0, 0 instead of anything else."""
        known = self.array
        fill = np.asarray(0 if known.fill_value is None else known.fill_value, known.dtype)
        other = (fill == 0).astype(known.dtype)[()]
        core = known.async_array
        metadata = replace(core.metadata, fill_value=other)
        return zarr.Array(zarr.AsyncArray(metadata, core.store_path, core.config))


def _pieces(region: Sequence[slice], chunks: Sequence[int]) -> list[Slices]:
    """The parts of a region that lie in one chunk each."""
    per_axis = []
    for part, size in zip(region, chunks, strict=True):
        starts = range(part.start // size * size, part.stop, size)
        per_axis.append(
            [slice(max(start, part.start), min(start + size, part.stop)) for start in starts]
        )
    return list(product(*per_axis))


class PlainPixels:
    """An array in memory, or of a file that is mapped into it."""

    shards = None
    may_lack = False

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.shape: tuple[int, ...] = values.shape
        self.dtype = values.dtype
        self.chunks = (1, *self.shape[1:]) if self.shape else ()

    def described(self) -> Any:
        return [self.shape, str(self.dtype)]

    def read(self, region: Slices) -> NDArray[Any]:
        return np.array(self.values[region])

    def missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


@dataclass(frozen=True)
class FilesPixels:
    """Arrays in many files, one behind the other along the first axis.

    `counts` are how many entries each file has along it; None: each file is one entry, which has
    no such axis itself. Files are opened when they are read.
    """

    files: tuple[str, ...]
    counts: tuple[int, ...] | None
    first: Pixels
    which: str = ""

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
        pixels = open_pixels(file, self.which)
        single = count == 1 and pixels.shape == entry
        if pixels.dtype != self.dtype or not (single or pixels.shape == (count, *entry)):
            raise ValueError(
                f"it holds {pixels.dtype} of {pixels.shape}, the series {self.dtype} of {entry}"
            )
        return pixels.read(region[1:])[None] if single else pixels.read(region)

    def missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


def is_npy(path: str) -> bool:
    return path.lower().endswith(".npy")


def open_npy(path: str) -> PlainPixels:
    """A .npy file; mapped into memory if it is on this machine."""
    try:
        if not is_remote(path):
            return PlainPixels(np.load(path, mmap_mode="r", allow_pickle=False))
        with open_file(path) as file:
            return PlainPixels(np.load(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise InputError(not_there(path)) from error
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read as .npy: {error}") from error


def files_pixels(files: Sequence[str], which: str, joined: bool) -> FilesPixels:
    """A series of files; `joined`: each has the first axis itself."""
    first = open_pixels(files[0], which)
    if not joined:
        return FilesPixels(tuple(files), None, first, which)
    counts = []
    for file in files:
        shape = open_pixels(file, which).shape
        if shape == first.shape[1:]:
            shape = (1, *shape)
        if shape[1:] != first.shape[1:]:
            raise InputError(f"{file} has the shape {shape}, {files[0]} has {first.shape}")
        counts.append(shape[0])
    return FilesPixels(tuple(files), tuple(counts), first, which)


def files_of_frames(path: str, array: str) -> tuple[str, ...] | None:
    """The name of the file that holds each frame of a series of files; None if it is none."""
    found = open_pixels(path, array) if " files " in array else None
    if not isinstance(found, FilesPixels):
        return None
    counts = found.counts or (1,) * len(found.files)
    names = [name.rsplit("/", 1)[-1] for name in found.files]
    return tuple(name for name, count in zip(names, counts, strict=True) for _ in range(count))


def series_name(files: Sequence[str], which: str, joined: bool) -> str:
    """What `open_pixels` needs to find the same files again, also when there are more by then."""
    how = "joined" if joined else "stacked"
    return f"{len(files)} files {how} {_names_digest(files)} {which}".strip()


def _names_digest(files: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


@lru_cache(maxsize=32)
def opened(path: str, array: str, digest: str = "") -> Pixels:
    """The same as `open_pixels`, once per process; `digest` is of what was found there."""
    return open_pixels(path, array)


def open_pixels(path: str, array: str = "") -> Pixels:
    """The array of that name in what lies at a path, as it is now; for reading.

    In a TIFF file the name is "series level".
    """
    if is_npy(path):
        return open_npy(path)
    if is_tiff(path):
        series, level = (int(number) for number in array.split()) if array else (0, 0)
        return ZarrPixels(open_level(path, series, level))
    if " files " in array:
        count, _, how, digest, *which = array.split()
        files = (series_files(path) or [])[: int(count)]
        if _names_digest(files) != digest:
            raise RuntimeError(f"the files of {path} are others than when the run began")
        return files_pixels(files, " ".join(which), how == "joined")
    with telling_outages(path):
        node = open_node(path)
        found = node if isinstance(node, zarr.Array) else node[array]
    assert isinstance(found, zarr.Array)
    return ZarrPixels(found)


def metadata_digest(path: str, name: str, pixels: Pixels, axes: Sequence[str]) -> str:
    """A short digest of the metadata that decides what is read."""
    text = json.dumps([path, name, list(axes), pixels.described()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
