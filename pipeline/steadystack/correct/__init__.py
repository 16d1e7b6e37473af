"""Move every frame by its shift: lazily, as a stack on disk, as pictures before and after."""

from steadystack.correct.lazy import correct
from steadystack.correct.pictures import SeriesImages, before_and_after, mean_before_and_after
from steadystack.correct.regions import Invalid
from steadystack.correct.stack import Corrected, lay_out, write_corrected
from steadystack.correct.tiff import write_tiff

__all__ = [
    "Corrected",
    "Invalid",
    "SeriesImages",
    "before_and_after",
    "correct",
    "lay_out",
    "mean_before_and_after",
    "write_corrected",
    "write_tiff",
]
