"""The way in: look at a stack, write settings for it, check settings, show an example."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.config import Config, load_config
from pipeline.example import corrupted_pair, drifting_series, windowed_pair
from pipeline.model import Bools, InputError
from pipeline.overlay import check_picture, overlay_figure
from pipeline.preprocess import condition, looks_inverted, usable_pixels
from pipeline.register import register_translation
from pipeline.report import pairs_figure, save_figure
from pipeline.setup import Series, open_series, plan_of, set_up
from pipeline.stages import Progress, run
from pipeline.store.images import embedded_scene, write_image, write_stack
from pipeline.store.plates import positions
from pipeline.store.remote import is_pattern
from pipeline.store.stacks import StackSpec, locate

DEMO_SETTINGS = """\
# The embedded example: 40 frames of a drifting scene behind a round field stop, a quarter of all
# pixels corrupted (0). Run it again with: steadystack run {name} --overwrite
input:
  path: stack.ome.zarr
mask:
  path: mask.zarr
  invalid_values: [0]
register:
  max_shift: 24
pairs:
  strategy: lags
  lags: [1, 2, 4, 8]
output:
  shifts: shifts.zarr
  report: drift.png
cluster:
  kind: local
  workers: 2
"""

# Lies in every folder that the demo made, and may make again.
MARK = ".steadystack-demo"
# Shares of a frame's pixels that make `check` ask.
FEW, FEW_VALID = 0.02, 0.1

INIT_SETTINGS = """\
# Settings for {name}: {described}
input:
  path: {path}
{input_keys}
mask:
  # path: mask.zarr          # not 0 = valid; of one frame's shape {shape}, or one per frame:
                             # leave out what stands still in the camera, it would pull to zero
  # invert: true             # valid is what that mask says is not
  # shapes: [{{ellipse: {{centre: {centre}, radii: {radii}}}, valid: inside}}]  # a field stop
  # invalid_values: [0]      # values that mean "no data"
  # saturation: auto         # leave out what is saturated
  border: 0                  # pixels along each side to leave out

register:
  max_shift: {max_shift}              # pixels; the largest shift between the frames of a pair

# prior:                     # positions of the stage, if there are any: max_shift is around them
#   path: positions.csv      # columns y, x in pixels; more in configs/full.yaml

pairs:
  strategy: window           # or: consecutive, reference, lags, all
  width: 5                   # every pair up to so many frames apart

output:
  shifts: {stem}-shifts.zarr
  report: {stem}-drift.png

cluster:
  kind: local                # worker processes on this machine, one per core
"""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and how far its shifts are from the known ones."""

    directory: Path
    shifts: xr.Dataset
    rms_error: float
    pictures: tuple[Path, ...]


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
        ("pixel size", f"{size} {spec.unit}" if spec.unit else "not known (input.pixel_size)"),
        ("frame times", _times(spec)),
        ("chunks", str(spec.chunks) + (f" in shards of {spec.shards}" if spec.shards else "")),
        ("bytes", f"{spec.frame_bytes * spec.frame_count / 2**20:.1f} MiB in all frames"),
    ]
    if len(spec.levels) > 1:
        rows.insert(-1, ("levels", ", ".join(str(shape) for shape in spec.levels)))
    return rows


def _times(spec: StackSpec) -> str:
    """The times of the frames in words."""
    if spec.time is None:
        return "not known"
    times, unit = spec.time
    return f"{times[0]:g} to {times[-1]:g} {unit}"


