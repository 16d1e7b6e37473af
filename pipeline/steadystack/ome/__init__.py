"""OME-Zarr metadata as types, which is read in one place and written in one place.

`metadata` reads what a group says of itself: an image, a plate, a well, a collection. `attributes`
makes those of an image that is to be written, and `scenes` those of displacements.
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
