"""The findings and decisions of a pilot before measuring."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from steadystack.model.findings import Boxes, FieldOfView, describe_errors, parse_boxes

PILOT = "pilot"  # the attribute of the dataset that holds its outcome
MOST_SIGMA = 1e6  # largest sigma of a filter, px
FEWEST_PLACES = 3  # places of the scene needed to tell a defect from its details
LEAST_WAY = 0.4  # smallest motion of the scene across lines, px, that separates them from it


@dataclass(frozen=True)
class Trial:
    """The results of some pairs under one conditioning.

    Attributes
    ----------
    low_pass, high_pass : of `preprocess`, sigma in pixels; None: off
    found : how many pairs have a shift
    error : median error of these shifts, from parts of the frame and noise, px; None: no shifts
    """

    low_pass: float | None = None
    high_pass: float | None = None
    found: int = 0
    error: float | None = None

    @property
    def information(self) -> float:
        """The pairs' joint information on a shift: the sum of their weights, 1/px²."""
        return 0.0 if not self.error else self.found / self.error**2

    @property
    def settings(self) -> str:
        """The filters as settings of `preprocess`, such as ``low_pass: 1, high_pass: 10``."""
        named = (("low_pass", self.low_pass), ("high_pass", self.high_pass))
        given = [f"{name}: {sigma:g}" for name, sigma in named if sigma is not None]
        return ", ".join(given or [f"{name}: null" for name, _ in named])


@dataclass(frozen=True)
class Defects:
    """Defects of the camera, found in some frames of a series.

    Attributes
    ----------
    frames : how many were used
    outstanding : how many pixels stand out in their mean over time
    places : number of distinct positions, some pixels apart, of the scene in them; 0: not known
    pixels : flat indices in a frame, in C order, of those that stand out wherever the scene is
    too_many : whether so many stand out that they cannot be defects
    """

    frames: int
    outstanding: int = 0
    places: int = 0
    pixels: tuple[int, ...] = ()
    too_many: bool = False

    def describe(self) -> str:
        """Describe the result in words."""
        if not self.outstanding:
            return f"defects: no pixel stands out in {self.frames} frames"
        if self.pixels:
            return (
                f"defects: {len(self.pixels)} pixels stand out wherever the scene is, and are left "
                "out"
            )
        words = f"defects: {self.outstanding} pixels stand out"
        if self.too_many:
            return f"{words}, which is too many for defects: none is left out"
        if self.places < FEWEST_PLACES:
            return f"{words}, but the scene moves too little to tell whether they are defects"
        return f"{words}, but not wherever the scene is"


@dataclass(frozen=True)
class FixedLines:
    """Rows and columns of the camera that differ from others, found in some frames of a series.

    Attributes
    ----------
    frames : how many were used
    lined : whether rows or columns make up much of what is constant in them
    ways : how far the scene moves across the rows, and across the columns, px; (): not known
    rows, columns : offset of each from the others, in values of the stack, subtracted for
        measuring; (): none
    """

    frames: int
    lined: bool = False
    ways: tuple[float, ...] = ()
    rows: tuple[float, ...] = ()
    columns: tuple[float, ...] = ()

    def describe(self) -> str:
        """Describe the result in words."""
        if not self.lined:
            return f"lines: no rows or columns stand out in {self.frames} frames"
        found = [
            f"{name} of {np.std(values):.3g}"
            for name, values in (("rows", self.rows), ("columns", self.columns))
            if values
        ]
        if found:
            return (
                f"lines: {' and '.join(found)} (deviation, values of the stack) stand still in the "
                "camera, and are subtracted before measuring"
            )
        if not self.ways or min(self.ways) < LEAST_WAY:
            return (
                "lines: whole rows or columns stand out, but the scene moves too little to tell "
                "whether it is the camera"
            )
        return "lines: whole rows or columns stand out, but they move with the scene"


