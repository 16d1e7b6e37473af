"""A series whose memory is measured."""

from __future__ import annotations

import numpy as np

from support.scenes import rough

MIB = 2**20


def drifting(side=128, count=30, drift=12):
    scene = rough(3, (side + drift, side + drift), 1)
    steps = np.linspace(0, drift, count).round().astype(int)
    return np.stack([scene[s : s + side, s : s + side] for s in steps]).astype("f4"), steps
