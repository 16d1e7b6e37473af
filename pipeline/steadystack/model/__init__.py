"""The words of the project as types: frames, lags, surfaces, registrations, tables, statuses.

`words` are the shared names and statuses, `images` frames, surfaces and registrations, `tables`
measured pairs and solved frames, `schema` their columns in the dataset, `findings` what checks of
them tell, `pilot_outcome` what was decided before, `verdicts` how far to trust them; `arguments`
checks what is given for a stack or a shifts dataset; `redaction` hides the secrets of URLs.
Every other module speaks in these types, and none of them knows a file, a cluster or a setting.

Conventions, used everywhere
----------------------------
* A mask is boolean, True = valid.
* A **shift** is what has to be applied to a frame to lay it on another one, in pixels, in array
  axis order (``y, x`` or ``z, y, x``): ``scipy.ndimage.shift(moving, shift)``.
* ``pair_shift[i, j] = shift[j] - shift[i]`` lays frame *j* (moving) on frame *i* (reference).
* "Not known" is NaN together with a status; 0 is a measurement.
"""

from steadystack.model.arguments import (
    as_image,
    as_plain,
    as_settings,
    as_shifts,
    as_stack,
    spatial_dims,
    suggest_renaming,
)
from steadystack.model.findings import (
    EXTERNAL,
    FixedPatternEffect,
    LocalMotion,
    MajorityCheck,
    MaskCheck,
    OtherConditioning,
    OutsideFit,
    OutsideOutcome,
    ProbeCheck,
    SharpnessCheck,
)
from steadystack.model.images import (
    ChangedFrames,
    CloseUp,
    Frame,
    FrameSource,
    Image,
    OutsideImage,
    Registration,
    ReportImages,
    Surface,
    is_of_one_value,
)
from steadystack.model.pilot_outcome import (
    FEWEST_PLACES,
    LEAST_WAY,
    MOST_SIGMA,
    PILOT,
    Defects,
    FixedLines,
    Pilot,
    Reach,
    StrangeParts,
    Trial,
)
from steadystack.model.redaction import hide_in_values, hide_secrets
from steadystack.model.schema import (
    ATTRIBUTES,
    BESIDE,
    COLUMNS,
    DIMS,
    FRAME_CHECKSUMS,
    FRAME_FIELDS,
    FRAME_RESULTS,
    GROWN,
    PAIR_FIELDS,
    PAIR_RESULTS,
    PART_CUTS,
    STACK_FRAMES,
    Column,
    columns_of,
    count_parts,
)
from steadystack.model.tables import FrameTable, PairTable
from steadystack.model.verdicts import Finding, Reason, Trust, Verdict
from steadystack.model.words import (
    LONE,
    SHIFT_CONVENTION,
    UNSOLVED,
    Bools,
    Floats,
    FrameStatus,
    InputError,
    Ints,
    OutputError,
    PairStatus,
    RunError,
    Slices,
    Status,
    UnreachableError,
    escape_unprintable,
    name_axes,
)

__all__ = [
    "ATTRIBUTES",
    "BESIDE",
    "COLUMNS",
    "DIMS",
    "EXTERNAL",
    "FEWEST_PLACES",
    "FRAME_CHECKSUMS",
    "FRAME_FIELDS",
    "FRAME_RESULTS",
    "GROWN",
    "LEAST_WAY",
    "LONE",
    "MOST_SIGMA",
    "PAIR_FIELDS",
    "PAIR_RESULTS",
    "PART_CUTS",
    "PILOT",
    "SHIFT_CONVENTION",
    "STACK_FRAMES",
    "UNSOLVED",
    "Bools",
    "ChangedFrames",
    "CloseUp",
    "Column",
    "Defects",
    "Finding",
    "FixedLines",
    "FixedPatternEffect",
    "Floats",
    "Frame",
    "FrameSource",
    "FrameStatus",
    "FrameTable",
    "Image",
    "InputError",
    "Ints",
    "LocalMotion",
    "MajorityCheck",
    "MaskCheck",
    "OtherConditioning",
    "OutputError",
    "OutsideFit",
    "OutsideImage",
    "OutsideOutcome",
    "PairStatus",
    "PairTable",
    "Pilot",
    "ProbeCheck",
    "Reach",
    "Reason",
    "Registration",
    "ReportImages",
    "RunError",
    "SharpnessCheck",
    "Slices",
    "Status",
    "StrangeParts",
    "Surface",
    "Trial",
    "Trust",
    "UnreachableError",
    "Verdict",
    "as_image",
    "as_plain",
    "as_settings",
    "as_shifts",
    "as_stack",
    "columns_of",
    "count_parts",
    "escape_unprintable",
    "hide_in_values",
    "hide_secrets",
    "is_of_one_value",
    "name_axes",
    "spatial_dims",
    "suggest_renaming",
]
