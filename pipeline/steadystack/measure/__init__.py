"""Measure the pairs of a stack: frames read and prepared once per batch, rows filled once.

`batches` are the tasks, `budget` says how large they are, `centres` where a pair is searched for
if something is known before. `method` reads frames and makes them ready; `stills` makes what is
divided by or subtracted of the stack itself. `rounds` measures what a first round leaves wanted,
and `refinement` every frame anew against the mean of its neighbours.
"""

from steadystack.measure.batches import BatchResult, batches_of, measure_batch, measure_pairs
from steadystack.measure.budget import BatchSize
from steadystack.measure.centres import cheapest_cell, pair_centres, searches_of
from steadystack.measure.method import Method, flat_field_bytes, read_block, read_stills
from steadystack.measure.refinement import refine_bytes, solve_series
from steadystack.measure.rounds import measure_rounds, with_second_round
from steadystack.measure.stills import (
    FEWEST_FRAMES,
    Found,
    Sample,
    estimate,
    known_rows,
    own_stills,
    spread,
    static_bytes,
    static_frames,
)

__all__ = [
    "FEWEST_FRAMES",
    "BatchResult",
    "BatchSize",
    "Found",
    "Method",
    "Sample",
    "batches_of",
    "cheapest_cell",
    "estimate",
    "flat_field_bytes",
    "known_rows",
    "measure_batch",
    "measure_pairs",
    "measure_rounds",
    "own_stills",
    "pair_centres",
    "read_block",
    "read_stills",
    "refine_bytes",
    "searches_of",
    "solve_series",
    "spread",
    "static_bytes",
    "static_frames",
    "with_second_round",
]