@dataclass(frozen=True)
class StrangeParts:
    """Parts of the frame that do not move with the others, found in some frames of a series.

    Attributes
    ----------
    frames : how many were used
    of : total number of parts of a frame
    parts : numbers of those that do not move with the others, from 0
    names : their names
    error, error_without : median stated error of the frames' shifts with and without them, px;
        None: not known
    boxes : of parts that are excluded; per part and axis the first pixel and one past the last
    still : whether these parts make the series seem to stand still
    """

    frames: int
    of: int
    parts: tuple[int, ...] = ()
    names: str = ""
    error: float | None = None
    error_without: float | None = None
    boxes: Boxes = ()
    still: bool = False

    @property
    def is_all(self) -> bool:
        """Whether hardly any pair has a shift without the parts that make all seem at rest."""
        return self.still and not self.boxes

    def describe(self) -> str:
        """Describe the result in words."""
        if not self.parts:
            return f"parts: none of {self.of} goes its own way in {self.frames} frames"
        if self.still:
            words = (
                f"parts: everything stands still because of {len(self.parts)} of {self.of} "
                f"({self.names})"
            )
            if self.boxes:
                return f"{words}, left out, as the others move"
            return f"{words}, without which hardly any pair has a shift"
        words = f"parts: {len(self.parts)} of {self.of} go their own way ({self.names})"
        if not self.boxes:
            return f"{words}, but shifts are no more precise without them: none is left out"
        errors = [e for e in (self.error, self.error_without) if e is not None]
        if errors == sorted(errors):  # a part that outweighs the scene has small errors
            return (
                f"{words}, and are left out: they hold the shifts, which are different without them"
            )
        return f"{words}, and are left out: shifts are known to {describe_errors(errors)}"


@dataclass(frozen=True)
class Reach:
    """How far to search, from the shifts of coarse frames, found at every lag.

    Attributes
    ----------
    pairs, found : how many pairs were tried, and how many of them have a shift
    bounds : how far to search for the shift of a pair, pixels per axis; None: every shift
    widen : whether to search at every lag for pairs that have no shift within that range
    """

    pairs: int
    found: int
    bounds: tuple[int, ...] | None = None
    widen: bool = False

    def describe(self) -> str:
        """Describe the result in words."""
        words = f"{self.found} of {self.pairs} pairs of coarse frames have a shift"
        if self.bounds is None:
            return f"search: at every shift, as {words}"
        bounds = f"search: within {' x '.join(map(str, self.bounds))} px"
        if not self.widen:
            return f"{bounds}, a guess, as frames are measured in blocks"
        return f"{bounds}, as {words}, and at every shift where that finds none"


@dataclass(frozen=True)
class ObjectPath:
    """The path of an object whose mask is drawn on one frame.

    Attributes
    ----------
    places : per frame the first pixel of the box that holds its mask; None: it is not visible
    """

    places: tuple[tuple[int, ...] | None, ...]

    def describe(self) -> str:
        """Describe the result in words."""
        seen = [place for place in self.places if place is not None]
        ways = [max(along) - min(along) for along in zip(*seen, strict=True)]
        return (
            f"object: seen in {len(seen)} of {len(self.places)} frames, within "
            f"{' x '.join(map(str, ways))} px"
        )


