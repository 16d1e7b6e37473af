"""Say what is understood of settings, a stack and its mask."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from steadystack.conditioning import condition, looks_inverted
from steadystack.config import Config
from steadystack.model import Bools
from steadystack.planning import Series, make_plan, open_series, set_up
from steadystack.plot import check_picture, draw_overlay
from steadystack.quality import Border, find_constant_border, find_frequent_extremes
from steadystack.readers import StackSpec, list_positions
from steadystack.report import save_figure

# Shares of a frame's pixels that make `check` ask.
FEW, FEW_VALID = 0.02, 0.1


def check(config: Config, picture: str | None = None) -> list[tuple[str, str]]:
    """What was understood of settings, stack and mask, as names and values.

    Reads the first, the middle and the last frame; `picture` is where to draw them with what is
    not valid.
    """
    if picture is not None:
        check_picture(picture)
    series, spec = open_series(config)
    setup = set_up(config, series)
    rows = (
        describe(spec)
        + _describe_plate(config)
        + _describe_mask(config, series.validity.saturation)
    )
    if series.initial_shifts is not None:
        rows.append(("initial shifts", _describe_initial_shifts(config, series)))
    rows.append(("to read", f"{make_plan(setup).read_bytes / 2**20:.1f} MiB (decoded) in a run"))
    last = spec.frame_count - 1
    drawn = []
    for index in sorted({0, last // 2, last}):
        frame = series.source.read(index)
        image, valid = condition(frame.image, frame.valid, setup.method.conditioning)
        values = image[valid]
        seen = f"values {values.min():g} to {values.max():g}" if values.size else "no valid pixel"
        reason = f" ({frame.reason})" if frame.reason else ""
        rows.append((f"frame {index}", f"{frame.status}{reason}, {valid.mean():.0%} valid, {seen}"))
        rows += _find_hints(frame.image, frame.valid, float(valid.mean()))
        drawn.append((f"frame {index}", frame.image, valid))
    if picture is not None:
        save_figure(draw_overlay(drawn), picture)
        rows.append(("picture", picture))
    return rows


def _describe_initial_shifts(config: Config, series: Series) -> str:
    """Shifts in pixels, as they were understood."""
    assert series.initial_shifts is not None
    low, high = series.initial_shifts.min(axis=0), series.initial_shifts.max(axis=0)
    sides = zip(series.source.axes, low, high, strict=True)
    ranges = ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in sides)
    return (
        f"{config.initial_shifts.path}: shifts of {ranges} px; register.max_shift counts from them"
    )


def _describe_plate(config: Config) -> list[tuple[str, str]]:
    """Which image of a plate it is, and what of the plate is not there."""
    given = config.input
    if given.position is None or (found := list_positions(given.one_path)) is None:
        return []
    lacking = f"; wells missing from the store: {', '.join(found.missing)}"
    return [("position", f"{given.position} of {len(found.names)}" + lacking * bool(found.missing))]


def _describe_mask(config: Config, saturation: float | None) -> list[tuple[str, str]]:
    """The causes that take pixels away."""
    given = config.mask
    path = "" if given.path is None else given.path + ", inverted" * given.invert
    causes = [
        path,
        f"{len(given.rois)} shape(s)" * bool(given.rois),
        f"values {', '.join(f'{value:g}' for value in given.invalid_values)}"
        * bool(given.invalid_values),
        f"range {list(given.valid_range or ())}" * bool(given.valid_range),
        f"saturated at {saturation:g} and above" if saturation is not None else "",
        f"border {given.border}" * bool(given.border),
    ]
    return [("mask", "; ".join(cause for cause in causes if cause) or "none")]


def _find_hints(image: NDArray[Any], usable: Bools, valid: float) -> list[tuple[str, str]]:
    """What a person would ask of a frame with these usable pixels."""
    border = find_constant_border(image, usable)
    asked = [_ask_about_border(border)] if border else []
    for value, share in find_frequent_extremes(image[usable], FEW):
        if border is None or value != border.value:
            asked.append(
                f"{share:.0%} of the pixels are {value:g}: no data? then set mask.invalid_values: "
                f"[{value:g}]"
            )
    if looks_inverted(image, usable):
        asked.append(
            "the mask looks inverted: what it excludes looks like a scene, what it keeps does "
            "not; True (nonzero) means valid; mask.invert swaps the two"
        )
    elif valid < FEW_VALID:
        asked.append("few pixels are valid: is the mask inverted? True (nonzero) means valid")
    return [("", question) for question in asked]


def _ask_about_border(border: Border) -> str:
    """A border of one value as a question, with the keys that leave it out."""
    return (
        f"a border of {border.value:g}, up to {max(border.widths)} pixels wide: no data? then set "
        f"mask.border: {max(border.widths)}, or mask.invalid_values: [{border.value:g}]"
    )


def describe(spec: StackSpec) -> list[tuple[str, str]]:
    """What was understood of a stack, as names and values."""
    size = " x ".join(f"{step:g}" for step in spec.pixel_size)
    sizes = ", ".join(f"{axis} {spec.size(axis)}" for axis in spec.axes)
    channels = ", ".join(spec.channel_names) or str(spec.size("c"))
    rows = [
        ("stack", f"{spec.path} ({spec.kind})"),
        ("axes", sizes),
        ("frames", f"{spec.frame_count} of {spec.frame_shape} {spec.dtype}"),
        ("channel", f"{spec.channel} of {channels}" if spec.channel is not None else "only one"),
        ("pixel size", f"{size} {spec.unit}" if spec.unit else "not known (set input.pixel_size)"),
        ("frame times", _describe_times(spec)),
        ("chunks", str(spec.chunks) + (f" in shards of {spec.shards}" if spec.shards else "")),
        ("bytes", f"{spec.frame_bytes * spec.frame_count / 2**20:.1f} MiB for all frames"),
    ]
    if len(spec.levels) > 1:
        rows.insert(-1, ("levels", ", ".join(str(shape) for shape in spec.levels)))
    return rows


def _describe_times(spec: StackSpec) -> str:
    """The times of the frames in words."""
    if spec.time is None:
        return "not known"
    times, unit = spec.time
    return f"{times[0]:g} to {times[-1]:g} {unit}"
