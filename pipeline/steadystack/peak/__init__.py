"""From an NCC surface to a shift: which lag, how far between the pixels, how sure, or why not.

`choice` finds the lag; `patch` is the surface around it, in `views` of several surfaces at a time;
`summit` is the maximum between the pixels, and `registration` joins them.
"""

from steadystack.peak.choice import Peak, find_peak, significance
from steadystack.peak.patch import RADII
from steadystack.peak.registration import held_bytes, judge, register, register_each
from steadystack.peak.summit import Summit, summits

__all__ = [
    "RADII",
    "Peak",
    "Summit",
    "find_peak",
    "held_bytes",
    "judge",
    "register",
    "register_each",
    "significance",
    "summits",
]
