"""What a frame looks like: whether its mask seems inverted, and which pixels seem to hold no data.

Hints for a person. No number of a result depends on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model import Bools

# Pixels that it takes to tell what they are of, and how alike neighbours are in a scene.
LEAST_SEEN, SCENE_LIKENESS = 64, 0.4


def looks_inverted(image: NDArray[Any], usable: Bools) -> bool:
    """Whether the pixels that are left have nothing in them, and those taken away a scene.

    A scene varies, and neighbouring pixels vary alike; nothing in them have pixels that are mostly
    of one value (a beam stop, saturation), or vary far less and each on its own.
    """
    finite = np.isfinite(image)
    left, taken = usable & finite, ~usable & finite
    if left.sum() < LEAST_SEEN or taken.sum() < LEAST_SEEN:
        return False
    values = image.astype(float)
    if _likeness(values, taken) < SCENE_LIKENESS:
        return False
    found, counts = np.unique(values[left], return_counts=True)
    if counts.max() > left.sum() / 2 and len(found) < left.sum() / 2:
        same_taken = np.unique(values[taken], return_counts=True)[1].max() / taken.sum()
        return bool(same_taken < 0.5)
    quiet = values[left].std() < values[taken].std() / 3
    return bool(quiet and _likeness(values, left) < SCENE_LIKENESS / 2)


def _likeness(values: NDArray[Any], chosen: Bools) -> float:
    """The correlation of neighbours along the last axis, both of them among the chosen."""
    both = chosen[..., 1:] & chosen[..., :-1]
    one, other = values[..., 1:][both], values[..., :-1][both]
    if one.size < LEAST_SEEN or not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
