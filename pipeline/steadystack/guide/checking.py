"""Report how settings, a stack and its mask are understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.checks import try_pairs
from steadystack.conditioning import condition, looks_inverted
from steadystack.config import AUTO, Config, MaskSection
from steadystack.model import Bools, Frame, FrameStatus, PairStatus, write_number
from steadystack.planning import Series, Setup, check_further, make_plan, open_series, set_up
from steadystack.plot import check_picture, draw_overlay
from steadystack.readers import StackSpec, list_positions
from steadystack.report import save_figure
from steadystack.run_log import log_stage
from steadystack.survey import Border, find_constant_border, find_no_data
from steadystack.units import find_micrometers

# `check` asks about a value that more than this share of a frame's pixels have, and about a mask
# that leaves less than this share of them.
FEW, FEW_VALID = 0.02, 0.1
# It asks whether time is the last axis if that is this many times shorter than the two others.
SHORTER = 4


@log_stage("looking at the stack")
def check(config: Config, picture: str | None = None) -> list[tuple[str, str]]:
    """Check how settings, stack and mask are understood; returns names and values.

    Reads the first, the middle and the last frame, and measures a few pairs; `picture` is the path
    of a picture of these frames with their invalid pixels.
    """
    if picture is not None:
        check_picture(picture)
        check_further(config, "--picture", picture)
    series, spec = open_series(config)
    setup = set_up(config, series)
    rows = (
        describe(spec)
        + _describe_plate(config)
        + _describe_mask(config, series.validity.saturation)
    )
    if series.initial_shifts is not None:
        rows.append(("initial shifts", _describe_initial_shifts(config, series)))
    if series.drawn is not None:
        pixels = int(series.drawn.read(0, spec.frame_shape).sum())
        anchor = spec.frame_numbers[config.solve.anchor]
        rows.append(("object", f"{config.object_.mask}: {pixels} pixels in frame {anchor}"))
    rows.append(("to read", f"{make_plan(setup).read_bytes / 2**20:.1f} MiB (decoded) in a run"))
    last_index = spec.frame_count - 1
    indices = sorted({0, last_index // 2, last_index})
    frames = [series.source.read(index) for index in indices]
    shares = find_no_data([(frame.image, frame.valid) for frame in frames], FEW)
    has_mask = config.mask != MaskSection()
    drawn = []
    for position, (index, frame) in enumerate(zip(indices, frames, strict=True)):
        image, valid = condition(frame.image, frame.valid, setup.method.conditioning)
        name = f"frame {spec.frame_numbers[index]}"
        rows.append((name, _describe_frame(frame, image[valid], valid)))
        here = {value: share[position] for value, share in shares.items()}
        questions = _ask_about_values(frame, here) + _ask_about_mask(frame, valid, has_mask)
        rows += [("", question) for question in questions]
        drawn.append((name, frame.image, valid))
    rows += _describe_pairs(setup)
    if picture is not None:
        save_figure(draw_overlay(drawn), picture, key="--picture")
        rows.append(("picture", picture))
    return rows


def _describe_pairs(setup: Setup) -> list[tuple[str, str]]:
    """Describe the results of a few pairs, and the decisions of a run based on them."""
    preprocess = setup.config.preprocess
    has_image = preprocess.flat_field is not None or preprocess.fixed_pattern is not None
    if has_image or setup.config.object_.is_followed:
        return []  # a run first reads or makes camera images, or follows an object
    pilot, table = try_pairs(setup)
    if table is None:
        return []
    apart = np.abs(table.moving - table.reference)
    separation = " to ".join(map(str, np.unique([apart.min(), apart.max()]).tolist()))
    counts = Counter(PairStatus.from_code(int(code)) for code in table.status)
    words = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    if table.ok.any():
        words += f", shifts up to {np.abs(table.shift[table.ok]).max():.2f} px"
    rows = [("pairs", f"{len(table.status)} tried, {separation} frame(s) apart: {words}")]
    rows += [("", pilot.reach.describe())] if pilot.reach is not None else []
    if len(pilot.trials) > 1:
        rows += [("", line) for line in pilot.describe_trials()]
    elif pilot.trials and AUTO in (preprocess.low_pass, preprocess.high_pass):
        found = f"{pilot.trials[0].found} of {pilot.pairs} pairs have a shift as they are"
        rows.append(("", f"no filters were tried: {found}"))
    if counts[PairStatus.AMBIGUOUS] > len(table.status) / 2 and not pilot.chosen:
        rows.append(("", "the scene repeats? then set register.max_shift below half its period"))
    return rows + [("", line) for line in pilot.describe_left_out()]


def _describe_frame(frame: Frame, values: NDArray[Any], valid: Bools) -> str:
    """Describe a frame: its status, its valid pixels and the range of their `values`."""
    status = frame.status
    if not values.size:
        status = FrameStatus.EMPTY if status is FrameStatus.OK else status
        content = "no valid pixel"
    elif values.min() == values.max():
        status, content = FrameStatus.FLAT, f"all of them {values.min():g}"
    else:
        content = f"values {values.min():g} to {values.max():g}"
    reason = f" ({frame.reason})" if frame.reason else ""
    return f"{status}{reason}, {valid.mean():.0%} valid, {content}"


def _describe_initial_shifts(config: Config, series: Series) -> str:
    """Describe the initial shifts, as ranges in pixels along each axis."""
    assert series.initial_shifts is not None
    low, high = series.initial_shifts.min(axis=0), series.initial_shifts.max(axis=0)
    sides = zip(series.source.axes, low, high, strict=True)
    ranges = ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in sides)
    return (
        f"{config.initial_shifts.path}: shifts of {ranges} px; register.max_shift counts from them"
    )


def _describe_plate(config: Config) -> list[tuple[str, str]]:
    """Describe which image of a plate is used, and which wells are missing; [] for no plate."""
    section = config.input
    if section.position is None or (positions := list_positions(section.one_path)) is None:
        return []
    position = f"{section.position} of {len(positions.names)}"
    if positions.missing:
        position += f"; wells missing from the store: {', '.join(positions.missing)}"
    return [("position", position)]


def _describe_mask(config: Config, saturation: float | None) -> list[tuple[str, str]]:
    """Describe the causes that exclude pixels."""
    section = config.mask
    path = "" if section.path is None else section.path + ", inverted" * section.invert
    causes = [
        path,
        f"{len(section.rois)} shape(s)" * bool(section.rois),
        f"values {', '.join(f'{value:g}' for value in section.invalid_values)}"
        * bool(section.invalid_values),
        f"range {list(section.valid_range or ())}" * bool(section.valid_range),
        f"saturated at {saturation:g} and above" if saturation is not None else "",
        f"border {section.border}" * bool(section.border),
    ]
    return [("mask", "; ".join(cause for cause in causes if cause) or "none")]


def _ask_about_values(frame: Frame, shares: Mapping[float, float]) -> list[str]:
    """Ask about pixels of one value: a border, and values that seem to mean "no data".

    `shares` are these values, each with its share of the frame's valid pixels.
    """
    border = find_constant_border(frame.image, frame.valid)
    questions = [_ask_about_border(border)] if border else []
    return questions + [
        f"{share:.0%} of the pixels are {value:g}: no data? then set mask.invalid_values: "
        f"[{write_number(value)}]"
        for value, share in shares.items()
        if share and (border is None or value != border.value)
    ]


def _ask_about_mask(frame: Frame, valid: Bools, has_mask: bool) -> list[str]:
    """Ask whether the mask is inverted; that cannot be told for incomplete frames."""
    if frame.status is not FrameStatus.OK:
        return []
    if looks_inverted(frame.image, frame.valid):
        return [
            "the mask looks inverted: what it excludes looks like a scene, and what it keeps does "
            "not; True (nonzero) means valid; mask.invert swaps the two"
        ]
    if valid.mean() < FEW_VALID and has_mask:
        return ["few pixels are valid: is the mask inverted? True (nonzero) means valid"]
    return []


def _ask_about_border(border: Border) -> str:
    """Ask whether a border of one value holds no data, with the keys that exclude it."""
    return (
        f"a border of {border.value:g}, up to {max(border.widths)} pixels wide: no data? then set "
        f"mask.border: {max(border.widths)}, or mask.invalid_values: [{write_number(border.value)}]"
    )


def _ask_about_axes(spec: StackSpec) -> str:
    """Ask whether the last axis of a series of narrow frames is time; "": no question."""
    if tuple(spec.axes) != tuple("tyx") or spec.size("x") * SHORTER > min(spec.shape[:2]):
        return ""
    return f" (or {spec.size('x')} frames of {spec.shape[:2]}? then set input.axes: yxt)"


def describe(spec: StackSpec) -> list[tuple[str, str]]:
    """Describe how a stack is understood, as names and values."""
    sizes = ", ".join(f"{axis} {spec.size(axis)}" for axis in spec.axes)
    channels = ", ".join(spec.channel_names) or str(spec.size("c"))
    chosen = ", ".join(map(str, spec.several or (spec.channel,)))
    rows = [
        ("stack", f"{spec.path} ({spec.kind})"),
        ("axes", sizes + _ask_about_axes(spec)),
        ("frames", f"{spec.frame_count} of {spec.frame_shape} {spec.dtype}"),
        ("channel", f"{chosen} of {channels}" if spec.channel is not None else "only one"),
        ("pixel size", _describe_pixel_size(spec)),
        ("frame times", _describe_times(spec)),
        ("chunks", str(spec.chunks) + (f" in shards of {spec.shards}" if spec.shards else "")),
        ("bytes", f"{spec.frame_bytes * spec.frame_count / 2**20:.1f} MiB for all frames"),
    ]
    if spec.uncut is not None:
        rows.insert(3, ("of which", _describe_cut(spec, spec.uncut)))
    if len(spec.levels) > 1:
        rows.insert(-1, ("levels", ", ".join(str(shape) for shape in spec.levels)))
    return rows


def _describe_cut(spec: StackSpec, whole: StackSpec) -> str:
    """Describe which frames of a stack are used, and which pixels of them."""
    numbers, parts = spec.frame_numbers, []
    if len(numbers) < whole.frame_count:
        step = f" in steps of {numbers.step}" if numbers.step > 1 else ""
        parts.append(f"frames {numbers[0]} to {numbers[-1]}{step} of {whole.frame_count}")
    parts += [
        f"{axis} {first} to {stop - 1} of {whole.size(axis)}"
        for axis, (first, stop, _) in spec.sides.items()
        if axis in "zyx" and stop - first < whole.size(axis)
    ]
    return ", ".join(parts) + " are used"


def _describe_pixel_size(spec: StackSpec) -> str:
    """Describe the pixel size, and what is missing to understand lengths."""
    size = " x ".join(f"{step:g}" if step == step else "not known" for step in spec.pixel_size)
    way_out = "set input.pixel_size"
    if not spec.unit:
        return f"not known ({way_out})"
    if find_micrometers(spec.unit) is None:
        return f"{size} {spec.unit} (the unit is not understood: for lengths, {way_out})"
    return f"{size} {spec.unit}" + f" ({way_out})" * ("not known" in size)


def _describe_times(spec: StackSpec) -> str:
    """Describe the times of the frames."""
    if spec.time is None:
        return "not known"
    times, unit = spec.time
    return f"{times[0]:g} to {times[-1]:g} {unit}"
