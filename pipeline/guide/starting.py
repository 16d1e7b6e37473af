"""Settings to start from, for a stack that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.guide.stacks import describe
from pipeline.model import InputError
from pipeline.store.remote import is_pattern
from pipeline.store.stacks import locate

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
