"""Images that vary along one direction only: no shift along the others can be known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("line", "edge", "ramp", "waves")


def make_line_pair(kind: str, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two views of a line, an edge, a ramp or waves in noise of 0.3 % to twice their deviation."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    size = rng.choice([64, 128, 256])
    angle, width = rng.uniform(0, np.pi), rng.uniform(1, 6)
    y, x = np.mgrid[:size, :size] - size / 2
    across = y * np.cos(angle) + x * np.sin(angle)
    move = rng.uniform(-4, 4)
    profile = {
        "line": lambda t: np.exp(-((t / width) ** 2) / 2),
        "edge": lambda t: np.tanh(t / width),
        "ramp": lambda t: t / size,
        "waves": lambda t: np.sin(t / width / 1.5),
    }[kind]
    views = profile(across), profile(across + move)
    noise = 10 ** rng.uniform(-2.5, 0.3) * views[0].std()
    one, other = (view + noise * rng.normal(size=view.shape) for view in views)
    return one, other
