"""From an NCC surface to a shift: which lag, how far between the pixels, how sure, or why not."""

from pipeline.peak.choice import Peak, find_peak, significance
from pipeline.peak.patch import RADII
from pipeline.peak.registration import held_bytes, judge, register, register_each
from pipeline.peak.summit import Summit, summits

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
