"""What solved shifts are shown and handed on as: a report, and files for other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray

from steadystack.checks import list_boxes
from steadystack.config import make_config
from steadystack.correction import (
    SeriesImages,
    find_shown_box,
    get_linear,
    make_before_and_after,
    make_mean_before_and_after,
)
from steadystack.dataset import check_replaceable, load_shifts, read_frames, read_pairs, save_shifts
from steadystack.durable import get_place
from steadystack.model import (
    PILOT,
    UNSOLVED,
    FrameStatus,
    InputError,
    Pilot,
    ReportImages,
    RunError,
    hide_in_values,
    hide_secrets,
)
from steadystack.outputs import (
    check_own_file,
    explaining_write_errors,
    replacing_own_file,
    write_rows,
)
from steadystack.planning import Setup
from steadystack.quality import make_close_ups, verdict
from steadystack.readers import StackSpec, locate_stack
from steadystack.report import Page, draw_series, save_figure, save_figures, save_page
from steadystack.run_log import read_log_lines
from steadystack.stages.results import add_camera_images
from steadystack.warp import Box, find_warped_whole_box, find_whole_box, make_affine

# Frames that images before and after are made of: so few and so many, by what they hold.
PICTURED_PIXELS, PICTURED = 2**27, (16, 200)


def write_report(setup: Setup, shifts: xr.Dataset, path: str, figures: str | None = None) -> None:
    """Write the report of solved shifts, by its suffix; and its figures into a folder, if asked."""
    name = hide_secrets(setup.config.input.one_path).rstrip("/").rsplit("/", 1)[-1]
    judgement = verdict(shifts)
    if Path(path).suffix != ".html" and figures is None:
        before, after = _make_means(setup, shifts)
        save_figure(draw_series(shifts, before, after, f"{name}: {judgement}"), path)
        return
    page = Page(
        title=name,
        shifts=shifts,
        trust=str(judgement.trust),
        reasons=judgement.reasons,
        views=make_report_images(setup, shifts),
        configuration=write_configuration(shifts),
        versions=json.loads(shifts.attrs["versions"]),
        log=read_log_lines(setup.config),
        left_out=find_boxes_left_out(setup, shifts),
    )
    save_page(page, path)
    if figures is not None:
        save_figures(page, figures)


def find_boxes_left_out(setup: Setup, shifts: xr.Dataset) -> list[list[tuple[int, int]]]:
    """Find the boxes of parts that were left out, before measuring or by the solve.

    Each is, along the last two axes, its first pixel and that behind the last.
    """
    found = Pilot.parse(shifts.attrs[PILOT]).parts if PILOT in shifts.attrs else None
    boxes = [list(box[-2:]) for box in found.boxes] if found is not None else []
    left_out = list_boxes(setup.method.whole_region, read_frames(shifts).parts_left_out)
    return boxes + [[(side.start, side.stop) for side in box[-2:]] for box in left_out]


def write_configuration(shifts: xr.Dataset) -> str:
    """The settings as YAML, with what was tried before some were decided on."""
    settings = hide_in_values(json.loads(shifts.attrs["configuration"]))
    text: str = yaml.safe_dump(settings, sort_keys=False)
    if PILOT not in shifts.attrs:
        return text
    tried = "\n".join(f"#   {line}" for line in Pilot.parse(shifts.attrs[PILOT]).describe())
    return f"# Decided before measuring, on a few pairs:\n{tried}\n{text}"


def make_report_images(setup: Setup, shifts: xr.Dataset) -> ReportImages:
    """Images of the series before and after, and the pairs that fit worst."""
    table, frames = read_pairs(shifts), read_frames(shifts)
    setup = add_camera_images(setup, keep_at=setup.shifts_path.rstrip("/"), again=True)
    source = setup.series.source
    pictured = setup.series.source_before_pilot
    shown = np.flatnonzero(np.isfinite(frames.shift).all(axis=1))

    def seen(chosen: NDArray[np.intp]) -> tuple[SeriesImages, SeriesImages]:
        return make_before_and_after(
            pictured, frames.shift, linear=get_linear(shifts), frames=chosen
        )

    if not len(shown):
        return ReportImages(close_ups=make_close_ups(source, setup.method, table, frames))
    most = int(np.clip(PICTURED_PIXELS // math.prod(source.frame_shape), *PICTURED))
    spread = shown[np.unique(np.linspace(0, len(shown) - 1, most).round().astype(int))]
    before, after = seen(spread)
    singles, numbers = {}, setup.series.frame_numbers
    for frame in dict.fromkeys(shown[[0, len(shown) // 2, -1]].tolist()):
        still, moved = seen(np.array([frame]))
        singles[f"frame {numbers[frame]}"] = still.mean, moved.mean
    return ReportImages(
        images={
            "mean": (before.mean, after.mean),
            "maximum": (before.maximum, after.maximum),
            **singles,
        },
        kymographs={
            axis: (before.kymographs[axis][spread], after.kymographs[axis][spread])
            for axis in before.kymographs
        },
        span=(numbers[spread[0]], numbers[spread[-1]]),
        close_ups=make_close_ups(source, setup.method, table, frames),
    )


def _make_means(setup: Setup, shifts: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return make_mean_before_and_after(
        setup.series.source_before_pilot,
        shifts["frame_shift"].to_numpy(),
        linear=get_linear(shifts),
    )


def export(shifts: str, target: str, *, overwrite: bool = False) -> Box | None:
    """Write a shifts dataset as another file, by the suffix of `target`.

    ``.csv``: a row per frame, with its file if each is in one of many; ``.json``: a layer of napari
    per frame; ``.nc``: all of it, NetCDF.

    Returns
    -------
    The box that is seen in every good frame, pixels of the anchor frame; None if there is none, or
    if the stack is not there any more to tell the shape of a frame.

    Raises
    ------
    InputError
        If there is no such dataset, if it is not solved, or if the target exists or cannot be one.
    """
    suffix = PurePath(target).suffix
    if suffix not in (".csv", ".json", ".nc"):
        raise InputError(f"{target} must end in .csv, .json (for napari) or .nc (NetCDF)")
    if get_place(target).exists() and not overwrite:
        raise InputError(f"{target} exists: use --overwrite, or another name")
    if suffix == ".nc":
        check_replaceable(target)
    else:
        check_own_file(target)
    dataset = load_shifts(shifts)
    if (dataset["component"] == UNSOLVED).all():
        raise InputError(f"{shifts} is not solved yet: run `steadystack solve` first")
    spec = _locate_stack(dataset)
    shape = None if spec is None else spec.frame_shape
    with explaining_write_errors(target):
        if suffix == ".nc":
            save_shifts(dataset, target)
        else:
            with replacing_own_file(target) as partial:
                if suffix == ".csv":
                    write_rows(partial, make_frame_rows(dataset, shape, _list_files(dataset, spec)))
                else:
                    layers = json.dumps(make_napari_layers(dataset), indent=1)
                    partial.write_text(layers, encoding="utf-8")
    return None if shape is None else find_common_part(dataset, shape)


def _locate_stack(shifts: xr.Dataset) -> StackSpec | None:
    """The stack that was measured; None if it is not there any more."""
    try:
        config = make_config(json.loads(shifts.attrs["configuration"]))
        spec = locate_stack(**config.input.model_dump())
    except (InputError, RunError, KeyError, ValueError):
        return None
    axes = tuple(str(axis) for axis in shifts["axis"].to_numpy())
    return spec if spec.spatial == axes else None


def _list_files(shifts: xr.Dataset, spec: StackSpec | None) -> tuple[str, ...] | None:
    """The file of each frame, where the stack is a series of files; None if they are others now."""
    if spec is None or shifts.attrs.get("input_digest", "").split("-")[0] != spec.digest:
        return None
    files = spec.array.list_frame_files(spec.path)
    return files if files is not None and len(files) == shifts.sizes["frame"] else None


def make_frame_rows(
    shifts: xr.Dataset, shape: Sequence[int] | None = None, files: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """A row for every frame of a shifts dataset.

    Parameters
    ----------
    shape : of a frame, pixels; None: not known
    files : the name of the file that each frame is in, where there are several

    Returns
    -------
    rows with ``frame``, ``file`` if it is given, ``time`` where the dataset has it, ``status``,
    ``component``; along every axis ``shift_y``, ``shift_std_y`` in pixels and ``translate_y``, the
    shift in the unit of the pixel size (pixels if that is not known); and, where the shape is
    known, the box in which the moved frame lies: ``first_y`` and ``stop_y``, whole pixels of the
    anchor frame, the last one not included. Where frames have a linear motion: ``rotation``,
    degrees, ``scale`` and their deviations, and the matrix that lays a position in the frame on the
    anchor, pixels: ``y' = affine_yy y + affine_yx x + affine_y``. What is not known is None.
    """
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    values, std = shifts["frame_shift"].to_numpy(), shifts["frame_shift_std"].to_numpy()
    size, affines = get_pixel_size(shifts), get_affines(shifts)
    rows = []
    for frame, (shift, deviation) in enumerate(zip(values, std, strict=True)):
        row: dict[str, Any] = {"frame": int(shifts["frame"][frame])}
        if files is not None:
            row["file"] = files[frame]
        if "time" in shifts.coords:
            row["time"] = float(shifts["time"][frame])
        row["status"] = str(FrameStatus.from_code(int(shifts["frame_status"][frame])))
        row["component"] = int(shifts["component"][frame])
        for name, numbers in (
            ("shift", shift),
            ("shift_std", deviation),
            ("translate", shift * size),
        ):
            by_axis = zip(axes, numbers.tolist(), strict=True)
            row |= {
                f"{name}_{axis}": number if np.isfinite(number) else None
                for axis, number in by_axis
            }
        if affines is not None:
            row |= _make_linear_cells(shifts, axes, frame, affines[frame])
        if shape is not None:
            box = _find_box(shift, None if affines is None else affines[frame], shape)
            for at, axis in enumerate(axes):
                row[f"first_{axis}"] = None if box is None else box.first[at]
                row[f"stop_{axis}"] = None if box is None else box.stop[at]
        rows.append(row)
    return rows


def get_affines(shifts: xr.Dataset) -> NDArray[np.float64] | None:
    """The matrices (frames, 3, 3) that lay positions (y, x, 1) in frames on the anchor, pixels.

    None where frames are shifted alone.
    """
    linear = get_linear(shifts)
    if linear is None:
        return None
    middle = np.array(json.loads(shifts.attrs["motion"])["centre"])
    return make_affine(linear, shifts["frame_shift"].to_numpy(), middle)


def _make_linear_cells(
    shifts: xr.Dataset, axes: Sequence[str], frame: int, affine: NDArray[np.float64]
) -> dict[str, float | None]:
    """What a row says of the linear motion of its frame."""
    values = {
        name: float(shifts[f"frame_{name}"][frame])
        for name in ("rotation", "rotation_std", "scale", "scale_std")
    }
    for axis, row in zip(axes, affine.tolist(), strict=False):
        values |= {
            f"affine_{axis}{of}": number for of, number in zip((*axes, ""), row, strict=True)
        }
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _find_box(
    shift: NDArray[np.float64], affine: NDArray[np.float64] | None, shape: Sequence[int]
) -> Box | None:
    """The box in which a moved frame lies; None if its shift is not known."""
    if not np.isfinite(shift).all():
        return None
    if affine is None:
        return find_whole_box(shift[None], shape)
    return find_warped_whole_box(affine[None, :-1, :-1], shift[None], shape)


def get_pixel_size(shifts: xr.Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Size of a pixel along every axis; 1 where it is not known."""
    return np.nan_to_num(shifts["pixel_size"].to_numpy().astype(np.float64), nan=1.0)


