"""Choose the layers to show for a run: lazy pixels, and their coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.config import Config
from steadystack.durable import get_place
from steadystack.model import UNSOLVED, InputError
from steadystack.planning import Setup, open_series, resolve_only_input, set_up
from steadystack.readers import MaskLabels, StackSpec, locate_mask
from steadystack.stages import (
    find_boxes_left_out,
    load_own_shifts,
    recall_settings,
)
from steadystack.units import find_micrometers, is_size, parse_region
from steadystack.viewing.channel_images import (
    choose_colours,
    find_limits,
    get_channel,
    has_causes,
    make_steady,
    make_validity,
    name_layers,
    open_channel,
)
from steadystack.viewing.object_layer import list_positions

# The layers' names; region and invalid pixels can be drawn on.
STACK, STEADY, LEFT_OUT, PARTS = "stack", "steady", "left out", "parts"
NOT_VALID, REGION, OBJECT = "not valid", "region", "object"
# Units of time that are shown, by their names in stores.
SECONDS = {
    "ms": "ms", "millisecond": "ms", "milliseconds": "ms",
    "s": "s", "sec": "s", "second": "s", "seconds": "s",
    "min": "min", "minute": "min", "minutes": "min", "h": "h", "hour": "h", "hours": "h",
}  # fmt: skip
Kind: TypeAlias = Literal["image", "labels", "shapes", "tracks"]
# Largest deviation, in steps, of frame times that are shown as evenly spaced.
UNEVEN = 0.01


@dataclass(frozen=True, eq=False)
class ShownLayer:
    """A layer in the form needed by napari.

    Attributes
    ----------
    kind : what it holds
    name : what it is called
    data : pixels (t, [z,] y, x) of images and labels, lazy if there are many; labels that are drawn
        on have no t; the corners (4, 2) of rectangles; points of a track, see `list_positions`
    scale, translate : along the axes of `data`: the step of a pixel, and the position of the first
        one's centre; that of a whole frame is at 0
    units : of these, along each axis
    options : further options of its kind
    """

    kind: Kind
    name: str
    data: Any
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shown:
    """All that is shown for a run.

    Attributes
    ----------
    title : of the window
    axes : names of the axes, t first
    layers : from the lowest to the topmost
    notes : why something is not shown
    spec : the stack; `whole` are its frames without the region that the settings cut out
    region : first pixel and one past the last, along the last two axes of a whole frame
    shifts : the solved dataset; None: there is none
    """

    title: str
    axes: tuple[str, ...]
    layers: tuple[ShownLayer, ...]
    notes: tuple[str, ...]
    spec: StackSpec
    region: tuple[tuple[int, int], ...]
    shifts: xr.Dataset | None

    @property
    def whole(self) -> StackSpec:
        return self.spec.uncut or self.spec

    def get(self, name: str) -> ShownLayer | None:
        """The layer of that name; None if it is not shown."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def describe_frame(self, index: int) -> str:
        """Describe a frame by its place in the series: number, time, shift and deviation."""
        words = [f"frame {self.spec.frame_numbers[index]}"]
        if self.spec.time is not None:
            times, unit = self.spec.time
            words.append(f"{times[index]:g} {unit}".strip())
        if self.shifts is None:
            return ", ".join(words)
        shift = self.shifts["frame_shift"].to_numpy()[index]
        deviation = self.shifts["frame_shift_std"].to_numpy()[index]
        if not np.isfinite(shift).all():
            return ", ".join([*words, "no shift"])
        axes = self.shifts["axis"].to_numpy()
        along = [
            f"{axis} {value:.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")
            for axis, value, error in zip(axes, shift + 0.0, deviation, strict=True)
        ]
        return ", ".join([*words, f"shift {', '.join(along)} px"])


@dataclass(frozen=True)
class Placement:
    """Coordinates of a whole frame's pixels: step, first and unit along t and the axes of frames.

    Unknown units are frames and pixels.
    """

    scale: tuple[float, ...]
    first: tuple[float, ...]
    units: tuple[str, ...]

    def place(self, first_pixel: Sequence[float]) -> tuple[float, ...]:
        """The position of a pixel of the whole frame, along its last axes, in the first frame."""
        scale, first = self.scale[-len(first_pixel) :], self.first[-len(first_pixel) :]
        along = [begin + p * s for p, s, begin in zip(first_pixel, scale, first, strict=True)]
        return (*self.first[: len(self.first) - len(along)], *along)


def find_steps(spec: StackSpec) -> Placement:
    """Find where frames and pixels of a stack lie, in micrometers and a unit of time."""
    first, step, unit = _find_time_step(spec)
    micrometers = find_micrometers(spec.unit)
    scale, units = [step], [unit]
    for size in spec.pixel_size:
        is_known = is_size(size) and micrometers is not None
        scale.append(float(size) * (micrometers or 1.0) if is_known else 1.0)
        units.append("um" if is_known else "pixel")
    return Placement(tuple(scale), (first, *[0.0] * len(spec.pixel_size)), tuple(units))


def _find_time_step(spec: StackSpec) -> tuple[float, float, str]:
    """Find the first time, the step and the unit; frame numbers if times are not evenly spaced."""
    numbers = spec.frame_numbers
    by_number = float(numbers.start), float(numbers.step), "pixel"
    if spec.time is None or spec.time[1] not in SECONDS or len(spec.time[0]) < 2:
        return by_number
    times = np.array(spec.time[0])
    step = (times[-1] - times[0]) / (len(times) - 1)
    if not (step > 0 and (np.abs(np.diff(times) - step) <= UNEVEN * step).all()):
        return by_number
    return float(times[0]), float(step), SECONDS[spec.time[1]]


