"""What other programs read of the motion of frames, made of a shifts dataset.

`frame_rows` are rows of a table. `affines` are the matrices of frames; `programs` are those as
napari, multiview-stitcher and biahub take them, and `bigdataviewer` as BigDataViewer does.
`displacements` are fields that move points, which local motion is, too. `measured_stack` finds the
stack that a dataset is of.
"""

from steadystack.exports.affines import Motions, make_motions
from steadystack.exports.bigdataviewer import make_bigdataviewer_xml
from steadystack.exports.displacements import Displacements, make_displacements
from steadystack.exports.frame_rows import find_common_part, make_frame_rows
from steadystack.exports.measured_stack import (
    check_export_target,
    list_measured_files,
    locate_measured_stack,
)
from steadystack.exports.programs import (
    make_affine_list,
    make_biahub_settings,
    make_napari_layers,
)

__all__ = [
    "Displacements",
    "Motions",
    "check_export_target",
    "find_common_part",
    "list_measured_files",
    "locate_measured_stack",
    "make_affine_list",
    "make_biahub_settings",
    "make_bigdataviewer_xml",
    "make_displacements",
    "make_frame_rows",
    "make_motions",
    "make_napari_layers",
]