def find_common_part(shifts: xr.Dataset, shape: Sequence[int]) -> Box | None:
    """The box that is seen in every frame with a shift that compares with the anchor's."""
    values = shifts["frame_shift"].to_numpy()
    good = np.isfinite(values).all(axis=1) & (shifts["component"].to_numpy() == 0)
    linear = get_linear(shifts)
    if not good.any():
        return None
    return find_shown_box(values[good], None if linear is None else linear[good], shape)


def make_napari_layers(shifts: xr.Dataset) -> list[dict[str, Any]]:
    """What napari needs to show every frame at its place: keyword arguments of ``add_image``.

    A layer for every frame with a shift that compares with the anchor's, of the image
    ``stack[frame:frame + 1]`` of the whole stack; all share the slider of time. ``frame`` is to be
    taken out. Where frames have a linear motion, ``affine`` has that and the shift, in the unit of
    the pixel size.
    """
    size, affines = get_pixel_size(shifts).tolist(), get_affines(shifts)
    values, component = shifts["frame_shift"].to_numpy(), shifts["component"].to_numpy()
    layers = []
    for index, (number, shift) in enumerate(
        zip(shifts["frame"].to_numpy().tolist(), values, strict=True)
    ):
        if not np.isfinite(shift).all() or component[index] != 0:
            continue
        layer: dict[str, Any] = {
            "frame": number,
            "name": f"frame {number}",
            "scale": [1.0, *size],
            "translate": [float(number), *(shift * size).tolist()],
        }
        if affines is not None:
            unit = np.diag([*size, 1.0])
            affine = np.eye(len(size) + 2)  # of time, too, which stays
            affine[1:, 1:] = unit @ affines[index] @ np.linalg.inv(unit)
            layer["translate"] = [float(number), *[0.0] * len(size)]
            layer["affine"] = affine.tolist()
        layers.append(layer)
    return layers
