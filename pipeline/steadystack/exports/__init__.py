"""Make files for other programs from a shifts dataset.

- `frame_rows`: a table with a row per frame
- `affines`: the matrices of frames
- `programs`: the matrices in the form that napari, multiview-stitcher and biahub expect
- `bigdataviewer`: the matrices for BigDataViewer
- `displacements`: fields that move points; they can also hold local motion
- `measured_stack`: finds the stack that a dataset belongs to, and what may be exported where
"""

from steadystack.exports.affines import Motions, make_motions
from steadystack.exports.bigdataviewer import make_bigdataviewer_xml
from steadystack.exports.displacements import Displacements, make_displacements
from steadystack.exports.frame_rows import find_common_part, make_frame_rows
from steadystack.exports.measured_stack import (
    AFFINES,
    DISPLACEMENTS,
    check_export_target,
    explain_local,
    find_export_suffix,
    list_measured_files,
    locate_measured_stack,
)
from steadystack.exports.programs import (
    make_affine_list,
    make_biahub_settings,
    make_napari_layers,
)

__all__ = [
    "AFFINES",
    "DISPLACEMENTS",
    "Displacements",
    "Motions",
    "check_export_target",
    "explain_local",
    "find_common_part",
    "find_export_suffix",
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
