"""Zarr stores: those of other writers, and OME-Zarr 0.4."""

from __future__ import annotations

import numpy as np
import zarr

from support.scenes import rough

FRAMES = np.stack([rough(seed, (2, 12, 14)) for seed in range(3)]).astype("f4")  # t, c, y, x


def ome_04(path, axes="tcyx", array=FRAMES, labels=("DAPI", "GFP"), units=True):
    group = zarr.create_group(path, zarr_format=2)
    stored = group.create_array("0", shape=array.shape, chunks=(1,) * (array.ndim - 2) + (5, 6),
                                dtype=array.dtype)  # fmt: skip
    stored[...] = array
    half = array[..., ::2, ::2]
    group.create_array("1", data=half)
    kinds = {"t": "time", "c": "channel"}
    unit = {"t": "second", "y": "micrometer", "x": "micrometer"} if units else {}
    entries = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for entry in entries:
        if entry["name"] in unit:
            entry["unit"] = unit[entry["name"]]
    scale = [{"t": 2.5, "c": 1.0, "z": 1.0, "y": 0.4, "x": 0.3}[a] for a in axes]
    coarse = [s * (2 if a in "yx" else 1) for a, s in zip(axes, scale, strict=True)]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": entries,
            "datasets": [
                {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": s}]}
                for i, s in enumerate((scale, coarse))
            ],
        }
    ]
    group.attrs["omero"] = {"channels": [{"label": label} for label in labels]}
    return str(path)


def chunk_file(path, zarr_format, *index):
    key = ".".join(map(str, index)) if zarr_format == 2 else "c/" + "/".join(map(str, index))
    return path / key
