"""The JSON line that is printed for a frame while the microscope writes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from steadystack.model import SHIFT_CONVENTION, FrameStatus

DIGITS = 4  # of a pixel


@dataclass(frozen=True)
class FrameLine:
    """What is known about the shift of a frame.

    Attributes
    ----------
    frame : its number in the stack
    axes : of shifts, in order
    shift, std : pixels, one per axis; NaN where not known
    status : that of the frame
    anchor : number of the frame whose shift is 0; None: there is none, or shifts are relative to an
        external reference
    provisional : whether a run has not measured it yet
    """

    frame: int
    axes: tuple[str, ...]
    shift: tuple[float, ...]
    std: tuple[float, ...]
    status: FrameStatus
    anchor: int | None
    provisional: bool

    def dump(self) -> str:
        """Write it as one line of JSON; unknown values are null."""
        return json.dumps(
            {
                "frame": self.frame,
                "shift": self._dump_values(self.shift),
                "std": self._dump_values(self.std),
                "unit": "px",
                "status": self.status.value,
                "provisional": self.provisional,
                "anchor": self.anchor,
                "convention": SHIFT_CONVENTION,
            }
        )

    def _dump_values(self, values: tuple[float, ...]) -> dict[str, float] | None:
        if not all(map(math.isfinite, values)):
            return None
        return {axis: round(value, DIGITS) for axis, value in zip(self.axes, values, strict=True)}
