"""Files that are mapped into memory: .npy and MRC."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from steadystack.durable import get_place
from steadystack.file_formats.pixels import FileArray, PlainPixels, explaining_damage
from steadystack.model import InputError

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
    source = get_place(path).get_source()
    if not isinstance(source, str):
        raise InputError(f"{path}: MRC files are read from this machine only: copy it here")
    if not Path(source).exists():
        raise InputError(get_place(path).describe_missing())
    with explaining_damage(path, "the MRC file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy 2.5, to mrcfile
        with mrcfile.mmap(source, mode="r") as file:
            values, size = file.data, file.voxel_size
    axes = "tzyx"[-values.ndim :] if values.ndim != 3 else "tyx"
    steps = {axis: float(size[axis]) or np.nan for axis in "xyz"}
    scale = [steps.get(axis, np.nan) for axis in axes]
    units = [ANGSTROM if axis in steps else "" for axis in axes]
    return FileArray(PlainPixels(values), "MRC images", "", list(axes), scale, units)
