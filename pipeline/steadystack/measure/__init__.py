"""Measure the pairs of a stack: frames are read and prepared once per batch.

- `batches`: the tasks, in a first round, and in a second one where the graph is weak
- `batch_tasks`: what a task does; `batch_results`: what it returns
- `method`: reads and prepares frames
- `part_steps`: evaluates the parts of the frame
- `budget`: the size of a batch
- `centres`: where to search for a pair whose shift is roughly known
- `camera_images`: estimates the flat field and the fixed pattern from the stack
- `refinement`: measures every frame again, against the mean of its neighbours
"""

from steadystack.measure.batch_results import BatchResult
from steadystack.measure.batch_tasks import HeldFrames, measure_batch
from steadystack.measure.batches import (
    MeasuredBefore,
    add_second_round,
    cut_into_batches,
    measure_pairs,
    measure_rounds,
)
from steadystack.measure.budget import BatchSize
from steadystack.measure.camera_images import (
    CAMERA_IMAGES,
    FEWEST_FRAMES,
    PatternEstimate,
    Sample,
    check_camera_image,
    count_fixed_pattern_frames,
    discard_camera_images,
    estimate_camera_images,
    estimate_fixed_pattern_bytes,
    estimate_pattern,
    get_camera_image_path,
    has_shift,
)
from steadystack.measure.centres import find_cheapest_cell, find_pair_centres, list_searches
from steadystack.measure.method import (
    Method,
    ReadSummary,
    estimate_flat_field_bytes,
    prepare_block,
    read_camera_images,
    read_common_mask,
)
from steadystack.measure.part_steps import find_last_rows, find_part_centres
from steadystack.measure.refinement import (
    FrameGroup,
    GroupMean,
    estimate_refine_bytes,
    refine_shifts,
)

__all__ = [
    "CAMERA_IMAGES",
    "FEWEST_FRAMES",
    "BatchResult",
    "BatchSize",
    "FrameGroup",
    "GroupMean",
    "HeldFrames",
    "MeasuredBefore",
    "Method",
    "PatternEstimate",
    "ReadSummary",
    "Sample",
    "add_second_round",
    "check_camera_image",
    "count_fixed_pattern_frames",
    "cut_into_batches",
    "discard_camera_images",
    "estimate_camera_images",
    "estimate_fixed_pattern_bytes",
    "estimate_flat_field_bytes",
    "estimate_pattern",
    "estimate_refine_bytes",
    "find_cheapest_cell",
    "find_last_rows",
    "find_pair_centres",
    "find_part_centres",
    "get_camera_image_path",
    "has_shift",
    "list_searches",
    "measure_batch",
    "measure_pairs",
    "measure_rounds",
    "prepare_block",
    "read_camera_images",
    "read_common_mask",
    "refine_shifts",
]
