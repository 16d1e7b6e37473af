"""TIFF files of every kind, of the pixels that scripts/write_stores.py has."""

from __future__ import annotations

import numpy as np
import tifffile

T, C, Y, X = np.ogrid[:3, :2, :24, :20]
PIXELS = (1000 * T + 500 * C + 20 * Y + X).astype("u2")  # as scripts/write_stores.py has them


def ome_tiff(path, **keys):
    metadata = {
        "axes": "TCYX", "PhysicalSizeY": 0.4, "PhysicalSizeX": 0.3, "TimeIncrement": 2.5,
        "PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm", "TimeIncrementUnit": "s",
        "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    tifffile.imwrite(path, PIXELS, metadata=metadata, **keys)


def imagej(path):
    tifffile.imwrite(
        path, PIXELS, imagej=True, resolution=(1 / 0.3, 1 / 0.4),
        metadata={"axes": "TCYX", "unit": "um", "finterval": 2.5, "Labels": ["DAPI", "GFP"] * 3},
    )  # fmt: skip


def pages(path, frames=PIXELS[:, 1], **keys):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, metadata=None, **keys)


def strips(path):
    pages(path, compression="zstd", rowsperstrip=6)


def described(path):
    tifffile.imwrite(path, PIXELS[:, 1], photometric="minisblack")
