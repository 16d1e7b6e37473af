"""Camera defects, found in a series whose scene moves.

- `outstanding`: pixels that stand out from their neighbours wherever the scene is
- `lines`: rows and columns that do so
- `levelled`: the frames of a series without those lines
- `unseen`: where frames show no scene
- `moving_slopes`: a fixed pattern in front of a scene that moves only a little
- `changes`: what changes in a scene that hardly moves
- `pair_changes`: what remains of a frame when another is subtracted
- `looked_at`: how many frames are searched for defects, and the memory that takes
- `pixel_order`: medians and other middle values of pixels
"""

from steadystack.defects.changes import compare_changes
from steadystack.defects.levelled import LevelledFrames, LinelessFrames
from steadystack.defects.lines import (
    LITTLE,
    PLANE,
    compute_lined_share,
    compute_profiles,
    compute_scene_slopes,
    compute_side_profiles,
    separate_lines,
    take_lines_away,
)
from steadystack.defects.looked_at import (
    FEWEST_LOOKED_AT,
    FIELD_FRAMES,
    FIELD_PIXELS,
    count_looked_at,
    estimate_field_bytes,
    estimate_search_bytes,
)
from steadystack.defects.moving_slopes import MovingSlopes, choose_near, measure_moving_slopes
from steadystack.defects.outstanding import (
    count_places,
    find_outstanding,
    select_staying,
    standardize,
)
from steadystack.defects.pair_changes import compare_pair, find_overlap
from steadystack.defects.unseen import find_unseen, list_runs

__all__ = [
    "FEWEST_LOOKED_AT",
    "FIELD_FRAMES",
    "FIELD_PIXELS",
    "LITTLE",
    "PLANE",
    "LevelledFrames",
    "LinelessFrames",
    "MovingSlopes",
    "choose_near",
    "compare_changes",
    "compare_pair",
    "compute_lined_share",
    "compute_profiles",
    "compute_scene_slopes",
    "compute_side_profiles",
    "count_looked_at",
    "count_places",
    "estimate_field_bytes",
    "estimate_search_bytes",
    "find_outstanding",
    "find_overlap",
    "find_unseen",
    "list_runs",
    "measure_moving_slopes",
    "select_staying",
    "separate_lines",
    "standardize",
    "take_lines_away",
]
