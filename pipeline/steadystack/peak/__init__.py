"""From an NCC surface to a shift with its covariance, or the status that says why there is none.

`choice` finds the best lag among the `maxima`; a `patch` is the surface around it, `cutting` makes
it, and `surroundings` are the patches of several surfaces; `summit` is the maximum between the
pixels; `ridges` do not fall off from it in all directions; what stands `still` in both images makes
crests; `registration` joins them.
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
