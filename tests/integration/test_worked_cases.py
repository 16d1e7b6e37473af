"""The worked cases of configs/, each on a small series of the kind that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from click.testing import CliRunner
from scipy import ndimage

import steadystack
from steadystack import quality
from steadystack.cli import main
from steadystack.config import Config, load_config
from steadystack.model import Trust
from steadystack.outputs import write_image, write_stack
from support import CONFIGS
from support.members import slow_but
from support.runs import GENERAL
from support.scenes import Scene

SIZE = (96, 104)


def walk(rng, frames, step=1.0, ndim=2):
    steps = rng.normal(0, step, (frames, ndim))
    return np.cumsum(steps, axis=0) - steps[0]


def fluorescence_cells(folder, rng):
    """Cells of 5 px that crawl by 0.3 px a frame; the other channel is never the same."""
    truth = walk(rng, 16)
    cells = rng.uniform(-20, np.array(SIZE) + 20, (120, 2))
    crawl = np.cumsum(rng.normal(0, 0.3, (len(truth), 120, 2)), axis=0)
    height = rng.uniform(0.5, 1, 120)
    y, x = np.indices(SIZE)
    nuclei = np.zeros((len(truth), *SIZE))
    for frame, shift, way in zip(nuclei, truth, crawl, strict=True):
        places = cells + way - shift
        for (cy, cx), high in zip(places, height, strict=True):
            frame += high * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 2.5**2))
    haze = 2 * np.exp(-((y - 50) ** 2 + (x - 40) ** 2) / (2 * 60**2))
    stack = np.stack([rng.random(nuclei.shape), nuclei + haze], axis=1)
    stack = rng.poisson(200 * stack + 100)
    path = folder / "cells.ome.zarr"
    write_stack(path, stack.astype("u2"), axes="tcyx", pixel_size=(0.3, 0.3), frame_interval=60)
    group = zarr.open_group(path, mode="a")
    channels = {"channels": [{"label": name} for name in ("signal", "nuclei")]}
    group.attrs["ome"] = {**group.attrs["ome"], "omero": channels}
    return truth, 0.15  # what 120 cells do together


def diffraction(folder, rng):
    """Rings over decades of counts behind a beam stop, some saturated."""
    truth = walk(rng, 8, 0.8)
    y, x = np.indices(SIZE)
    frames = []
    for dy, dx in truth:
        radius = np.hypot(y + dy - 48, x + dx - 52)
        rings = np.exp(-radius / 12) * (1.2 + np.cos(radius * 0.7))
        spots = Scene(1, detail=1.5, waves=200).view(SIZE, (dy, dx))
        frames.append(rng.poisson(30000 * rings * np.exp(0.5 * spots) + 5))
    stop = (np.hypot(y - 48, x - 52) > 10) & ~((np.abs(x - 52) < 4) & (y > 48))
    stack = np.minimum(np.stack(frames), 65535)
    write_stack(folder / "patterns.zarr", stack.astype("u2"))
    write_image(folder / "beamstop.zarr", stop)
    return truth, 0.05


def video_microscopy(folder, rng):
    """Particles under uneven light, and debris that stands still."""
    truth = walk(rng, 24, 0.4)
    scene = Scene(2)
    light = 1 - 0.4 * ((np.indices(SIZE).T / SIZE - 0.5) ** 2).sum(-1).T
    frames = np.stack([light * (6 + scene.view(SIZE, shift)) for shift in truth])
    mask = np.ones(SIZE, bool)
    mask[20:50, 60:90] = False
    frames[:, ~mask] = 12
    frames = rng.poisson(100 * frames)
    write_stack(folder / "stack.ome.zarr", frames.astype("u2"), pixel_size=(0.1, 0.1))
    write_image(folder / "mask.zarr", mask)
    return truth, 0.05


def mask_per_frame(folder, rng):
    """Clouds over a third of every frame, and two frames under clouds altogether."""
    truth = walk(rng, 10, 0.8)
    scene = Scene(3)
    frames = np.stack([scene.view(SIZE, shift) for shift in truth]) + 10
    clouds = np.stack([ndimage.gaussian_filter(rng.normal(size=SIZE), 8) for _ in truth])
    masks = clouds < np.quantile(clouds, 0.67)
    frames = np.where(masks, frames + 0.1 * rng.normal(size=frames.shape), 20)
    frames[[3, 7]] = 20 + rng.normal(size=(2, *SIZE))
    masks[[3, 7]] = True
    write_stack(folder / "stack.zarr", frames.astype("f4"))
    write_image(folder / "mask.zarr", masks)
    return truth, 0.05


def low_dose_em(folder, rng):
    """Counts of less than one a pixel, a drift that slows down, hot pixels and cosmic rays."""
    truth = np.array([[3, -2]]) * (1 - np.exp(-np.arange(20) / 6))[:, None]
    scene = Scene(4, detail=1.2)
    dose = np.exp(0.8 * np.stack([scene.view(SIZE, shift) for shift in truth]))
    frames = rng.poisson(0.7 * dose).astype("u2")
    frames[:, *rng.integers(0, 96, (2, 30))] = 500
    for frame in frames:
        frame[*rng.integers(0, 96, (2, 5))] = 3000
    write_stack(folder / "movie.zarr", frames)
    return truth, 0.1


def volume(folder, rng):
    """Volumes of 20 planes 2 µm apart, of pixels of 0.4 µm."""
    truth = walk(rng, 6, 1.0, ndim=3) * [0.4, 1, 1]
    scene, shape = Scene(5, ndim=3), (20, 48, 52)
    frames = np.stack([scene.view(shape, shift) for shift in truth])
    frames = rng.poisson(50 * np.exp(0.5 * frames))
    write_stack(
        folder / "volumes.ome.zarr", frames.astype("u2"), axes="tzyx", pixel_size=(2, 0.4, 0.4)
    )
    return truth, 0.05


CASES: dict[str, Callable] = {
    "fluorescence-cells": fluorescence_cells,
    "diffraction": diffraction,
    "video-microscopy": video_microscopy,
    "mask-per-frame": mask_per_frame,
    "low-dose-em": low_dose_em,
    "volume": volume,
}


@pytest.mark.parametrize("name", slow_but(list(CASES)[1:4], CASES))
def test_a_worked_case_finds_the_drift_and_is_called_good(name, tmp_path):
    truth, limit = CASES[name](tmp_path, np.random.default_rng(7))
    raw = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    raw["cluster"] = {"kind": "in-process"}
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw))
    config = load_config(path)
    found = steadystack.run(config)
    off = found["frame_shift"].to_numpy() - truth
    known = np.isfinite(off).all(axis=1)
    off -= np.median(off[known], axis=0)
    assert np.sqrt(np.mean(off[known] ** 2)) < limit
    verdict = quality.verdict(found)
    assert known.sum() >= len(truth) - 2
    assert verdict.trust is (Trust.CHECK if not known.all() else Trust.GOOD), verdict
    assert config.output.report is None or Path(config.output.report).stat().st_size > 10_000


def test_a_plate_has_a_dataset_and_a_page_for_every_well(tmp_path):
    wells = {"A-1": (0.0, 1.0), "B-2": (0.7, -0.4)}
    for seed, (name, step) in enumerate(wells.items()):
        shifts, scene = np.arange(8)[:, None] * np.array([step]), Scene(seed)
        frames = np.stack([200 * scene.view((64, 72), shift) for shift in shifts])
        path = tmp_path / "plate.ome.zarr" / name.replace("-", "/") / "0"
        write_stack(path, (1000 + frames).astype("u2")[:, None], axes="tcyx")
        zarr.open_group(path.parent, mode="a").attrs["ome"] = {"well": {"images": [{"path": "0"}]}}
    listed = {"wells": [{"path": name.replace("-", "/")} for name in wells]}
    zarr.open_group(tmp_path / "plate.ome.zarr", mode="a").attrs["ome"] = {"plate": listed}
    raw = yaml.safe_load((CONFIGS / "plate.yaml").read_text())
    (tmp_path / "plate.yaml").write_text(yaml.safe_dump({**raw, "cluster": {"kind": "in-process"}}))
    done = CliRunner().invoke(main, ["run", str(tmp_path / "plate.yaml")])
    assert done.exit_code == 0, done.output
    for name, step in wells.items():
        with xr.open_zarr(tmp_path / "plate-shifts" / f"{name}-0.zarr") as found:
            np.testing.assert_allclose(found["frame_shift"][-1], 7 * np.array(step), atol=0.05)
        assert (tmp_path / "plate-shifts" / f"{name}-0.html").exists()
    lines = (tmp_path / "plate-shifts" / "summary.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [[f"{name}-0", "done"] for name in wells]


def test_every_example_has_its_test():
    elsewhere = {"plate", "slurm"}
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(CASES) | set(GENERAL) | elsewhere


def test_editors_complete_the_keys_that_there_are():
    """The schema beside the examples is today's, and every example names it."""
    held = json.loads((CONFIGS / "schema.json").read_text())
    assert held == Config.model_json_schema(), (
        "make it anew: steadystack schema > configs/schema.json"
    )
    for path in CONFIGS.glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n"), path
