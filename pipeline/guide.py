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
from pipeline.model import InputError
from pipeline.preprocess import condition, usable_pixels
from pipeline.register import register_translation
from pipeline.report import pairs_figure, save_figure
from pipeline.setup import Series, open_series, set_up
from pipeline.stages import Progress, run
from pipeline.store.images import embedded_scene, write_image, write_stack
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
  # invalid_values: [0]      # values that mean "no data"
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
    return [
        ("stack", f"{spec.path} ({spec.kind})"),
        ("axes", sizes),
        ("frames", f"{spec.frame_count} of {spec.frame_shape} {spec.dtype}"),
        ("channel", f"{spec.channel} of {channels}" if spec.channel is not None else "only one"),
        ("pixel size", f"{size} {spec.unit}" if spec.unit else "not known"),
        ("chunks", str(spec.chunks)),
        ("bytes", f"{spec.frame_bytes * spec.frame_count / 2**20:.1f} MiB in all frames"),
    ]


def init(path: str, **keys: Any) -> str:
    """Commented settings, as YAML text, for the stack at `path`; `keys` are those of `input`."""
    spec = locate(path, **keys)
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
        max_shift=min(bounds) if len(bounds) == 2 else bounds,
        stem=Path(path.rstrip("/")).name.split(".")[0] or "stack",
    )


def check(config: Config) -> list[tuple[str, str]]:
    """What was understood of settings, stack and mask, as names and values.

    Reads the first, the middle and the last frame.
    """
    series, spec = open_series(config)
    setup = set_up(config, series)
    rows = describe(spec)
    rows.append(("mask", config.mask.path or "none"))
    if series.prior is not None:
        rows.append(("prior", _described_prior(config, series)))
    last = spec.frame_count - 1
    for index in sorted({0, last // 2, last}):
        frame = series.source.read(index)
        image, valid = condition(frame.image, frame.valid, setup.method.conditioning)
        values = image[valid]
        seen = f"values {values.min():g} to {values.max():g}" if values.size else "nothing to see"
        rows.append((f"frame {index}", f"{frame.status}, {valid.mean():.0%} valid, {seen}"))
        usable = usable_pixels(frame.image, frame.valid, setup.method.conditioning)
        rows += _hints(frame.image[usable], float(valid.mean()))
    return rows


def _described_prior(config: Config, series: Series) -> str:
    """Shifts in pixels, as they were understood."""
    assert series.prior is not None
    low, high = series.prior.min(axis=0), series.prior.max(axis=0)
    sides = zip(series.source.axes, low, high, strict=True)
    ranges = ", ".join(f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in sides)
    return f"{config.prior.path}: shifts of {ranges} px; register.max_shift is around them"


def _hints(values: NDArray[Any], valid: float) -> list[tuple[str, str]]:
    """What a person would ask of a frame with these valid values."""
    hints = []
    if values.size:
        for extreme in {values.min().item(), values.max().item()}:
            share = float(np.mean(values == extreme))
            if FEW < share < 1:
                question = f"{share:.0%} are {extreme:g}: no data? then mask.invalid_values"
                hints.append(("", question))
    if valid < FEW_VALID:
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
