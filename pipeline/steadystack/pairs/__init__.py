"""Which pairs of frames to measure, and which of them to measure together.

- `strategies`: selects pairs
- `batching`: groups them into batches
- `weak`: chooses extra pairs where a solution is weak
- `spreading`: picks an even sample
- `channel_votes`: combines the shifts of a pair from several channels

Nothing here reads pixels.
"""

from steadystack.pairs.batching import batch_pairs, count_held_frames
from steadystack.pairs.channel_votes import (
    CONTRADICTS,
    NEAR_PX,
    JoinedChannels,
    find_widening,
    join_channels,
)
from steadystack.pairs.spreading import spread_by_separation, spread_evenly
from steadystack.pairs.strategies import (
    LONG,
    STRATEGIES,
    Strategy,
    choose_strategy,
    select_pairs,
)
from steadystack.pairs.weak import choose_extra_pairs

__all__ = [
    "CONTRADICTS",
    "LONG",
    "NEAR_PX",
    "STRATEGIES",
    "JoinedChannels",
    "Strategy",
    "batch_pairs",
    "choose_extra_pairs",
    "choose_strategy",
    "count_held_frames",
    "find_widening",
    "join_channels",
    "select_pairs",
    "spread_by_separation",
    "spread_evenly",
]