@dataclass(frozen=True)
class Pilot:
    """What was tried before measuring, to decide on "auto" settings.

    Attributes
    ----------
    pairs : how many were tried; 0: none, so nothing is changed
    trials : each conditioning that was tried; the first is none
    chosen : the number of the trial that the run then used, from 0
    defects : defects of the camera; None: not searched for
    parts : parts that do not move with the others; None: not searched for
    reach : how far to search; None: not determined
    lines : rows and columns of the camera; None: not searched for
    path : path of the object that the mask follows; None: there is none
    field_of_view : where frames show no scene; None: not searched for
    """

    pairs: int = 0
    trials: tuple[Trial, ...] = (Trial(),)
    chosen: int = 0
    defects: Defects | None = None
    parts: StrangeParts | None = None
    reach: Reach | None = None
    lines: FixedLines | None = None
    path: ObjectPath | None = None
    field_of_view: FieldOfView | None = None

    @classmethod
    def parse(cls, text: str) -> Pilot:
        """Parse the JSON that `dump` makes; raises ValueError for any other."""
        try:
            values = json.loads(text)
            trials = tuple(Trial(**trial) for trial in values.pop("trials"))
            found = values.pop("defects", None)
            defects = found and Defects(**found | {"pixels": tuple(map(int, found["pixels"]))})
            parts = values.pop("parts", None)
            parts = parts and StrangeParts(**parts | _as_tuples(parts))
            reach = values.pop("reach", None)
            bounds = reach and reach["bounds"] and tuple(map(int, reach["bounds"]))
            reach = reach and Reach(**reach | {"bounds": bounds})
            lines = values.pop("lines", None)
            lines = lines and FixedLines(**lines | _as_numbers(lines))
            path = values.pop("path", None)
            path = path and ObjectPath(tuple(_as_place(place) for place in path["places"]))
            found = {"defects": defects, "parts": parts, "reach": reach, "lines": lines}
            field = values.pop("field_of_view", None)
            boxes = field and {"boxes": parse_boxes(field["boxes"])}
            found["field_of_view"] = field and FieldOfView(**field | boxes)
            pilot = cls(trials=trials, path=path, **found, **values)
            sigmas = pilot.outcome.low_pass, pilot.outcome.high_pass
            is_sound = all(sigma is None or 0 < sigma <= MOST_SIGMA for sigma in sigmas)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"not the outcome of a pilot: {text[:100]}") from error
        if not is_sound:
            raise ValueError(f"not the outcome of a pilot: filters of {sigmas} px")
        return pilot

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @property
    def outcome(self) -> Trial:
        """The trial that the run then used."""
        return self.trials[self.chosen]

    def describe(self) -> list[str]:
        """Describe in lines how far to search, each trial, defects and parts."""
        reach = [self.reach.describe()] if self.reach is not None else []
        return [*reach, *self.describe_trials(), *self.describe_left_out()]

    def describe_left_out(self) -> list[str]:
        """Describe in lines the object, defects, lines, field of view and parts."""
        found = (self.path, self.defects, self.lines, self.field_of_view, self.parts)
        return [one.describe() for one in found if one is not None]

    def describe_trials(self) -> list[str]:
        """Describe each trial in a line; no lines if there were no trials."""
        if not self.pairs and (self.reach or self.describe_left_out()):
            return []
        lines = []
        for number, trial in enumerate(self.trials):
            name = "as they are" if trial == self.trials[0] else trial.settings
            words = f"{name}: {trial.found} of {self.pairs} pairs have a shift"
            if not self.pairs:
                words = f"{name}: nothing was tried"
            if trial.error is not None:
                words += f", to {trial.error:.3g} px"
            lines.append(words + " (chosen)" * (number == self.chosen))
        return lines


def list_unseen(attributes: Mapping[Any, Any]) -> list[list[tuple[int, int]]]:
    """List the boxes of pixels excluded because they show no scene, from a dataset's attributes.

    Each gives its first pixel and one past the last, along the last two axes.
    """
    field = Pilot.parse(attributes[PILOT]).field_of_view if PILOT in attributes else None
    return [list(box[-2:]) for box in field.boxes] if field is not None else []


def _as_numbers(lines: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the numbers of lines from JSON to tuples."""
    return {name: tuple(map(float, lines[name])) for name in ("ways", "rows", "columns")}


def _as_place(place: Any) -> tuple[int, ...] | None:
    """Convert a place from JSON to a tuple of whole numbers; None: there is none."""
    return None if place is None else tuple(map(int, place))


def _as_tuples(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the numbers and boxes of parts from JSON to tuples of whole numbers."""
    return {
        "parts": tuple(map(int, parts["parts"])),
        "boxes": parse_boxes(parts["boxes"]),
    }