def find_shown(config: Config) -> Shown:
    """Find what is shown of a run; reads one frame of each channel, for its range of values.

    The stack is shown with whole frames, even if the settings cut out a region; the steady one is
    below, if there is a solved dataset of these settings, as drawings refer to frames as recorded.

    Raises
    ------
    InputError
        If settings, stack and mask cannot be used, as in `run`.
    """
    config = resolve_only_input(config)
    series, spec = open_series(config)
    setup = recall_settings(set_up(config, series))
    steps, whole = find_steps(spec), spec.uncut or spec
    notes: list[str] = []
    shifts = _load_shifts(setup, notes)
    corner = [spec.first_pixel[axis] for axis in spec.spatial]
    looks = _choose_looks(config, setup)

    def lay(
        kind: Kind,
        name: str,
        data: Any,
        first_pixel: Sequence[float],
        ndim: int,
        **options: Any,
    ) -> ShownLayer:
        place = steps.place(first_pixel)
        return ShownLayer(
            kind, name, data, steps.scale[-ndim:], place[-ndim:], steps.units[-ndim:], options
        )

    ndim, origin = 1 + len(spec.spatial), [0] * len(spec.spatial)
    layers = []
    if shifts is not None:
        for number, name in enumerate(name_layers(STEADY, config)):
            steady, first_pixel = make_steady(config, setup, spec, shifts, number, notes)
            place = [begin + add for begin, add in zip(corner, first_pixel, strict=True)]
            layers.append(lay("image", name, steady, place, ndim, **looks[number]))
    for number, name in enumerate(name_layers(STACK, config)):
        stack = open_channel(config, number, region=None)
        layers.append(lay("image", name, stack.data, origin, ndim, **looks[number]))
    if has_causes(setup, spec):
        left_out = (~make_validity(setup.series.whole_frames)).astype(np.uint8)
        layers.append(lay("labels", LEFT_OUT, left_out, corner, ndim, opacity=0.3))
    boxes = find_boxes_left_out(setup, shifts) if shifts is not None else []
    if boxes:
        corners = [make_rectangle(box) for box in boxes]
        layers.append(
            lay("shapes", PARTS, corners, corner[-2:], 2, edge_color="orange",
                face_color="transparent")
        )  # fmt: skip
    if shifts is not None and len(path := list_positions(shifts, corner)):
        layers.append(
            lay("tracks", OBJECT, path, origin, ndim, tail_length=len(path), tail_width=5)
        )
    if (drawn := _read_mask(config, whole, notes)) is not None:
        layers.append(lay("labels", NOT_VALID, drawn, origin, ndim - 1, opacity=0.5))
    region = _find_region(config, whole)
    rectangles = [make_rectangle(region)] if config.input.region is not None else []
    layers.append(
        lay("shapes", REGION, rectangles, [0, 0], 2, edge_color="cyan", face_color="transparent")
    )
    title = get_place(config.input.one_path).name
    return Shown(title, ("t", *spec.spatial), tuple(layers), tuple(notes), spec, region, shifts)


def _choose_looks(config: Config, setup: Setup) -> list[dict[str, Any]]:
    """Choose how the images of each channel are drawn; reads a frame of each."""
    count, source = len(config.input.list_channels()), setup.series.whole_frames
    return [
        {"contrast_limits": find_limits(get_channel(source, number))}
        | choose_colours(number, count)
        for number in range(count)
    ]


def make_rectangle(box: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Make the corners (4, 2) of a box of pixels, (first, stop) along y and x: its outer edges."""
    (top, bottom), (left, right) = ((first - 0.5, stop - 0.5) for first, stop in box)
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)])


def _find_region(config: Config, whole: StackSpec) -> tuple[tuple[int, int], ...]:
    """The region of the settings along the last two axes, in pixels; the whole frame if none."""
    sides = parse_region(
        "input.region",
        config.input.region or (),
        whole.spatial,
        whole.frame_shape,
        whole.pixel_size,
        whole.unit,
    )
    return sides[-2:]


def _load_shifts(setup: Setup, notes: list[str]) -> xr.Dataset | None:
    """The solved dataset of these settings; None with a note why there is none."""
    path = setup.config.output.shifts
    if not get_place(path).exists():
        notes.append(f"{path} does not exist: only the stack is shown, until a run has written it")
        return None
    try:
        shifts = load_own_shifts(setup)
    except InputError as error:
        notes.append(f"only the stack is shown: {error}")
        return None
    if (shifts["component"] == UNSOLVED).all():
        notes.append(f"only the stack is shown: {path} is not solved yet")
        return None
    return shifts


def _read_mask(config: Config, whole: StackSpec, notes: list[str]) -> NDArray[np.uint8] | None:
    """Read the pixels of a whole frame excluded by `mask.path`, 1; None for a mask per frame."""
    section, shape = config.mask, whole.frame_shape
    if section.path is None:
        return np.zeros(shape, np.uint8)
    labels = MaskLabels(section.labels or (), section.invert)
    mask = locate_mask(section.path, whole.frame_count, shape, labels)
    if mask.per_frame:
        notes.append(
            "mask.path has one mask per frame: none can be drawn, as it would replace "
            f"{section.path}"
        )
        return None
    return (~mask.read(0, shape)).astype(np.uint8)
