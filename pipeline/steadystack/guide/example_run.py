"""Make the embedded example and run it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.config import load_config
from steadystack.durable import check_nothing_else
from steadystack.example import make_corrupted_pair, make_drifting_series, make_windowed_pair
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from steadystack.register import register_translation
from steadystack.report import draw_pairs, save_figure
from steadystack.stages import Progress, run

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
  strategy: separations
  separations: [1, 2, 4, 8]
output:
  shifts: shifts.zarr
  report: drift.png
cluster:
  kind: local
  workers: 2
"""

# A file that marks folders made by the demo, which it may replace.
MARK = ".steadystack-demo"
SETTINGS, STACK, MASK = "demo.yaml", "stack.ome.zarr", "mask.zarr"
DEMO_TEXT = DEMO_SETTINGS.format(name=SETTINGS)


@dataclass(frozen=True)
class DemoResult:
    """What the demo made: its folder, the shifts dataset, and the pictures.

    `rms_error` is how far the shifts are from the known ones, pixels.
    """

    directory: Path
    shifts: xr.Dataset
    rms_error: float
    pictures: tuple[Path, ...]


def demo(directory: str | Path, progress: Progress | None = None) -> DemoResult:
    """Make the embedded example in `directory`, run it on a local cluster, and draw it."""
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()) and not (directory / MARK).exists():
        raise InputError(f"{directory} holds something else: give the demo an empty folder")
    _check_not_edited(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MARK).touch()
    except OSError as error:
        raise InputError(f"{directory} cannot be written: {error}") from error
    scene = load_embedded_scene()
    series = make_drifting_series(scene)
    write_stack(directory / STACK, series.frames, pixel_size=(0.65, 0.65), frame_interval=30.0)
    write_image(directory / MASK, series.mask)
    settings = directory / SETTINGS
    settings.write_text(DEMO_TEXT, encoding="utf-8", newline="\n")
    shifts = run(load_config(settings), overwrite=True, progress=progress)

    still, corrupted, mask = make_corrupted_pair(scene)
    pairs = {
        "25 % corrupted": (still, corrupted, mask, mask),
        "two windows": make_windowed_pair(scene),
    }
    rows = []
    for title, (reference, moving, reference_mask, moving_mask) in pairs.items():
        registration = register_translation(
            reference, moving, reference_mask=reference_mask, moving_mask=moving_mask
        )
        rows.append((title, reference, reference_mask, moving, moving_mask, registration))
    save_figure(draw_pairs(rows), str(directory / "pairs.png"))
    errors = shifts["frame_shift"].to_numpy() - series.shift
    has_shift = np.isfinite(errors).all(axis=1)
    return DemoResult(
        directory=directory,
        shifts=shifts,
        rms_error=float(np.sqrt(np.mean(errors[has_shift] ** 2))),
        pictures=(directory / "drift.png", directory / "pairs.png"),
    )


def _check_not_edited(directory: Path) -> None:
    """Raise InputError if the output of an earlier demo was edited or added to."""
    way_out, settings = "give the demo another folder", directory / SETTINGS
    if settings.exists() and not DEMO_TEXT.encode().startswith(settings.read_bytes()):
        raise InputError(
            f"{settings} is not as the demo writes it: it will not be overwritten; move it, or "
            f"{way_out}"
        )
    for name, ours in ((STACK, ("0",)), (MASK, ("c",))):
        if (folder := directory / name).is_dir():
            check_nothing_else(str(folder), [path.name for path in folder.iterdir()], ours, way_out)


def load_embedded_scene() -> NDArray[np.uint8]:
    """Load the photograph that comes with the package: uint8, (512, 512)."""
    with resources.files("steadystack").joinpath("data", "scene.npz").open("rb") as file:
        scene: NDArray[np.uint8] = np.load(file)["scene"]
    return scene
