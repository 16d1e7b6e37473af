"""The path of an object that a mask follows, as the points of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def list_positions(shifts: xr.Dataset, corner: Sequence[int]) -> NDArray[np.float64]:
    """List the object's positions in the frames where they are known, in order.

    Parameters
    ----------
    corner : first pixel of the measured frames in whole ones, along their axes

    Returns
    -------
    (points, 2 + axes) : number of the track, which is 0, index of the frame, and the middle of the
        mask in the whole frame, pixels from the centre of its first one
    """
    position = shifts["object_position"].to_numpy().astype(np.float64)
    frames = np.flatnonzero(np.isfinite(position).all(axis=1))
    places = position[frames] + np.array(corner, np.float64)
    return np.column_stack([np.zeros(len(frames)), frames, places])