def init(path: str, **keys: Any) -> str:
    """Commented settings, as YAML text, for the stack at `path`; `keys` are those of `input`."""
    try:
        spec = locate(path, **keys)
    except InputError as error:
        raise InputError(str(error) + _as_option(str(error))) from error
    if spec.frame_count < 2:
        raise InputError(f"{path} has one frame: a time-lapse needs at least 2")
    lines = [f"  {key}: {json.dumps(value)}" for key, value in keys.items()]
    described = "".join(f"\n#   {name}: {value}" for name, value in describe(spec)[1:])
    bounds = [max(size // 4, 1) for size in spec.frame_shape]
    where = path if "://" in path else str(Path(path).resolve())
    return INIT_SETTINGS.format(
        name=Path(path.rstrip("/")).name,
        path=json.dumps(where),
        described=described,
        input_keys="\n".join(lines) + ("\n" if lines else ""),
        shape=spec.frame_shape,
        centre=[size // 2 for size in spec.frame_shape[-2:]],
        radii=[size // 2 for size in spec.frame_shape[-2:]],
        max_shift=min(bounds) if len(bounds) == 2 else bounds,
        stem=_stem(path, keys.get("position"), keys.get("series")),
    )


def _stem(path: str, position: str | None, series: int | None) -> str:
    """A name for the outputs: that of the input, of the folder for a pattern of files."""
    parts = path.rstrip("/").split("/")
    name = parts[-1] if not is_pattern(path) or len(parts) < 2 else parts[-2]
    words = [name.split(".")[0].replace("*", "") or "stack"]
    words += [position.strip("/").replace("/", "-")] if position else []
    words += [str(series)] if series is not None else []
    return "-".join(words)


def _as_option(problem: str) -> str:
    """The option of `init` that sets the key which an error asks for."""
    asked = [key for key in ("position", "series", "axes", "variable") if f"input.{key}" in problem]
    return f" (--{asked[0]})" if asked else ""


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
    hints = []
    values = image[usable]
    if values.size:
        for extreme in {values.min().item(), values.max().item()}:
            share = float(np.mean(values == extreme))
            if FEW < share < 1:
                question = f"{share:.0%} are {extreme:g}: no data? then mask.invalid_values"
                hints.append(("", question))
    if looks_inverted(image, usable):
        hints.append(
            (
                "",
                "the mask looks inverted: what it takes away looks like a scene, what it leaves "
                "does not; True (not 0) means valid, mask.invert takes the opposite",
            )
        )
    elif valid < FEW_VALID:
        hints.append(("", "few pixels are valid: is the mask inverted? True (not 0) means valid"))
    return hints


def demo(directory: str | Path, progress: Progress | None = None) -> DemoResult:
    """Make the embedded example in `directory`, run it on a local cluster, and draw it."""
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()) and not (directory / MARK).exists():
        raise InputError(f"{directory} holds something else: give the demo a folder of its own")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MARK).touch()
    except OSError as error:
        raise InputError(f"{directory} cannot be written: {error}") from error
    scene = embedded_scene()
    series = drifting_series(scene)
    write_stack(
        directory / "stack.ome.zarr", series.frames, pixel_size=(0.65, 0.65), frame_interval=30.0
    )
    write_image(directory / "mask.zarr", series.mask)
    settings = directory / "demo.yaml"
    settings.write_text(DEMO_SETTINGS.format(name=settings.name), encoding="utf-8")
    shifts = run(load_config(settings), overwrite=True, progress=progress)

    still, corrupted, mask = corrupted_pair(scene)
    pairs = {
        "25 % corrupted": (still, corrupted, mask, mask),
        "two windows": windowed_pair(scene),
    }
    rows = []
    for title, (reference, moving, reference_mask, moving_mask) in pairs.items():
        found = register_translation(
            reference, moving, reference_mask=reference_mask, moving_mask=moving_mask
        )
        rows.append((title, reference, reference_mask, moving, moving_mask, found))
    save_figure(pairs_figure(rows), str(directory / "pairs.png"))
    errors = shifts["shift"].to_numpy() - series.shift
    known = np.isfinite(errors).all(axis=1)
    return DemoResult(
        directory=directory,
        shifts=shifts,
        rms_error=float(np.sqrt(np.mean(errors[known] ** 2))),
        pictures=(directory / "drift.png", directory / "pairs.png"),
    )
