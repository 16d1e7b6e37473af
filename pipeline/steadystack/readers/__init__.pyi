from .formats import INPUT_SUFFIXES
from .frames import (
    ArrayFrames,
    StackFrames,
    cut_at_chunks,
    list_earlier,
    may_lack_chunks,
    read_block,
)
from .masks import (
    ImagePart,
    MaskLabels,
    ValidFrames,
    digest_content,
    locate_mask,
    read_image,
)
from .positions import Positions, list_positions
from .single_images import ReadImage, read_any_image
from .stacks import (
    Missing,
    StackSpec,
    choose_ome_version,
    cut_stack,
    get_codecs,
    get_coordinates,
    locate_stack,
)

__all__ = [
    "INPUT_SUFFIXES",
    "ArrayFrames",
    "ImagePart",
    "MaskLabels",
    "Missing",
    "Positions",
    "ReadImage",
    "StackFrames",
    "StackSpec",
    "ValidFrames",
    "choose_ome_version",
    "cut_at_chunks",
    "cut_stack",
    "digest_content",
    "get_codecs",
    "get_coordinates",
    "list_earlier",
    "list_positions",
    "locate_mask",
    "locate_stack",
    "may_lack_chunks",
    "read_any_image",
    "read_block",
    "read_image",
]
