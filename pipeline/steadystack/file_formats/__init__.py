"""Read the contents of files and stores: one module, and library, per family of formats.

A library is imported when a file needs it.

- `pixels`: what all of them return, arrays read by regions; those of Zarr and in memory
- `tiff`: images in TIFF files
- `tiff_metadata`: what TIFF files say about their pixels
- `picture_files`: PNG, JPEG and the like, one frame each
- `hdf`: HDF5 and NeXus
- `plain_arrays`: memory-mapped files (.npy, MRC, raw numbers), and what a reader function returns
- `video`: AVI, MP4, MOV
- `czi_files`, `microscopes`: CZI; LIF and ND2
"""

from steadystack.file_formats.czi_files import CZI_SUFFIXES, open_czi
from steadystack.file_formats.hdf import HDF_SUFFIXES, open_hdf, split_hdf_path
from steadystack.file_formats.microscopes import (
    LIF_SUFFIXES,
    ND2_SUFFIXES,
    open_lif,
    open_nd2,
)
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
from steadystack.file_formats.plain_arrays import (
    MRC_SUFFIXES,
    NPY_SUFFIX,
    open_mrc,
    open_npy,
    open_raw,
    open_with,
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
    "CZI_SUFFIXES",
    "HDF_SUFFIXES",
    "LIF_SUFFIXES",
    "MRC_SUFFIXES",
    "ND2_SUFFIXES",
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
    "open_czi",
    "open_hdf",
    "open_level",
    "open_lif",
    "open_mrc",
    "open_nd2",
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
