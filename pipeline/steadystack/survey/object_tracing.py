"""Trace an object whose mask is drawn on one frame through all other frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.model import (
    Bools,
    Frame,
    FrameSource,
    FrameStatus,
    InputError,
    ObjectPath,
    PairStatus,
    find_box,
)
from steadystack.object_windows import read_window
from steadystack.planning import Setup, follow_path, set_up
from steadystack.register import register_as_it_is
from steadystack.run_log import count_steps
from steadystack.units import parse_shift_bounds

# How far an object is searched for from one frame to the next if the settings do not say: half its
# sides, but at least and at most this many pixels.
SEARCHED = 16, 128
# An object that was found is compared once more with the first frame, within this many pixels.
NEAR = 4
# An object is visible if this share of its pixels is valid.
LEAST_SEEN = 0.25


def follow_object(setup: Setup) -> tuple[Setup, ObjectPath | None]:
    """The run in windows that follow the object of the settings, and its path; else unchanged.

    In windows, defects and fixed patterns of the camera are not searched for.

    Raises
    ------
    InputError
        If the frame that the object is drawn on cannot be read, or does not show it.
    """
    drawn = setup.series.drawn
    if drawn is None:
        return setup, None
    path = _Tracer.begin(setup, drawn.read(0, setup.series.source.frame_shape)).trace()
    mask = setup.config.mask.model_copy(update={"defects": None, "parts": None})
    config = setup.config.model_copy(update={"mask": mask})
    return set_up(config, follow_path(setup.series, path)), path


@dataclass(frozen=True, eq=False)
class _Tracer:
    """Finds an object, drawn on the frame `anchor`, in the frames before and after.

    Attributes
    ----------
    mask : of the object, in the box that holds it
    first : of that box in the frame `anchor`
    reach : how far it may move from one frame to the next, pixels per axis
    """

    source: FrameSource
    anchor: int
    mask: Bools
    first: NDArray[np.float64]
    reach: NDArray[np.int64]

    @classmethod
    def begin(cls, setup: Setup, drawn: Bools) -> _Tracer:
        series, anchor = setup.series, setup.config.solve.anchor
        box = find_box(drawn)
        sides = np.array([side.stop - side.start for side in box])
        section, longest = setup.config.register_, np.array(drawn.shape) - 1
        asked = section.max_shift if section.is_decided else np.clip(sides // 2, *SEARCHED).tolist()
        bounds = parse_shift_bounds(asked, series.pixel_size, series.unit)
        reach = longest if bounds is None else np.minimum(bounds, longest)
        first = np.array([side.start for side in box], float)
        tracer = cls(series.source, anchor, drawn[box], first, reach)
        number = series.frame_numbers[anchor]
        frame = tracer.look(anchor, first, 0)
        if frame.status is FrameStatus.UNREADABLE:
            raise InputError(
                f"object.mask: frame {number}, which it is drawn on, cannot be read "
                f"({frame.reason}): set solve.anchor to another frame, and draw it there"
            )
        if not tracer.is_seen(anchor, first):
            raise InputError(
                f"object.mask: less than {LEAST_SEEN:.0%} of the object's pixels are valid in "
                f"frame {number}, which the mask is drawn on: see the section mask, or set "
                "solve.anchor to another frame, and draw it there"
            )
        return tracer

    def trace(self) -> ObjectPath:
        """Find where the box lies in each frame."""
        count = self.source.frame_count
        found: dict[int, NDArray[np.float64]] = {self.anchor: self.first}
        onward, back = range(self.anchor + 1, count), range(self.anchor - 1, -1, -1)
        steps = count_steps(range(count - 1), count - 1, "following the object", "frames")
        for frames in (onward, back):
            last = key = self.anchor
            for frame in frames:
                next(steps, None)
                place = self.find_in(frame, last, found[last], self.reach)
                near = self.reach if place is None else np.minimum(NEAR, self.reach)
                expected = found[last] if place is None else place
                sure = place
                if key != last:  # errors do not add up while the object looks as in the first frame
                    sure = self.find_in(frame, key, found[key], near, expected)
                if sure is None and place is not None:
                    key = last
                place = place if sure is None else sure
                if place is not None and self.is_seen(frame, place):
                    found[frame], last = place, frame
        return ObjectPath(
            tuple(
                tuple(np.rint(found[frame]).astype(int).tolist()) if frame in found else None
                for frame in range(count)
            )
        )

    def find_in(
        self,
        frame: int,
        known: int,
        place: NDArray[np.float64],
        reach: NDArray[np.int64],
        expected: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64] | None:
        """Find the place of the box in a frame by comparison with one in which it is known.

        It is searched for within `reach` around `expected`, or around where it was; None if it is
        not found.
        """
        expected = place if expected is None else expected
        one, other = self.look(known, place, reach), self.look(frame, expected, reach)
        inside = np.zeros(one.valid.shape, bool)
        inside[
            tuple(slice(r, r + n) for r, n in zip(reach.tolist(), self.mask.shape, strict=True))
        ] = self.mask
        masks = one.valid & inside, other.valid
        if not (masks[0].any() and masks[1].any()):
            return None
        registration = register_as_it_is(
            one.image,
            other.image,
            reference_mask=masks[0],
            moving_mask=masks[1],
            max_shift=reach.tolist(),
        )
        if registration.status is not PairStatus.OK:
            return None
        begins = np.rint(place) - np.rint(expected)
        found: NDArray[np.float64] = place - (registration.shift + begins)
        return found

    def look(self, frame: int, place: NDArray[np.float64], beyond: Any) -> Frame:
        """Read the box at a place, with a margin of `beyond` pixels."""
        first = np.rint(place).astype(int) - beyond
        sides = np.array(self.mask.shape) + 2 * np.asarray(beyond)
        return read_window(self.source, frame, first.tolist(), sides.tolist())

    def is_seen(self, frame: int, place: NDArray[np.float64]) -> bool:
        """Whether enough of the object is valid at a place in a frame."""
        valid = self.look(frame, place, 0).valid
        return bool((valid & self.mask).sum() >= LEAST_SEEN * self.mask.sum())
