"""Say what is understood of settings, a stack and its mask."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from steadystack.config import Config
from steadystack.guide.stacks import describe
from steadystack.looks import Border, constant_border, frequent_extremes
from steadystack.model import Bools
from steadystack.overlay import check_picture, overlay_figure
from steadystack.preprocess import condition, looks_inverted, usable_pixels
from steadystack.report import save_figure
from steadystack.setup import Series, open_series, plan_of, set_up
from steadystack.store.plates import positions

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
    rows = describe(spec) + _about_plate(config) + _about_mask(config, series.saturation)
    if series.prior is not None:
        rows.append(("prior", _described_prior(config, series)))
    rows.append(("to read", f"{plan_of(setup).read_bytes / 2**20:.1f} MiB (decoded) in a run"))
    last = spec.frame_count - 1
    drawn = []
    for index in sorted({0, last // 2, last}):
        frame = series.source.read(index)
        image, valid = condition(frame.image, frame.valid, setup.method.conditioning)
        values = image[valid]
        seen = f"values {values.min():g} to {values.max():g}" if values.size else "nothing to see"
        reason = f" ({frame.reason})" if frame.reason else ""
        rows.append((f"frame {index}", f"{frame.status}{reason}, {valid.mean():.0%} valid, {seen}"))
        usable = usable_pixels(frame.image, frame.valid, setup.method.conditioning)
        rows += _hints(frame.image, usable, float(valid.mean()))
        drawn.append((f"frame {index}", frame.image, valid))
    if picture is not None:
        save_figure(overlay_figure(drawn), picture)
        rows.append(("picture", picture))
    return rows


def _described_prior(config: Config, series: Series) -> str:
    """Shifts in pixels, as they were understood."""
    assert series.prior is not None
    low, high = series.prior.min(axis=0), series.prior.max(axis=0)
    sides = zip(series.source.axes, low, high, strict=True)
    ranges = ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in sides)
    return f"{config.prior.path}: shifts of {ranges} px; register.max_shift is around them"


def _about_plate(config: Config) -> list[tuple[str, str]]:
    """Which image of a plate it is, and what of the plate is not there."""
    given = config.input
    if given.position is None or (found := positions(given.one_path)) is None:
        return []
    lacking = f"; wells that are not in the store: {', '.join(found.missing)}"
    return [("position", f"{given.position} of {len(found.names)}" + lacking * bool(found.missing))]


def _about_mask(config: Config, saturation: float | None) -> list[tuple[str, str]]:
    """The causes that take pixels away."""
    given = config.mask
    path = "" if given.path is None else given.path + ", inverted" * given.invert
    causes = [
        path,
        f"{len(given.shapes)} shape(s)" * bool(given.shapes),
        f"values {', '.join(f'{value:g}' for value in given.invalid_values)}"
        * bool(given.invalid_values),
        f"range {list(given.valid_range or ())}" * bool(given.valid_range),
        f"saturated from {saturation:g}" if saturation is not None else "",
        f"border {given.border}" * bool(given.border),
    ]
    return [("mask", "; ".join(cause for cause in causes if cause) or "none")]


def _hints(image: NDArray[Any], usable: Bools, valid: float) -> list[tuple[str, str]]:
    """What a person would ask of a frame with these usable pixels."""
    border = constant_border(image, usable)
    asked = [_about_border(border)] if border else []
    for value, share in frequent_extremes(image[usable], FEW):
        if border is None or value != border.value:
            asked.append(
                f"{share:.0%} are {value:g}: no data? then mask.invalid_values: [{value:g}]"
            )
    if looks_inverted(image, usable):
        asked.append(
            "the mask looks inverted: what it takes away looks like a scene, what it leaves does "
            "not; True (not 0) means valid, mask.invert takes the opposite"
        )
    elif valid < FEW_VALID:
        asked.append("few pixels are valid: is the mask inverted? True (not 0) means valid")
    return [("", question) for question in asked]


def _about_border(border: Border) -> str:
    """A border of one value as a question, with the keys that leave it out."""
    return (
        f"a border of {border.value:g} along its sides, up to {max(border.widths)} pixels wide: no "
        f"data? then mask.border: {max(border.widths)}, or mask.invalid_values: [{border.value:g}]"
    )
