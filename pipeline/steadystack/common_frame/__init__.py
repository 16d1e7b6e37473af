"""Series in a frame that is not their own: that of an image from outside.

`series_mean` makes the mean of a solved series, and says how well every frame is known relative to
it; `outside` lays that mean on the image, and moves all shifts.
"""

from steadystack.common_frame.outside import move_to_outside

__all__ = ["move_to_outside"]
