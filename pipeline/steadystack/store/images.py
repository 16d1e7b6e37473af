"""Write small images and stacks as OME-Zarr 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray


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
    kinds = {"t": "time", "c": "channel"}
    entries = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    scale = dict.fromkeys(axes, 1.0)
    spatial = [axis for axis in axes if axis not in kinds]
    for entry in entries:
        if entry["name"] == "t" and frame_interval is not None:
            entry["unit"], scale["t"] = "second", frame_interval
        if entry["name"] in spatial and pixel_size is not None:
            entry["unit"] = unit
            scale[entry["name"]] = float(pixel_size[spatial.index(entry["name"])])
    transformation = {"type": "scale", "scale": [scale[axis] for axis in axes]}
    multiscale = {
        "name": Path(path).name.split(".")[0],
        "axes": entries,
        "datasets": [{"path": "0", "coordinateTransformations": [transformation]}],
    }
    group = zarr.create_group(
        path,
        zarr_format=3,
        overwrite=True,
        attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}},
    )
    array = group.create_array(
        "0",
        shape=frames.shape,
        chunks=tuple(
            1 if axis in kinds else size for axis, size in zip(axes, frames.shape, strict=True)
        ),
        dtype=frames.dtype,
        dimension_names=list(axes),
        config={"write_empty_chunks": True},  # a chunk that is not there would mean: lost
    )
    array[...] = frames


def write_image(path: str | Path, image: NDArray[Any]) -> None:
    """Write a mask, a flat field or another single image as a Zarr array."""
    array = zarr.create_array(
        path, shape=image.shape, dtype=image.dtype, overwrite=True, zarr_format=3,
        chunks=tuple(min(size, 1024) for size in image.shape),
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = np.asarray(image)


def embedded_scene() -> NDArray[np.uint8]:
    """The photograph that comes with the package: uint8, 512 x 512."""
    with resources.files("steadystack").joinpath("data", "scene.npz").open("rb") as file:
        scene: NDArray[np.uint8] = np.load(file)["scene"]
    return scene
