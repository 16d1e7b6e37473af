"""Measure the pairs of a stack: frames read and prepared once per batch, rows filled once."""

from pipeline.measure.batches import MEASURED, BatchResult, measure_batch, measure_pairs
from pipeline.measure.budget import BatchSize
from pipeline.measure.closeups import close_ups
from pipeline.measure.effect import static_effect
from pipeline.measure.frames import Method, flat_field_bytes
from pipeline.measure.parts import local_motion
from pipeline.measure.polish import polish_bytes, solve_series
from pipeline.measure.static import own_stills, static_bytes, static_frames

__all__ = [
    "MEASURED",
    "BatchResult",
    "BatchSize",
    "Method",
    "close_ups",
    "flat_field_bytes",
    "local_motion",
    "measure_batch",
    "measure_pairs",
    "own_stills",
    "polish_bytes",
    "solve_series",
    "static_bytes",
    "static_effect",
    "static_frames",
]
