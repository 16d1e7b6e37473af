"""OME-Zarr metadata as types, read and written in one place each.

- `metadata`: reads the metadata of a group: an image, a plate, a well, a collection
- `attributes`: makes those of an image to be written
- `scenes`: makes those of displacements
"""

from steadystack.ome.attributes import (
    Coordinates,
    OmeVersion,
    find_time_unit,
    make_image_attributes,
)
from steadystack.ome.metadata import (
    OmeImage,
    PyramidLevel,
    is_collection,
    read_image,
    read_plate,
    read_series,
    read_well,
)
from steadystack.ome.scenes import FOLDER, make_field_attributes, make_scene_attributes

__all__ = [
    "FOLDER",
    "Coordinates",
    "OmeImage",
    "OmeVersion",
    "PyramidLevel",
    "find_time_unit",
    "is_collection",
    "make_field_attributes",
    "make_image_attributes",
    "make_scene_attributes",
    "read_image",
    "read_plate",
    "read_series",
    "read_well",
]
