"""Any stack and mask in: small descriptions first, then frame by frame.

`stacks` finds out what a path holds, with `formats` (what a store says of itself), `positions`
(plates and collections) and `tiff`. `references` say where an array is in it, `pixels` are arrays
that are read alike; `frames` are those of a stack or a DataArray, and `masks` join masks to
either. `csv_files` are the tables that users give.
"""

from steadystack.readers.csv_files import (
    FramePositions,
    digest_of,
    given_positions,
    read_pair_list,
    read_positions,
)
from steadystack.readers.frames import ArrayFrames, StackFrames, groups, lazy_stack, read_block
from steadystack.readers.masks import (
    Sense,
    ValidFrames,
    content_digest,
    locate_mask,
    read_image,
)
from steadystack.readers.positions import Positions, positions
from steadystack.readers.stacks import (
    Missing,
    StackSpec,
    codecs_of,
    coordinates_of,
    locate,
    version_for,
)

__all__ = [
    "ArrayFrames",
    "FramePositions",
    "Missing",
    "Positions",
    "Sense",
    "StackFrames",
    "StackSpec",
    "ValidFrames",
    "codecs_of",
    "content_digest",
    "coordinates_of",
    "digest_of",
    "given_positions",
    "groups",
    "lazy_stack",
    "locate",
    "locate_mask",
    "positions",
    "read_block",
    "read_image",
    "read_pair_list",
    "read_positions",
    "version_for",
]
