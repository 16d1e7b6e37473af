"""From an NCC surface to a shift: which lag, how far between the pixels, how sure, or why not."""

from pipeline.peak.choice import Peak, find_peak, significance
from pipeline.peak.patch import RADII
from pipeline.peak.registration import judge, register
from pipeline.peak.summit import Summit, summit

__all__ = ["RADII", "Peak", "Summit", "find_peak", "judge", "register", "significance", "summit"]
