"""From an NCC surface to a shift with its covariance, or the status that says why there is none.

- `choice`: chooses the lag among the `maxima`
- `patch`: the surface around it, which `cutting` makes; `surroundings`: those of several surfaces
- `summit`: the maximum between the pixels
- `ridges`: surfaces that do not fall off in all directions
- `still`: crests from what stands still in both images
- `registration`: combines these steps
"""

from steadystack.peak.choice import Peak, compute_significance, find_peak
from steadystack.peak.patch import RADII
from steadystack.peak.registration import (
    count_held,
    estimate_held_bytes,
    find_summits_near,
    judge_peak,
    register,
    register_each,
    round_to_pixels,
)
from steadystack.peak.summit import Summit, find_summits

__all__ = [
    "RADII",
    "Peak",
    "Summit",
    "compute_significance",
    "count_held",
    "estimate_held_bytes",
    "find_peak",
    "find_summits",
    "find_summits_near",
    "judge_peak",
    "register",
    "register_each",
    "round_to_pixels",
]
