"""Write the small stores in tests/data with other projects' writers, one zip file each.

pip install ome-zarr ngff-zarr bioio-ome-zarr    (in an environment of their own)
python scripts/write_stores.py tests/data

Pixel [t, c, y, x] of all of them is 1000 t + 500 c + 20 y + x; 3 frames of 2 channels, 24 x 20.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import ngff_zarr
import numpy as np
import zarr
from bioio_ome_zarr.writers import Channel, OMEZarrWriter
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image, write_plate_metadata, write_well_metadata

T, C, Y, X = np.ogrid[:3, :2, :24, :20]
PIXELS = (1000 * T + 500 * C + 20 * Y + X).astype("u2")
SCALE = {"t": 2.5, "c": 1.0, "y": 0.4, "x": 0.3}
UNITS = {"t": "second", "y": "micrometer", "x": "micrometer"}
NAMES = ["DAPI", "GFP"]


def write_ome_zarr_image(group, form):
    write_image(
        PIXELS, group, scale_factors=[2], fmt=form, axes="tcyx", scale=SCALE, axes_units=UNITS,
        omero={"channels": [{"label": name, "color": "FFFFFF", "window": {
            "start": 0, "end": 3000, "min": 0, "max": 65535}} for name in NAMES]},
    )  # fmt: skip


def write_by_ome_zarr(path, form):
    write_ome_zarr_image(zarr.open_group(path, mode="w", zarr_format=form.zarr_format), form)


def write_plate_by_ome_zarr(path, form):
    """Two of three wells are written: the third one is on the list alone."""
    root = zarr.open_group(path, mode="w", zarr_format=form.zarr_format)
    wells = ["A/01", "B/02", "B/03"]
    write_plate_metadata(root, ["A", "B"], ["01", "02", "03"], wells, fmt=form, field_count=2)
    for well, fields in (("A/01", ["0", "1"]), ("B/03", ["0"])):
        group = root.require_group(well)
        write_well_metadata(group, fields, fmt=form)
        for field in fields:
            write_ome_zarr_image(group.require_group(field), form)


def write_by_ngff_zarr(path, number):
    image = ngff_zarr.to_ngff_image(
        PIXELS, ["t", "c", "y", "x"], SCALE, axes_units=UNITS, channel_names=NAMES
    )
    scales = ngff_zarr.to_multiscales(image, scale_factors=[2], chunks=12)
    sharded = {"chunks_per_shard": 2} if number == "0.5" else {}
    ngff_zarr.to_ngff_zarr(str(path), scales, version=number, **sharded)


def write_by_bioio(path, zarr_format):
    writer = OMEZarrWriter(
        str(path), [PIXELS.shape, (3, 2, 12, 10)], PIXELS.dtype, zarr_format=zarr_format,
        chunk_shape=(1, 1, 12, 10), axes_names=list("tcyx"),
        axes_types=["time", "channel", "space", "space"],
        axes_units=["second", None, "micrometer", "micrometer"],
        physical_pixel_size=list(SCALE.values()),
        channels=[Channel(label=name, color="FFFFFF") for name in NAMES],
    )  # fmt: skip
    writer.write_full_volume(PIXELS)


def main(folder):
    jobs = {
        "ome-zarr-py-04": (write_by_ome_zarr, FormatV04()),
        "ome-zarr-py-05": (write_by_ome_zarr, FormatV05()),
        "ome-zarr-py-04-plate": (write_plate_by_ome_zarr, FormatV04()),
        "ome-zarr-py-05-plate": (write_plate_by_ome_zarr, FormatV05()),
        "ngff-zarr-04": (write_by_ngff_zarr, "0.4"),
        "ngff-zarr-05-sharded": (write_by_ngff_zarr, "0.5"),
        "bioio-04": (write_by_bioio, 2),
        "bioio-05": (write_by_bioio, 3),
    }
    for name, (write, option) in jobs.items():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "a.zarr"
            write(path, option)
            with zipfile.ZipFile(Path(folder) / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
                for file_path in sorted(path.rglob("*")):
                    if file_path.is_file():
                        file.write(file_path, file_path.relative_to(path))
    print(*(f"{p} {version(p)}" for p in ("ome-zarr", "ngff-zarr", "bioio-ome-zarr", "zarr")))


if __name__ == "__main__":
    main(sys.argv[1])
