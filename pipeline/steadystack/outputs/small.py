"""Write small outputs in one go: single images, stacks of one level, tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import explain_unwritten
from steadystack.model import Bools, InputError
from steadystack.ome import Coordinates, make_image_attributes
from steadystack.outputs.marks import replacing_own_file
from steadystack.outputs.progress import writing_at_once


def write_stack(
    path: str | Path,
    frames: NDArray[Any],
    *,
    axes: str = "tyx",
    pixel_size: Sequence[float] | None = None,
    unit: str = "micrometer",
    frame_interval: float | None = None,
) -> None:
    """Write `frames` as an OME-Zarr 0.5 image of one level, a frame per chunk.

    Parameters
    ----------
    frames : array with one dimension per letter of `axes` (out of t, c, z, y, x)
    pixel_size : of the spatial axes, in `unit`; None: not known
    frame_interval : seconds between frames; None: not known
    """
    coordinates, spatial = Coordinates(), [axis for axis in axes if axis not in "tc"]
    if frame_interval is not None:
        coordinates.step["t"], coordinates.unit["t"] = frame_interval, "second"
    for axis, size in zip(spatial, pixel_size or (), strict=pixel_size is not None):
        coordinates.step[axis], coordinates.unit[axis] = float(size), unit
    name = Path(path).name.split(".")[0]
    attributes = make_image_attributes(axes, [("0", (1,) * len(axes))], coordinates, name=name)
    group = zarr.create_group(path, zarr_format=3, overwrite=True, attributes=attributes)
    array = group.create_array(
        "0",
        shape=frames.shape,
        chunks=tuple(
            1 if axis in "tc" else size for axis, size in zip(axes, frames.shape, strict=True)
        ),
        dtype=frames.dtype,
        dimension_names=list(axes),
        config={"write_empty_chunks": True},  # a missing chunk would count as lost
    )
    array[...] = frames


def write_image(
    path: str | Path, image: NDArray[Any], attributes: Mapping[str, Any] | None = None
) -> None:
    """Write a mask, a flat field or another single image as a Zarr array with these attributes."""
    array = zarr.create_array(
        path, shape=image.shape, dtype=image.dtype, overwrite=True, zarr_format=3,
        attributes=dict(attributes or {}),
        chunks=tuple(min(size, 1024) for size in image.shape),
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = np.asarray(image)


def check_new_mask(path: str) -> None:
    """Raise InputError if a mask could not be written to a path, where nothing may exist yet."""
    place = Path(path)
    if place.suffix != ".npy" or "://" in path:
        raise InputError(f"{path}: the mask is written to a path of this machine, in .npy")
    if place.exists():
        raise InputError(f"{path} exists: it is not replaced; choose another name, or remove it")
    if not place.resolve().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist")


def write_new_mask(path: str, mask: Bools) -> None:
    """Write a mask as .npy; InputError if something has appeared at its path meanwhile."""
    begun = False
    try:
        with Path(path).open("xb") as file:
            begun = True
            content = io.BytesIO()  # NumPy itself does not say why it cannot write to a file
            np.save(content, mask)
            file.write(content.getbuffer())
    except FileExistsError as error:
        raise InputError(f"{path} exists: it is not replaced") from error
    except OSError as error:
        if begun:
            Path(path).unlink(missing_ok=True)
        raise explain_unwritten(path, error) from error


def write_table(path: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file of rows under the `names` of their columns; replaces an existing file."""
    with (
        writing_at_once(path),
        replacing_own_file(path, "output.summary") as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows([names, *rows])


def write_rows(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with a line per row, under the keys of the first; None stays empty."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
