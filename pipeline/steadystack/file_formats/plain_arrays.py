"""Arrays that are mapped into memory (.npy, MRC, raw), or returned by a function of the user.

The layout of raw numbers is given by the settings.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.file_formats.pixels import (
    FileArray,
    PlainPixels,
    explaining_damage,
    find_local,
)
from steadystack.model import InputError, Slices
from steadystack.units import parse_layout

NPY_SUFFIX = ".npy"
MRC_SUFFIXES = (".mrc", ".mrcs", ".st")
ANGSTROM = "angstrom"
# IMOD marks its MRC files at this byte; flags after it say whether bytes are signed.
IMOD_AT, IMOD_STAMP, SIGNED_BYTES = 152, 1146047817, 1


def open_npy(path: str, name: str = "") -> FileArray:
    """Open a .npy file; a local one is mapped into memory."""
    with explaining_damage(path, "the .npy file"):
        try:
            values = get_place(path).load_array()
        except FileNotFoundError as error:
            raise InputError(get_place(path).describe_missing()) from error
        if not isinstance(values, np.ndarray):  # np.load opens archives, too
            raise InputError(f"{path} is not a .npy file: it holds a {type(values).__name__}")
        return FileArray(PlainPixels(values), ".npy array")


def open_mrc(path: str, name: str = "") -> FileArray:
    """Open a local MRC2014 file, mapped into memory.

    Its images are frames (in a stack of volumes, the volumes are); its pixel size is in angstroms.
    """
    try:
        import mrcfile
    except ImportError as error:
        raise InputError(
            f"{path} is an MRC file: that needs mrcfile (pip install 'steadystack[mrc]')"
        ) from error
    source = find_local(path)
    with explaining_damage(path, "the MRC file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from NumPy 2.5, about mrcfile
        with mrcfile.mmap(source, mode="r") as file:
            values, size = file.data, file.voxel_size
            if values.dtype == np.int8 and _has_unsigned_bytes(file.header.tobytes()):
                values = values.view("u1")
    axes = "tzyx"[-values.ndim :] if values.ndim != 3 else "tyx"
    steps = {axis: float(size[axis]) or np.nan for axis in "xyz"}
    scale = [steps.get(axis, np.nan) for axis in axes]
    units = [ANGSTROM if axis in steps else "" for axis in axes]
    return FileArray(PlainPixels(values), "MRC images", "", list(axes), scale, units)


def _has_unsigned_bytes(header: bytes) -> bool:
    """Whether the header of an MRC file of bytes is IMOD's, and says that they are unsigned."""
    for order in "<>":
        stamp, flags = np.frombuffer(header, f"{order}i4", 2, IMOD_AT).tolist()
        if stamp == IMOD_STAMP:
            return not flags & SIGNED_BYTES
    return False


def open_raw(path: str, text: str) -> FileArray:
    """Open a file of raw numbers with the layout given by the text of a `RawLayout`.

    Raises InputError if they are not a whole number of frames, or fewer than stated.
    """
    layout = parse_layout("input.raw", text)
    source = find_local(path)
    itemsize, size = np.dtype(layout.dtype).itemsize, Path(source).stat().st_size
    entry_bytes = layout.gap + math.prod(layout.shape) * itemsize
    found, rest = divmod(size - layout.offset, entry_bytes)
    lacking = found < (layout.count or 1)
    if lacking or (rest and layout.count is None):
        around = f" after an offset of {layout.offset}" if layout.offset else ""
        between = f" with their gap of {layout.gap}" if layout.gap else ""
        wanted = f", fewer than {layout.count}" if lacking and layout.count else ""
        way_out = f"; with 'count {found}', what follows the frames is ignored" if found > 0 else ""
        raise InputError(
            f"{path} has {size} bytes{around}: {max(found, 0)} frames of {entry_bytes} "
            f"bytes{between}{wanted}, and {rest if found >= 0 else 0} bytes more: it is "
            f"truncated, or input.raw {text!r} is not its layout{way_out}"
        )
    layout = replace(layout, count=layout.count or found)
    assert layout.count is not None
    held = np.memmap(source, "u1", "r", layout.offset, (layout.count * entry_bytes,))
    strides = [itemsize * math.prod(layout.shape[axis + 1 :]) for axis in range(len(layout.shape))]
    pixels = PlainPixels(
        np.ndarray(
            (layout.count, *layout.shape), layout.dtype, held, layout.gap, (entry_bytes, *strides)
        )
    )
    return FileArray(pixels, f"raw {np.dtype(layout.dtype).name}", str(layout))


class FunctionPixels:
    """An array, in memory or lazy, that a function of the user returns for a path."""

    shards = None
    may_lack = False

    def __init__(self, array: Any, digest: str) -> None:
        self.array, self.digest = array, digest
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype = np.dtype(array.dtype)
        chunks = getattr(array, "chunksize", None) or getattr(array, "chunks", None)
        whole = (1, *self.shape[1:]) if self.shape else ()
        is_plain = chunks is not None and all(isinstance(size, int) for size in chunks)
        self.chunks: tuple[int, ...] = tuple(chunks) if chunks and is_plain else whole

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return [shape or self.shape, str(self.dtype), self.digest]

    def read(self, region: Slices) -> NDArray[Any]:
        block = self.array[region]
        if hasattr(block, "compute"):  # in this task, so that no worker waits for another
            block = block.compute(scheduler="synchronous")
        return np.asarray(block)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


def open_with(path: str, reader: str) -> FileArray:
    """Call a reader of the user, ``file.py:function`` or ``package:function``, for a path.

    The function returns anything with shape, dtype and slices: an array in memory, a dask or zarr
    array, a `DataArray`, whose dims then name the axes. Anything it does not know may be left out.
    """
    function, digest = _load_reader(reader)
    try:
        array = function(path)
    except InputError:
        raise
    except Exception as error:  # a user's reader may raise anything
        raise InputError(
            f"input.reader {reader} cannot read {path}: {type(error).__name__}: {error}"
        ) from error
    axes = [str(dim) for dim in array.dims] if hasattr(array, "dims") else None
    array = array.data if axes is not None else array
    if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        raise InputError(
            f"input.reader {reader} returns a {type(array).__name__} for {path}, not an array: "
            "something with shape, dtype and slices is needed"
        )
    return FileArray(FunctionPixels(array, digest), f"array of {reader}", reader, axes)


def _load_reader(reader: str) -> tuple[Callable[[str], Any], str]:
    """The function of a reader, and a digest of its source file."""
    module_name, _, name = reader.rpartition(":")
    if not module_name or not name.isidentifier():
        raise InputError(
            f"input.reader {reader!r} is neither file.py:function nor package.module:function"
        )
    if not module_name.endswith(".py"):
        try:
            module, digest = importlib.import_module(module_name), module_name
        except ImportError as error:
            raise InputError(f"input.reader: {module_name} cannot be imported: {error}") from error
    else:
        try:
            content = Path(module_name).read_bytes()
        except OSError as error:
            raise InputError(
                f"input.reader: {module_name} cannot be read: {error.strerror}"
            ) from error
        digest = hashlib.sha256(content).hexdigest()[:16]
        module = _run_file(module_name, digest)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"input.reader: {module_name} has no function {name}")
    return function, digest


@lru_cache(maxsize=8)
def _run_file(path: str, digest: str) -> Any:
    """Import a file under a name of its own, once per content."""
    name = f"steadystack_reader_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle looks for its classes
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"input.reader: {path}: {type(error).__name__}: {error}") from error
    return module
