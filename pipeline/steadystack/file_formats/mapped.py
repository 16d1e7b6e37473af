"""Files that are mapped into memory: .npy, MRC, and numbers that lie in one as settings say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from steadystack.durable import get_place
from steadystack.file_formats.pixels import FileArray, PlainPixels, explaining_damage
from steadystack.model import InputError
from steadystack.units import parse_layout

NPY_SUFFIX = ".npy"
MRC_SUFFIXES = (".mrc", ".mrcs", ".st")
ANGSTROM = "angstrom"


def open_npy(path: str, name: str = "") -> FileArray:
    """Open a .npy file; a local one is mapped into memory."""
    with explaining_damage(path, "the .npy file"):
        try:
            values = get_place(path).load_array()
        except FileNotFoundError as error:
            raise InputError(get_place(path).describe_missing()) from error
        if not isinstance(values, np.ndarray):  # np.load opens archives, too
            raise InputError(f"{path} is no .npy file: it holds a {type(values).__name__}")
        return FileArray(PlainPixels(values), ".npy array")


def open_mrc(path: str, name: str = "") -> FileArray:
    """Open an MRC2014 file of this machine, mapped into memory.

    Its images are frames, those of a stack of volumes volumes; its pixels are in angstroms.
    """
    try:
        import mrcfile
    except ImportError as error:
        raise InputError(
            f"{path} is an MRC file: that needs mrcfile (pip install 'steadystack[mrc]')"
        ) from error
    source = _find_local(path, "MRC files are")
    with explaining_damage(path, "the MRC file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy 2.5, to mrcfile
        with mrcfile.mmap(source, mode="r") as file:
            values, size = file.data, file.voxel_size
    axes = "tzyx"[-values.ndim :] if values.ndim != 3 else "tyx"
    steps = {axis: float(size[axis]) or np.nan for axis in "xyz"}
    scale = [steps.get(axis, np.nan) for axis in axes]
    units = [ANGSTROM if axis in steps else "" for axis in axes]
    return FileArray(PlainPixels(values), "MRC images", "", list(axes), scale, units)


def _find_local(path: str, what: str) -> str:
    """Find the local path of a file; raises InputError if there is none."""
    place = get_place(path)
    source = place.get_source() if place.is_file() else None
    if isinstance(source, str):
        return source
    if place.exists():
        raise InputError(f"{path}: {what} read from a file of this machine only: copy it here")
    raise InputError(place.describe_missing())


def open_raw(path: str, text: str) -> FileArray:
    """Open the numbers of a file that lie in it as the text of a `RawLayout` says.

    Raises InputError if they do not come out even, or if there are fewer than that says.
    """
    layout = parse_layout("input.raw", text)
    source = _find_local(path, "raw files are")
    entry = np.dtype([("gap", f"V{layout.gap}"), ("pixels", layout.dtype, layout.shape)])
    size = Path(source).stat().st_size
    found, rest = divmod(size - layout.offset, entry.itemsize)
    lacking = found < (layout.count or 1)
    if lacking or (rest and layout.count is None):
        around = f" after an offset of {layout.offset}" if layout.offset else ""
        between = f" with their gap of {layout.gap}" if layout.gap else ""
        wanted = f", fewer than {layout.count}" if lacking and layout.count else ""
        raise InputError(
            f"{path} has {size} bytes{around}: {max(found, 0)} frames of {entry.itemsize} bytes"
            f"{between}{wanted}, and {rest if found >= 0 else 0} bytes more: it is cut off, or "
            f"input.raw {text!r} is not its layout; with 'count {max(found, 1)}' what follows the "
            "frames is left out"
        )
    layout = replace(layout, count=layout.count or found)
    entries = np.memmap(source, entry, "r", layout.offset, layout.count)
    pixels = PlainPixels(np.asarray(entries)["pixels"])
    return FileArray(pixels, f"raw {np.dtype(layout.dtype).name}", str(layout))
