"""Write the report and the movie of solved shifts, and export them for other programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray

from steadystack.checks import list_boxes
from steadystack.cluster import Engine
from steadystack.config import Config
from steadystack.correction import (
    SeriesImages,
    find_movements,
    get_motion,
    make_before_and_after,
    make_mean_before_and_after,
)
from steadystack.dataset import check_replaceable, load_shifts, read_frames, read_pairs, save_shifts
from steadystack.durable import TARGET, check_link, get_place, make_absolute
from steadystack.exports import (
    AFFINES,
    DISPLACEMENTS,
    check_export_target,
    explain_local,
    find_common_part,
    find_export_suffix,
    list_measured_files,
    locate_measured_stack,
    make_affine_list,
    make_biahub_settings,
    make_bigdataviewer_xml,
    make_displacements,
    make_frame_rows,
    make_motions,
    make_napari_layers,
)
from steadystack.model import (
    PILOT,
    UNSOLVED,
    InputError,
    Pilot,
    ReportImages,
    hide_in_values,
    hide_secrets,
    list_unseen,
)
from steadystack.motion import ModelChoice
from steadystack.movie import Movie, plan_movie, write_movie
from steadystack.object_windows import measure_in_windows
from steadystack.outputs import (
    Origin,
    check_of_run,
    check_own_fields,
    check_own_file,
    name_run,
    replacing_own_fields,
    replacing_own_file,
    write_fields,
    write_rows,
    writing_at_once,
)
from steadystack.planning import CorrectedPlan, Setup
from steadystack.quality import make_close_ups, verdict
from steadystack.readers import StackSpec
from steadystack.report import (
    Page,
    check_report_path,
    draw_series,
    save_figure,
    save_figures,
    save_page,
)
from steadystack.run_log import read_log_lines
from steadystack.stages.correcting import Progress, Summary, check_solved, log_progress
from steadystack.stages.results import add_camera_images
from steadystack.stages.solving import name_state
from steadystack.warp import AnyMotion, Box, LocalField

# Fewest and most frames used for the images before and after, depending on their size.
PICTURED_PIXELS, PICTURED = 2**27, (16, 200)


def check_report(config: Config, *, overwrite: bool = False) -> None:
    """Refuse a report that could not be written later, or would replace that of another run.

    With `overwrite` it may replace it.
    """
    path = config.output.report
    if path is None:
        return
    check_report_path(path)
    if not overwrite:
        check_of_run(path, name_run(config.output.shifts, path), "output.report")


def write_report(setup: Setup, shifts: xr.Dataset, path: str, figures: str | None = None) -> None:
    """Write the report of solved shifts, in the suffix's format; figures to a folder, if given."""
    name = hide_secrets(setup.config.input.one_path).rstrip("/").rsplit("/", 1)[-1]
    judgement, run = verdict(shifts), name_state(setup, shifts, path)
    is_page = Path(path).suffix == ".html"
    if not is_page:
        drawn = draw_series(shifts, *_make_means(setup, shifts), f"{name}: {judgement}")
        save_figure(drawn, path, run=run)
    if not is_page and figures is None:
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
        unseen=list_unseen(shifts.attrs),
        run=run,
    )
    if is_page:
        save_page(page, path)
    if figures is not None:
        save_figures(page, figures)


def find_boxes_left_out(setup: Setup, shifts: xr.Dataset) -> list[list[tuple[int, int]]]:
    """Find the boxes of parts of the frame that were left out, before measuring or by the solve.

    Each gives its first pixel and one past the last, along the last two axes.
    """
    found = Pilot.parse(shifts.attrs[PILOT]).parts if PILOT in shifts.attrs else None
    boxes = [list(box[-2:]) for box in found.boxes] if found is not None else []
    region, places = setup.method.whole_region, setup.series.places
    if places is not None:
        place = places[setup.config.solve.anchor].tolist()
        region = tuple(
            slice(side.start + first, side.stop + first)
            for side, first in zip(region, place, strict=True)
        )
    left_out = list_boxes(region, read_frames(shifts).parts_left_out)
    return boxes + [[(side.start, side.stop) for side in box[-2:]] for box in left_out]


