"""Preview a whole series in seconds, from coarse frames: its drift, and the cost of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray

from steadystack.config import (
    ClusterSection,
    Config,
    ExternalReferenceSection,
    InitialShiftsSection,
    MaskSection,
    MotionSection,
    OutputSection,
    PairsSection,
)
from steadystack.durable import get_place
from steadystack.guide.coarse_frames import STILL, Grain, choose_grain, coarsen
from steadystack.guide.coarse_results import enlarge
from steadystack.guide.costs import Costs, estimate_costs
from steadystack.model import InputError, hide_in_values, hide_secrets, list_unseen
from steadystack.outputs import check_own_preview
from steadystack.planning import (
    Series,
    Setup,
    check_paths,
    open_series,
    resolve_only_input,
    set_up,
)
from steadystack.quality import verdict
from steadystack.report import Page, check_report_path, save_page
from steadystack.stages import (
    estimate_series,
    find_boxes_left_out,
    make_report_images,
)
from steadystack.units import parse_shift_bounds

# A low-pass below this, px of coarse frames, is already done by averaging; a high-pass below the
# second number would leave nothing of them.
LEAST_LOW_PASS, LEAST_HIGH_PASS = 0.5, 2.0


@dataclass(frozen=True, eq=False)
class Preview:
    """What a preview found.

    Attributes
    ----------
    shifts : the shifts dataset of the frames used; all in pixels of the stack
    grain : which frames were used, and over how many pixels they were averaged
    frame_count, frame_shape : of the stack, pixels
    costs : estimated costs of the whole run
    left_out : keys of the settings that were ignored
    page : where its page lies
    """

    shifts: xr.Dataset
    grain: Grain
    frame_count: int
    frame_shape: tuple[int, ...]
    costs: Costs
    left_out: tuple[str, ...]
    page: str

    def describe(self) -> list[tuple[str, str]]:
        """Describe what was found for the user, as names and values."""
        judged = verdict(self.shifts)
        every = self.grain.frames.step
        nth = f" (one in {every})" if every > 1 else ""
        boxes = " x ".join(map(str, self.grain.steps))
        averaged = f", averaged over {boxes}" if max(self.grain.steps) > 1 else ""
        rows = [
            (
                "looked at",
                f"{len(self.grain.frames)} of {self.frame_count} frames{nth} of "
                f"{self.frame_shape} pixels{averaged}",
            ),
            ("drift", self._describe_drift()),
            ("preview", f"{judged.trust}"),
            *(("", reason) for reason in judged.reasons),
        ]
        if self.left_out:
            rows.append(("left out", f"{', '.join(self.left_out)}: only in a run"))
        return [*rows, *self.costs.describe(), ("page", self.page)]

    def _describe_drift(self) -> str:
        """Describe from where to where the specimen drifts, and how well that is known."""
        drift = -self.shifts["frame_shift"].to_numpy()
        known = np.isfinite(drift).all(axis=1)
        if not known.any():
            return "not known: no frame has a shift"
        components, frames = self.shifts["component"].to_numpy(), len(drift)
        largest = np.bincount(components[known & (components >= 0)]).argmax()
        known &= components == largest  # others have another anchor
        errors = self.shifts["frame_shift_std"].to_numpy()[known]
        spans = ", ".join(
            f"{axis} from {low:.1f} to {high:.1f}{_describe_error(error)}"
            for axis, low, high, error in zip(
                self.shifts["axis"].to_numpy().tolist(),
                drift[known].min(axis=0) + 0.0,
                drift[known].max(axis=0) + 0.0,
                errors.T,
                strict=True,
            )
        )
        return f"{spans} px of the stack, in {int(known.sum())} of {frames} frames"


def _describe_error(errors: np.ndarray) -> str:
    """Describe the typical error along an axis, without the anchor, as in the verdict."""
    errors = errors[errors > 0]
    return f" ± {np.median(errors):.2f}" if len(errors) else ""


def preview(config: Config, progress: Callable[[int, int], None] | None = None) -> Preview:
    """Measure a series coarsely, and a pair or three of it as a run would; writes a page alone.

    Some tens of frames are averaged over boxes of pixels and measured in this process. The page
    lies beside that of the run, or beside its dataset, and is called ``NAME.preview.html``.

    Parameters
    ----------
    config : settings of one input, as `load_config` returns them
    progress : called with how many frames are read, and how many are to be read

    Raises
    ------
    InputError
        As `run` does, before any frame is read; also if something lies where the page is to be that
        is no preview.
    """
    config = resolve_only_input(config)
    config.object_.check_command("preview")
    page = _choose_page(config)
    series, _ = open_series(config)
    setup = set_up(config, series)
    count, shape = series.source.frame_count, series.source.frame_shape
    grain = choose_grain(count, shape, config.solve.anchor)
    coarse = coarsen(series, config, grain, progress)
    left_out, settings = [*_list_left_out(config)], choose_settings(config, series, grain)
    try:
        measured, shifts = estimate_series(settings, coarse)
    except InputError:
        if settings.preprocess.fixed_pattern is None:
            raise
        # There may be too few frames for a fixed pattern, but enough for shifts.
        measured, shifts = estimate_series(_leave_out_pattern(settings), coarse)
        left_out.append("preprocess.fixed_pattern")
    whole = enlarge(shifts, config, series, grain)
    costs = estimate_costs(setup, _spread(whole, grain, count))
    found = Preview(whole, grain, count, shape, costs, tuple(left_out), page)
    _write_page(found, config, measured, shifts)
    return found


def _choose_page(config: Config) -> str:
    """Choose the path of the page, beside that of the run, and check that it can be written."""
    beside = config.output.report or config.output.shifts.rstrip("/")
    place = get_place(beside)
    path = place.get_sibling(f"{PurePath(place.name).stem}.preview.html").path
    check_own_preview(path)
    check_report_path(path)
    output = config.output.model_copy(update={"report": path})
    check_paths(config.model_copy(update={"output": output}))
    return path


def choose_settings(config: Config, series: Series, grain: Grain) -> Config:
    """Choose the settings by which coarse frames are measured like those of the stack.

    Lengths are in coarse pixels. Masks and flat field are already applied.
    """
    return config.model_copy(
        update={
            "mask": MaskSection(
                defects=config.mask.defects,
                field_of_view=config.mask.field_of_view,
                parts=config.mask.parts,
            ),
            "preprocess": config.preprocess.model_copy(
                update=_choose_conditioning(config, grain.steps[-1])
            ),
            "register_": config.register_.model_copy(
                update={
                    "max_shift": _choose_bounds(config, series, grain),
                    "fft_tile": None,
                    "subpixel": True,
                }
            ),
            "initial_shifts": InitialShiftsSection(),
            "pairs": PairsSection(),
            "motion": MotionSection(),
            "solve": config.solve.model_copy(
                update={
                    "anchor": grain.find(config.solve.anchor),
                    "refine": 0,
                }
            ),
            "external_reference": ExternalReferenceSection(),
            "output": OutputSection(),
            "cluster": ClusterSection(kind="in-process"),
        }
    )


def _choose_conditioning(config: Config, step: int) -> dict[str, object]:
    """Choose which steps of the section `preprocess` are applied to coarse frames."""
    section = config.preprocess
    by_median = section.flat_field == STILL[0]
    values: dict[str, object] = {
        "flat_field": section.flat_field if by_median else None,
        "fixed_pattern": section.fixed_pattern if section.fixed_pattern == STILL[1] else None,
        "logarithm": section.logarithm and by_median,
        "square_root": section.square_root and by_median,
    }
    if isinstance(section.low_pass, float | int):
        sigma = section.low_pass / step
        values["low_pass"] = sigma if sigma >= LEAST_LOW_PASS else None
    if isinstance(section.high_pass, float | int):
        values["high_pass"] = max(section.high_pass / step, LEAST_HIGH_PASS)
    return values


def _choose_bounds(
    config: Config, series: Series, grain: Grain
) -> int | str | tuple[int | str, ...] | None:
    """Choose how far coarse frames are searched: in proportion to their separation.

    Around initial shifts the range is unchanged, as their errors are the same.
    """
    section = config.register_
    if not section.is_decided or section.max_shift is None:
        return section.max_shift
    bounds = parse_shift_bounds(section.max_shift, series.pixel_size, series.unit)
    assert bounds is not None
    times = 1 if series.initial_shifts is not None else grain.frames.step
    coarse = [
        math.ceil(times * bound / step) + 1 for bound, step in zip(bounds, grain.steps, strict=True)
    ]
    longest = [size - 1 for size in grain.shrink(series.source.frame_shape)]
    if series.initial_shifts is None and all(map(int.__ge__, coarse, longest)):
        return None
    return tuple(map(min, coarse, longest))


def _spread(shifts: xr.Dataset, grain: Grain, frame_count: int) -> NDArray[np.float64]:
    """Interpolate the shifts of all frames (frames, axes) linearly between those measured."""
    known = shifts["frame_shift"].to_numpy()
    found = np.isfinite(known).all(axis=1)
    if not found.any():
        return np.full((frame_count, known.shape[1]), np.nan)
    looked_at = np.array(grain.frames)[found]
    frames = np.arange(frame_count)
    return np.stack([np.interp(frames, looked_at, column) for column in known[found].T], axis=1)


def _leave_out_pattern(settings: Config) -> Config:
    """The settings without a fixed pattern."""
    preprocess = settings.preprocess.model_copy(update={"fixed_pattern": None})
    return settings.model_copy(update={"preprocess": preprocess})


def _list_left_out(config: Config) -> Iterator[str]:
    """List the keys of the settings that a preview ignores."""
    if config.motion.is_more_than_shift:
        yield f"motion.model {config.motion.model}"
    if config.external_reference.path is not None:
        yield "external_reference"
    if config.solve.refine:
        yield "solve.refine"
    section = config.preprocess
    by_median = section.flat_field == STILL[0]
    if by_median and section.fixed_pattern not in (None, STILL[1]):
        yield "preprocess.fixed_pattern"


def _write_page(found: Preview, config: Config, measured: Setup, shifts: xr.Dataset) -> None:
    """Write the page; `shifts` are in pixels of the coarse frames, by the setup that measured."""
    section = measured.config.preprocess.model_copy(
        update={"flat_field": None, "fixed_pattern": None}  # both are part of the method
    )
    measured = replace(measured, config=measured.config.model_copy(update={"preprocess": section}))
    judged, rows = verdict(found.shifts), found.describe()
    steps = found.grain.steps[-2:]
    page = Page(
        title=hide_secrets(config.input.one_path).rstrip("/").rsplit("/", 1)[-1],
        shifts=found.shifts,
        trust=str(judged.trust),
        reasons=judged.reasons,
        views=replace(make_report_images(measured, shifts), close_ups=()),
        configuration=yaml.safe_dump(hide_in_values(config.dump()), sort_keys=False),
        versions=json.loads(shifts.attrs["versions"]),
        left_out=_enlarge(find_boxes_left_out(measured, shifts), steps),
        unseen=_enlarge(list_unseen(shifts.attrs), steps),
        preview=[(name, value) for name, value in rows if name not in ("preview", "page", "")],
    )
    check_own_preview(found.page)
    save_page(page, found.page)


def _enlarge(
    boxes: Sequence[Sequence[tuple[int, int]]], steps: Sequence[int]
) -> list[list[tuple[int, int]]]:
    """Boxes of coarse frames as boxes of those of the stack."""
    return [
        [(low * step, high * step) for (low, high), step in zip(box, steps, strict=True)]
        for box in boxes
    ]
