"""Measure the pairs of a stack: frames read and prepared once per batch, rows filled once."""

from pipeline.measure.batches import BatchResult, batches_of, measure_batch, measure_pairs
from pipeline.measure.budget import BatchSize
from pipeline.measure.centres import cheapest_cell, pair_centres, searches_of
from pipeline.measure.effect import static_effect
from pipeline.measure.frames import Method
from pipeline.measure.polish import solve_series
from pipeline.measure.rounds import measure_rounds, with_second_round
from pipeline.measure.static import own_stills

__all__ = [
    "BatchResult",
    "BatchSize",
    "Method",
    "batches_of",
    "cheapest_cell",
    "measure_batch",
    "measure_pairs",
    "measure_rounds",
    "own_stills",
    "pair_centres",
    "searches_of",
    "solve_series",
    "static_effect",
    "with_second_round",
]