def write_configuration(shifts: xr.Dataset) -> str:
    """The settings as YAML, with what was tried to decide on some of them."""
    settings = hide_in_values(json.loads(shifts.attrs["configuration"]))
    text: str = yaml.safe_dump(settings, sort_keys=False)
    choice = ModelChoice.in_force(shifts.attrs)
    if choice is not None:
        text = f"# motion.model: auto, chosen once:\n#   {choice.describe()}\n{text}"
    if PILOT not in shifts.attrs:
        return text
    tried = "\n".join(f"#   {line}" for line in Pilot.parse(shifts.attrs[PILOT]).describe())
    return f"# Decided before measuring, on a few pairs:\n{tried}\n{text}"


def make_report_images(setup: Setup, shifts: xr.Dataset) -> ReportImages:
    """Images of the series before and after, and the pairs that fit worst."""
    table, frames = read_pairs(shifts), read_frames(shifts)
    setup = add_camera_images(setup, keep_at=setup.shifts_path.rstrip("/"), again=True)
    source, method = setup.series.source, replace(setup.method, places=None)
    in_windows = measure_in_windows(table, setup.series.places)
    pictured = setup.series.source_before_pilot
    shown = np.flatnonzero(np.isfinite(frames.shift).all(axis=1))

    def seen(chosen: NDArray[np.intp]) -> tuple[SeriesImages, SeriesImages]:
        return make_before_and_after(
            pictured, frames.shift, linear=get_motion(shifts), frames=chosen
        )

    if not len(shown):
        return ReportImages(close_ups=make_close_ups(source, method, in_windows, frames))
    most = int(np.clip(PICTURED_PIXELS // math.prod(pictured.frame_shape), *PICTURED))
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
        close_ups=make_close_ups(source, method, in_windows, frames),
    )


def _make_means(setup: Setup, shifts: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    source, shift = setup.series.source_before_pilot, shifts["frame_shift"].to_numpy()
    return make_mean_before_and_after(source, shift, linear=get_motion(shifts))


def film_solved(
    setup: Setup,
    shifts: xr.Dataset,
    client: Engine,
    *,
    overwrite: bool = False,
    may_replace: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write the movie of a solved run: the measured frames, recorded and corrected side by side."""
    check_solved(setup, shifts)
    how = setup.config.correct
    movements = find_movements(shifts, interpolated=how.interpolated, unusable=how.unusable)
    movie = _plan_film(
        setup, movements.shift, movements.linear, shifts.attrs.get("fingerprint", "")
    )
    write_movie(
        movie,
        client,
        overwrite=overwrite,
        may_replace=may_replace,
        progress=log_progress(progress, "frames"),
    )
    count, shape = len(movie.captions), movie.make_page().shape
    return Summary(
        movie.path, count, blank=0, shape=shape, levels=1, tasks=count, task_bytes=0, what="movie"
    )


def forecast_movie(setup: Setup) -> CorrectedPlan:
    """Forecast the movie of a run; it does not depend on the shifts."""
    series, source = setup.series, setup.series.source
    movie = _plan_film(setup, np.zeros((source.frame_count, len(source.frame_shape))))
    is_shifted = not setup.config.motion.is_more_than_shift
    return CorrectedPlan(
        shape=(len(movie.captions), *movie.make_page().shape),
        levels=0,
        tasks=len(movie.captions),
        task_bytes=movie.estimate_task_bytes(series.pixel_bytes, series.chunk_bytes, is_shifted),
        written_bytes=movie.picture_bytes,
        known=True,
        what="movie",
    )


def _plan_film(
    setup: Setup,
    shift: NDArray[np.float64],
    linear: AnyMotion | None = None,
    fingerprint: str = "",
) -> Movie:
    """Plan the movie of a run whose frames are moved as `find_movements` says."""
    series, validity = setup.series, setup.series.validity
    path = str(setup.config.output.movie)
    return plan_movie(
        path,
        series.source_before_pilot,
        shift,
        linear,
        numbers=series.frame_numbers,
        time=series.time,
        pixel_size=series.pixel_size,
        unit=series.unit,
        labels=setup.config.correct.labels,
        made_of=[
            series.digest,
            *(validity.border, validity.invalid_values, validity.saturation, validity.valid_range),
        ],
        origin=Origin(fingerprint=fingerprint, run=name_run(setup.config.output.shifts, path)),
    )


def export(shifts: str, target: str, *, overwrite: bool = False) -> Box | None:
    """Write a shifts dataset as another file, by the suffix of `target`.

    ``.csv``: a row per frame, with its file if each is in one of many; ``.json``: a layer of napari
    per frame; ``.affines.json``: a matrix per frame; ``.yml``, ``.yaml``: settings of biahub;
    ``.xml``: BigDataViewer; ``.displacements.ome.zarr``: fields that move points, OME-Zarr 0.6;
    ``.nc``: all of it, NetCDF.

    Returns
    -------
    The box that is seen in every good frame, pixels of the anchor frame; None if there is none, or
    if the stack is not there any more to tell the shape of a frame.

    Raises
    ------
    InputError
        If there is no such dataset, if it is not solved, or if the target exists or cannot be one.
    """
    target = check_link(target, make_absolute(target.rstrip("/"), Path.cwd()))  # links stay
    suffix = find_export_suffix(target)
    _check_target(target, suffix, overwrite)
    dataset = load_shifts(shifts)
    if (dataset["component"] == UNSOLVED).all():
        raise InputError(f"{shifts} is not solved yet: run `steadystack solve` first")
    check_export_target(target, shifts, dataset)
    with get_place(target).holding_lock(TARGET):
        _check_target(target, suffix, overwrite)  # it may have been written meanwhile
        return _export(shifts, dataset, target, suffix)


def _check_target(target: str, suffix: str, overwrite: bool) -> None:
    """Refuse to export to an existing target, or to replace one that is not ours."""
    if get_place(target).is_occupied() and not overwrite:
        raise InputError(f"{target} exists: use --overwrite, or another name")
    check = {".nc": check_replaceable, DISPLACEMENTS: check_own_fields}.get(suffix, check_own_file)
    check(target)


def _export(shifts: str, dataset: xr.Dataset, target: str, suffix: str) -> Box | None:
    spec = locate_measured_stack(dataset)
    shape = None if spec is None else spec.frame_shape
    is_made = suffix in (DISPLACEMENTS, ".nc", ".csv")
    moved = make_displacements(dataset, spec, target, shifts) if suffix == DISPLACEMENTS else None
    text = None if is_made else _make_text(dataset, spec, target)
    with writing_at_once(target):
        if suffix == ".nc":
            save_shifts(dataset, target, at_once=True)
        elif moved is not None:
            with replacing_own_fields(target) as partial:
                write_fields(partial, moved.attributes, moved.about, moved.fields)
        else:
            with replacing_own_file(target) as partial:
                if text is None:
                    write_rows(
                        partial, make_frame_rows(dataset, shape, list_measured_files(dataset, spec))
                    )
                else:
                    partial.write_bytes(text)
    return None if shape is None else find_common_part(dataset, shape)


def _make_text(shifts: xr.Dataset, spec: StackSpec | None, target: str) -> bytes:
    """Make the content of a motion file for another program, by the file's suffix."""
    if isinstance(get_motion(shifts), LocalField):
        raise explain_local(target)
    motions, suffix = make_motions(shifts, spec), PurePath(target).suffix
    if suffix == ".xml":
        return make_bigdataviewer_xml(motions, spec, target)
    if suffix != ".json":
        settings = make_biahub_settings(motions, spec)
        return yaml.safe_dump(settings, sort_keys=False, default_flow_style=None).encode()
    told = make_affine_list(motions) if target.endswith(AFFINES) else make_napari_layers(motions)
    return json.dumps(told, indent=1).encode()
