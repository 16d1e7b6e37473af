"""Images of a series to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class CloseUp:
    """A pair to look at: its images as they were correlated, NaN where not valid, and its surface.

    `surface` is the NCC (NaN where not known) over the lags from `first_lag` on; volumes are shown
    by their means along z.
    """

    row: int
    reference: Image
    moving: Image
    surface: Image
    first_lag: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Views:
    """Images before and after, by name, and pairs to look at; NaN where nothing is known.

    `images` are (y, x), `kymographs` (frame, position) by the name of the axis they run along, of
    frames spread evenly from the first to the last of `span`.
    """

    images: Mapping[str, tuple[Image, Image]] = field(default_factory=dict)
    kymographs: Mapping[str, tuple[Image, Image]] = field(default_factory=dict)
    span: tuple[int, int] = (0, 0)
    close_ups: tuple[CloseUp, ...] = ()
