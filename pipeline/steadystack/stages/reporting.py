"""The report of a solved run: one picture, or one page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray

from steadystack.correction import SeriesImages, before_and_after, mean_before_and_after
from steadystack.dataset import read_frames, read_pairs
from steadystack.model import Views
from steadystack.planning import Setup
from steadystack.quality import close_ups
from steadystack.report import Page, save_figure, save_figures, save_page, series_figure
from steadystack.stages.log import lines_of
from steadystack.stages.results import verdict, with_stills

# Frames that images before and after are made of: so few and so many, by what they hold.
PICTURED_PIXELS, PICTURED = 2**27, (16, 200)


def write_report(setup: Setup, shifts: xr.Dataset, path: str, figures: str | None = None) -> None:
    """Write the report of solved shifts, by its suffix; and its figures into a folder, if asked."""
    name = setup.config.input.one_path.rstrip("/").rsplit("/", 1)[-1]
    found = verdict(shifts)
    if Path(path).suffix != ".html" and figures is None:
        before, after = _means(setup, shifts)
        save_figure(series_figure(shifts, before, after, f"{name}: {found}"), path)
        return
    page = Page(
        title=name,
        shifts=shifts,
        trust=str(found.trust),
        reasons=found.reasons,
        views=views(setup, shifts),
        configuration=yaml.safe_dump(json.loads(shifts.attrs["configuration"]), sort_keys=False),
        versions=json.loads(shifts.attrs["versions"]),
        log=lines_of(setup.config),
    )
    save_page(page, path)
    if figures is not None:
        save_figures(page, figures)


def views(setup: Setup, shifts: xr.Dataset) -> Views:
    """Images of the series before and after, and the pairs that fit worst."""
    table, frames = read_pairs(shifts), read_frames(shifts)
    setup = with_stills(setup, keep_at=setup.config.output.shifts.rstrip("/"), again=True)
    source = setup.series.source
    known = np.flatnonzero(np.isfinite(frames.shift).all(axis=1))

    def seen(chosen: NDArray[np.intp]) -> tuple[SeriesImages, SeriesImages]:
        return before_and_after(source, frames.shift, frames=chosen)

    if not len(known):
        return Views(close_ups=close_ups(source, setup.method, table, frames))
    most = int(np.clip(PICTURED_PIXELS // math.prod(source.frame_shape), *PICTURED))
    spread = known[np.unique(np.linspace(0, len(known) - 1, most).round().astype(int))]
    before, after = seen(spread)
    singles = {}
    for frame in dict.fromkeys(known[[0, len(known) // 2, -1]].tolist()):
        still, moved = seen(np.array([frame]))
        singles[f"frame {frame}"] = still.mean, moved.mean
    return Views(
        images={
            "mean": (before.mean, after.mean),
            "maximum": (before.maximum, after.maximum),
            **singles,
        },
        kymographs={
            axis: (before.kymographs[axis][spread], after.kymographs[axis][spread])
            for axis in before.kymographs
        },
        span=(int(spread[0]), int(spread[-1])),
        close_ups=close_ups(source, setup.method, table, frames),
    )


def _means(setup: Setup, shifts: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return mean_before_and_after(setup.series.source, shifts["frame_shift"].to_numpy())
