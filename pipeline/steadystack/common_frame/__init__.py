"""Series in a frame that is not their own: that of an image from outside, or of other series.

`series_mean` makes the mean of a solved series, and says how well every frame is known relative to
it; `outside` lays that mean on the image, and moves all shifts; `channel_offsets` finds where
further channels lie in the frame of the first.
"""

from steadystack.common_frame.channel_offsets import measure_channel_offsets
from steadystack.common_frame.outside import (
    choose_fine_sigma,
    confirm_in_detail,
    move_by_fits,
    move_to_outside,
)
from steadystack.common_frame.series_mean import SeriesMean, choose_members, make_series_mean

__all__ = [
    "SeriesMean",
    "choose_fine_sigma",
    "choose_members",
    "confirm_in_detail",
    "make_series_mean",
    "measure_channel_offsets",
    "move_by_fits",
    "move_to_outside",
]
