"""What files and stores hold, one module per family of formats, each read by its own library.

A library is imported when a file needs it.

- `pixels`: what all of them give, arrays that are read by regions; those of Zarr, and in memory
- `tiff`: images of TIFF files
- `tiff_metadata`: what these say of their pixels
- `picture_files`: PNG, JPEG and the like, a frame in each
- `hdf`: HDF5 and NeXus
- `mapped`: what is mapped into memory: .npy, MRC, raw numbers
- `video`: AVI, MP4, MOV
- `own_reader`: what a function of the user returns
"""

from steadystack.file_formats.hdf import HDF_SUFFIXES, open_hdf, split_hdf_path
from steadystack.file_formats.mapped import MRC_SUFFIXES, NPY_SUFFIX, open_mrc, open_npy, open_raw
from steadystack.file_formats.own_reader import open_with
from steadystack.file_formats.picture_files import PICTURE_SUFFIXES, is_picture, open_picture
from steadystack.file_formats.pixels import (
    FileArray,
    Pixels,
    PlainPixels,
    ZarrPixels,
    explaining_damage,
    find_coding,
    open_pixels,
    read_coordinate,
    read_dimension_names,
)
from steadystack.file_formats.tiff import (
    TIFF_SUFFIXES,
    TiffImage,
    is_tiff,
    open_level,
    read_tiff,
)
from steadystack.file_formats.video import VIDEO_SUFFIXES, open_video

__all__ = [
    "HDF_SUFFIXES",
    "MRC_SUFFIXES",
    "NPY_SUFFIX",
    "PICTURE_SUFFIXES",
    "TIFF_SUFFIXES",
    "VIDEO_SUFFIXES",
    "FileArray",
    "Pixels",
    "PlainPixels",
    "TiffImage",
    "ZarrPixels",
    "explaining_damage",
    "find_coding",
    "is_picture",
    "is_tiff",
    "open_hdf",
    "open_level",
    "open_mrc",
    "open_npy",
    "open_picture",
    "open_pixels",
    "open_raw",
    "open_video",
    "open_with",
    "read_coordinate",
    "read_dimension_names",
    "read_tiff",
    "split_hdf_path",
]
