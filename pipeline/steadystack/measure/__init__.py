"""Measure the pairs of a stack: frames read and prepared once per batch, rows filled once."""

from steadystack.measure.batches import (
    BatchResult,
    batches_of,
    measure_batch,
    measure_pairs,
)
from steadystack.measure.budget import BatchSize
from steadystack.measure.centres import cheapest_cell, pair_centres, searches_of
from steadystack.measure.closeups import close_ups
from steadystack.measure.effect import static_effect
from steadystack.measure.frames import Method, flat_field_bytes
from steadystack.measure.masks import mask_seen
from steadystack.measure.parts import local_motion
from steadystack.measure.polish import polish_bytes, solve_series
from steadystack.measure.rounds import measure_rounds, with_second_round
from steadystack.measure.static import own_stills, static_bytes, static_frames

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
