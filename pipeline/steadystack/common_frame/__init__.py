"""Series in a coordinate frame other than their own: that of an external image, or of other series.

- `series_mean`: the mean of a solved series, and how well each frame is known relative to it
- `outside`: aligns that mean with the image, and moves all shifts
- `channel_offsets`: measures the offsets of further channels from the first
"""

from steadystack.common_frame.channel_offsets import (
    ChannelTurning,
    measure_channel_offsets,
    pair_with_channel,
)
from steadystack.common_frame.outside import (
    choose_fine_sigma,
    confirm_in_detail,
    move_by_fits,
    move_to_outside,
)
from steadystack.common_frame.series_mean import SeriesMean, choose_members, make_series_mean

__all__ = [
    "ChannelTurning",
    "SeriesMean",
    "choose_fine_sigma",
    "choose_members",
    "confirm_in_detail",
    "make_series_mean",
    "measure_channel_offsets",
    "move_by_fits",
    "move_to_outside",
    "pair_with_channel",
]
