"""OME-Zarr metadata as types, which is read in one place and written in one place.

`metadata` reads what a group says of itself: an image, a plate, a well, a collection. `attributes`
makes those of an image that is to be written.
"""

from steadystack.ome.attributes import TIME_UNITS, Coordinates, OmeVersion, make_image_attributes
from steadystack.ome.metadata import (
    OmeImage,
    PyramidLevel,
    is_collection,
    read_image,
    read_plate,
    read_series,
    read_well,
)

__all__ = [
    "TIME_UNITS",
    "Coordinates",
    "OmeImage",
    "OmeVersion",
    "PyramidLevel",
    "is_collection",
    "make_image_attributes",
    "read_image",
    "read_plate",
    "read_series",
    "read_well",
]
