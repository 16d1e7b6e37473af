"""Arrays composed of others: a part of an array, and files concatenated along the first axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.file_formats import Pixels, split_hdf_path
from steadystack.model import Bools, InputError, Slices, UnreachableError

# Files that make a folder a Zarr array or group.
ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def list_series_files(path: str, suffixes: tuple[str, ...]) -> list[str] | None:
    """List the files with these suffixes in a pattern or folder, in natural order; None: neither.

    A pattern of HDF5 files is followed by the name of the dataset in each.
    """
    inside = split_hdf_path(path)
    path = inside[0] if inside and inside[1] else path
    place = get_place(path)
    if place.is_pattern and path.lower().endswith(suffixes):
        return place.list_files()
    if not place.is_folder() or any(place.get_child(name).exists() for name in ZARR_METADATA):
        return None
    return [file for file in place.list_files() if file.lower().endswith(suffixes)] or None


class FileReference(Protocol):
    """Where an array is in a file."""

    def open(self, path: str) -> Pixels:
        """Open the array in the file at a path."""
        ...


@dataclass(frozen=True)
class CutPixels:
    """A part of an array: (first, stop, step) along each axis.

    Chunks are those of the array, as these are what is decoded; they need not align with the part.
    """

    whole: Pixels
    sides: tuple[tuple[int, int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(
            len(range(first, min(stop, size), step))
            for (first, stop, step), size in zip(self.sides, self.whole.shape, strict=True)
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.whole.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return self.whole.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        return self.whole.shards

    @property
    def may_lack(self) -> bool:
        return self.whole.may_lack

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return self.whole.describe(shape)

    def read(self, region: Slices) -> NDArray[Any]:
        pieces = [self.whole.read(piece) for piece, _ in self._find_pieces(region)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, self._stepped)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        missing = [
            (self.whole.find_missing(piece, part), part)
            for piece, inside in self._find_pieces(region)
            for part in (block[inside],)
        ]
        if all(found is None for found, _ in missing):
            return None
        return np.concatenate(
            [np.zeros(part.shape, bool) if found is None else found for found, part in missing],
            self._stepped,
        )

    @property
    def _stepped(self) -> int:
        """The axis with a step other than 1: that of time, or any if there is none."""
        return next((axis for axis, (_, _, step) in enumerate(self.sides) if step > 1), 0)

    def _find_pieces(self, region: Slices) -> Iterator[tuple[Slices, Slices]]:
        """Find the regions of the array that make up a region, each with its place in it.

        Entries that are not adjacent are read one by one, so as not to read those in between.
        """
        axis, (first, _, step) = self._stepped, self.sides[self._stepped]
        moved = [
            slice(side.start + begin, side.stop + begin)
            for side, (begin, _, _) in zip(region, self.sides, strict=True)
        ]
        if step == 1:
            yield tuple(moved), (slice(None),) * len(region)
            return
        for entry in range(region[axis].start, region[axis].stop):
            start, place = first + entry * step, entry - region[axis].start
            inside = [slice(None)] * len(region)
            moved[axis], inside[axis] = slice(start, start + 1), slice(place, place + 1)
            yield tuple(moved), tuple(inside)


@dataclass(frozen=True)
class FilesPixels:
    """Arrays in many files, concatenated along the first axis; opened when they are read.

    Attributes
    ----------
    counts : entries of each file along the first axis; None: each file is one entry and lacks that
        axis
    first : the array in the first file
    file_reference : the image in each file
    """

    files: tuple[str, ...]
    counts: tuple[int, ...] | None
    first: Pixels
    file_reference: FileReference

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

    @property
    def may_lack(self) -> bool:
        """Whether pixels of the first file are missing; the others are checked when read."""
        return self.first.may_lack

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return [
            shape or self.shape,
            str(self.dtype),
            [name.rsplit("/", 1)[-1] for name in self.files],
        ]

    def read(self, region: Slices) -> NDArray[Any]:
        blocks = []
        for file, count, inside, _ in self._list_parts(region):
            try:
                pixels, single = self._open(file, count)
                part = pixels.read(inside[1:] if single else inside)
            except (MemoryError, OSError, UnreachableError):
                raise
            except Exception as error:
                raise RuntimeError(f"{file}: {type(error).__name__}: {error}") from error
            blocks.append(part[None] if single else part)
        return np.concatenate(blocks)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Find which pixels of a block are missing in the files, such as strips of a TIFF file."""
        missing = np.zeros(block.shape, bool)
        for file, count, inside, place in self._list_parts(region):
            pixels, single = self._open(file, count)
            if single:
                found = pixels.find_missing(inside[1:], block[place][0])
            else:
                found = pixels.find_missing(inside, block[place])
            if found is not None:
                missing[place] = found
        return missing if missing.any() else None

    def _list_parts(self, region: Slices) -> Iterator[tuple[str, int, Slices, slice]]:
        """List the files that hold a region: their entries, the part of them, and its place."""
        start, stop, offset = region[0].start, region[0].stop, 0
        for file, count in zip(self.files, self.counts or (1,) * len(self.files), strict=True):
            low, high = max(start - offset, 0), min(stop - offset, count)
            if low < high:
                place = slice(offset + low - start, offset + high - start)
                yield file, count, (slice(low, high), *region[1:]), place
            offset += count

    def _open(self, file: str, count: int) -> tuple[Pixels, bool]:
        """Open a file of `count` entries, and say whether it is a single one without the axis."""
        entry = self.first.shape if self.counts is None else self.first.shape[1:]
        pixels = self.file_reference.open(file)
        single = count == 1 and pixels.shape == entry
        if pixels.dtype != self.dtype or not (single or pixels.shape == (count, *entry)):
            raise ValueError(
                f"it holds {pixels.dtype} of {pixels.shape}, the series {self.dtype} of {entry}"
            )
        return pixels, single


def open_files(files: Sequence[str], file_reference: FileReference, is_joined: bool) -> FilesPixels:
    """Open a series of files as one array; `is_joined`: each file has the first axis itself."""
    first = file_reference.open(files[0])
    if not is_joined:
        return FilesPixels(tuple(files), None, first, file_reference)
    counts = []
    for file in files:
        shape = file_reference.open(file).shape
        if shape == first.shape[1:]:
            shape = (1, *shape)
        if shape[1:] != first.shape[1:]:
            raise InputError(f"{file} has the shape {shape}, {files[0]} has {first.shape}")
        counts.append(shape[0])
    return FilesPixels(tuple(files), tuple(counts), first, file_reference)
