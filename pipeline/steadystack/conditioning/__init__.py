"""Prepare frames for correlation, and measure properties of the unprepared pixels.

- `preparation`: the steps, in their order, and measurements of images as they are
- `local_planes`: planes fitted to the surroundings of every pixel, for the filters
"""

from steadystack.conditioning.local_planes import find_even_surroundings
from steadystack.conditioning.preparation import (
    MEDIAN_STRIP,
    Conditioning,
    apply_high_pass,
    apply_low_pass,
    compute_masked_median,
    compute_reach,
    condition,
    divide_by_flat_field,
    find_shared_outliers,
    looks_inverted,
    narrow,
    subtract_line_means,
)

__all__ = [
    "MEDIAN_STRIP",
    "Conditioning",
    "apply_high_pass",
    "apply_low_pass",
    "compute_masked_median",
    "compute_reach",
    "condition",
    "divide_by_flat_field",
    "find_even_surroundings",
    "find_shared_outliers",
    "looks_inverted",
    "narrow",
    "subtract_line_means",
]
