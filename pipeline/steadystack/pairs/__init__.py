"""Which pairs of frames to measure, and which of them to measure together.

`strategies` chooses and batches them; `weak` chooses further ones where a solution is weak.
Integers in, integers out: nothing here looks at a pixel.
"""

from steadystack.pairs.strategies import STRATEGIES, batch_pairs, frames_held, select_pairs
from steadystack.pairs.weak import extra_pairs

__all__ = ["STRATEGIES", "batch_pairs", "extra_pairs", "frames_held", "select_pairs"]
