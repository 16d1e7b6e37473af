"""Measure the pairs of a stack: frames read and prepared once per batch, rows filled once."""

from pipeline.measure.batches import MEASURED, BatchResult, measure_batch, measure_pairs
from pipeline.measure.budget import BatchSize
from pipeline.measure.effect import static_effect
from pipeline.measure.frames import Method
from pipeline.measure.polish import solve_series
from pipeline.measure.static import own_stills

__all__ = [
    "MEASURED",
    "BatchResult",
    "BatchSize",
    "Method",
    "measure_batch",
    "measure_pairs",
    "own_stills",
    "solve_series",
    "static_effect",
]
