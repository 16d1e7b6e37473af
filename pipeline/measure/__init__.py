"""Measure the pairs of a stack: frames read and prepared once per batch, rows filled once."""

from pipeline.measure.batches import (
    BatchResult,
    batches_of,
    measure_batch,
    measure_pairs,
)
from pipeline.measure.budget import BatchSize
from pipeline.measure.centres import cheapest_cell, pair_centres, searches_of
from pipeline.measure.closeups import close_ups
from pipeline.measure.effect import static_effect
from pipeline.measure.frames import Method, flat_field_bytes
from pipeline.measure.masks import mask_seen
from pipeline.measure.parts import local_motion
from pipeline.measure.polish import polish_bytes, solve_series
from pipeline.measure.rounds import measure_rounds, with_second_round
from pipeline.measure.static import own_stills, static_bytes, static_frames

__all__ = [
    "BatchResult",
    "BatchSize",
    "Method",
    "batches_of",
    "cheapest_cell",
    "close_ups",
    "flat_field_bytes",
    "local_motion",
    "mask_seen",
    "measure_batch",
    "measure_pairs",
    "measure_rounds",
    "own_stills",
    "pair_centres",
    "polish_bytes",
    "searches_of",
    "solve_series",
    "static_bytes",
    "static_effect",
    "static_frames",
    "with_second_round",
]
