"""Move every frame by its shift: lazily, as a stack on disk, as pictures before and after."""

from pipeline.correct.lazy import correct
from pipeline.correct.pictures import SeriesImages, before_and_after, mean_before_and_after
from pipeline.correct.regions import Invalid
from pipeline.correct.stack import Corrected, lay_out, write_corrected
from pipeline.correct.tiff import write_tiff

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
