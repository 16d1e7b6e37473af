"""Any stack and mask in: small descriptions first, then frame by frame.

`stacks` finds out what a path holds, with `formats` (what a store says of itself), `positions`
(plates and collections) and `tiff`. `references` say where in a store an array is, `pixels` are
arrays of all formats, read in one way; `frames` reads those of a stack or a DataArray and `masks`
joins masks to either. `csv_files` reads the tables that users give.
"""

from steadystack.readers.csv_files import (
    FramePositions,
    convert_positions,
    digest_pairs,
    read_pair_list,
    read_positions,
)
from steadystack.readers.formats import INPUT_SUFFIXES
from steadystack.readers.frames import (
    ArrayFrames,
    StackFrames,
    cut_at_chunks,
    may_lack_chunks,
    read_block,
)
from steadystack.readers.masks import (
    MaskLabels,
    ValidFrames,
    digest_content,
    locate_mask,
    read_image,
)
from steadystack.readers.positions import Positions, list_positions
from steadystack.readers.stacks import (
    Missing,
    StackSpec,
    choose_ome_version,
    get_codecs,
    get_coordinates,
    locate_stack,
)
from steadystack.readers.tiff import TIFF_SUFFIXES

__all__ = [
    "INPUT_SUFFIXES",
    "TIFF_SUFFIXES",
    "ArrayFrames",
    "FramePositions",
    "MaskLabels",
    "Missing",
    "Positions",
    "StackFrames",
    "StackSpec",
    "ValidFrames",
    "choose_ome_version",
    "convert_positions",
    "cut_at_chunks",
    "digest_content",
    "digest_pairs",
    "get_codecs",
    "get_coordinates",
    "list_positions",
    "locate_mask",
    "locate_stack",
    "may_lack_chunks",
    "read_block",
    "read_image",
    "read_pair_list",
    "read_positions",
]
