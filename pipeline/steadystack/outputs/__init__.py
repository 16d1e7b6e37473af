"""Write the outputs of a run other than the shifts dataset.

- `pyramids`: OME-Zarr images, written region by region; `progress` records how far they are
- `ome_tiff`: a stack in one file
- `small`: single images, tables and stacks that are written at once
- `field_groups`: displacements of points
- `kept`: what is kept of a corrected stack whose series has grown
- `marks`: distinguish files made here from those of others, which are never replaced
- `origins`: which run an image belongs to
"""

from steadystack.outputs.field_groups import (
    LEVEL,
    FieldArray,
    check_own_fields,
    replacing_own_fields,
    write_fields,
)
from steadystack.outputs.kept import (
    Written,
    check_image_holds_no_more,
    is_laid_out_alike,
    link_region,
    read_written,
    write_motion,
)
from steadystack.outputs.marks import (
    Origin,
    check_of_run,
    check_own_file,
    check_own_preview,
    is_of_state,
    make_figure_metadata,
    mark_page,
    name_run,
    read_kept_origin,
    replacing_own_file,
)
from steadystack.outputs.ome_tiff import (
    check_own_tiff,
    check_tiff,
    check_tiff_holds,
    read_tiff_origin,
    write_ome_tiff,
)
from steadystack.outputs.origins import (
    list_known_digests,
    read_origin,
)
from steadystack.outputs.progress import (
    CORRECTED,
    LISTED,
    MEAN,
    MOVIE,
    OWN,
    WHAT,
    TaskRecord,
    explaining_write_errors,
    make_record,
    read_begun,
    read_digest,
    read_stored_origin,
    writing_at_once,
)
from steadystack.outputs.pyramids import (
    VALID,
    Level,
    PyramidSpec,
    create_pyramid,
    write_fractions,
    write_region,
)
from steadystack.outputs.small import (
    check_new_mask,
    write_image,
    write_new_mask,
    write_rows,
    write_stack,
    write_table,
)

__all__ = [
    "CORRECTED",
    "LEVEL",
    "LISTED",
    "MEAN",
    "MOVIE",
    "OWN",
    "VALID",
    "WHAT",
    "FieldArray",
    "Level",
    "Origin",
    "PyramidSpec",
    "TaskRecord",
    "Written",
    "check_image_holds_no_more",
    "check_new_mask",
    "check_of_run",
    "check_own_fields",
    "check_own_file",
    "check_own_preview",
    "check_own_tiff",
    "check_tiff",
    "check_tiff_holds",
    "create_pyramid",
    "explaining_write_errors",
    "is_laid_out_alike",
    "is_of_state",
    "link_region",
    "list_known_digests",
    "make_figure_metadata",
    "make_record",
    "mark_page",
    "name_run",
    "read_begun",
    "read_digest",
    "read_kept_origin",
    "read_origin",
    "read_stored_origin",
    "read_tiff_origin",
    "read_written",
    "replacing_own_fields",
    "replacing_own_file",
    "write_fields",
    "write_fractions",
    "write_image",
    "write_motion",
    "write_new_mask",
    "write_ome_tiff",
    "write_region",
    "write_rows",
    "write_stack",
    "write_table",
    "writing_at_once",
]
