"""Which pairs of frames to measure, and which of them to measure together.

Integers in, integers out: nothing here looks at a pixel.
"""

from pipeline.pairs.batches import batch_pairs, frames_held
from pipeline.pairs.strategies import STRATEGIES, select_pairs
from pipeline.pairs.weak import extra_pairs

__all__ = ["STRATEGIES", "batch_pairs", "extra_pairs", "frames_held", "select_pairs"]
