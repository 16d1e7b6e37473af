"""What the page tells first of local motion, and which figures it has of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack import plot
from steadystack.model import LocalStatus, ReportImages
from steadystack.report.facts import list_facts
from steadystack.report.page import Page, draw_figures, list_figure_paths, save_figures
from support.local import with_local_shifts
from support.reported import FRAMES

LOCAL = {"local-shifts", "local-traces"}


@pytest.fixture(scope="module")
def shifts(report_folder):
    with xr.open_zarr(report_folder / "shifts.zarr") as found:
        return found.load()


def make_off():
    off = np.random.default_rng(0).normal(0, 0.2, (FRAMES, 5, 6, 2))
    off[4, 3, 2] = (0.9, 1.2)
    return off


@pytest.fixture
def without_drift(monkeypatch):
    """Figures of shifts are not drawn."""
    monkeypatch.setattr("steadystack.report.page._draw", lambda *_, **__: None)


@pytest.mark.usefixtures("without_drift")
@pytest.mark.parametrize("grid", [(5, 6), (9, 4), (3, 9)])
def test_all_that_is_written_has_room(shifts, grid):
    off = np.random.default_rng(0).normal(0, 0.2, (FRAMES, *grid, 2))
    status = np.where(np.arange(grid[1]) > 1, LocalStatus.OK.code, LocalStatus.FRAME.code)
    local = with_local_shifts(shifts, off, status=status)
    figure = {name: each for name, _, each in draw_figures(local, ReportImages())}["local-shifts"]
    figure.draw_without_rendering()
    ax = figure.axes[0]
    key = next(text for text in ax.texts if "px" in text.get_text())
    title, words, label = (
        text.get_window_extent() for text in (ax.title, key, ax.get_xaxis().get_label())
    )
    for box in (title, words, label):
        assert figure.bbox.contains(*box.min)
        assert figure.bbox.contains(*box.max)
    assert ax.get_window_extent().y1 < words.y0 < words.y1 < title.y0
    assert label.y1 < ax.get_window_extent().y0


def names_of(shifts):
    return {name for name, _, _ in draw_figures(shifts, ReportImages())}


@pytest.mark.usefixtures("without_drift")
def test_the_farthest_node_is_reported_and_drawn(shifts):
    local = with_local_shifts(shifts, make_off())
    told = "up to 1.50 ± 0.14 px from the shift of the frame: frame 4 at y 30, x 20, of 5 x 6 nodes"
    assert dict(list_facts(local))["local motion"] == told
    assert names_of(local) - names_of(shifts) == LOCAL
    status = np.full((FRAMES, 5, 6), LocalStatus.FRAME.code)
    unseen = dict(list_facts(with_local_shifts(shifts, make_off(), status=status)))
    assert unseen["local motion"] == f"{told}; nothing is seen there"
    further = make_off()
    further[:, 0, 0] = (3, 3)
    status[:, 1:] = LocalStatus.OK.code
    seen = dict(list_facts(with_local_shifts(shifts, further, status=status)))
    assert seen["local motion"] == told
    edited = dict(list_facts(with_local_shifts(shifts, make_off(), np.nan)))
    assert edited["local motion"] == told.replace(" ± 0.14", "")


@pytest.mark.usefixtures("without_drift")
def test_arrows_lie_on_the_mean_of_the_moved_frames(shifts, tmp_path, monkeypatch):
    local = with_local_shifts(shifts, make_off())
    mean = np.random.default_rng(1).normal(size=(2, 41, 51))
    views = ReportImages(images={"mean": tuple(mean)})
    drawn = [each for each in draw_figures(local, views) if each[0] in LOCAL]
    monkeypatch.setattr("steadystack.report.page.draw_figures", lambda *_: iter(drawn))
    _, caption, figure = drawn[-1]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), mean[1])
    assert "on the mean" in caption
    assert "up to 1.50 ± 0.14 px" in caption
    paths = save_figures(Page("bent", local, "good", [], views), str(tmp_path))
    assert set(paths) <= set(list_figure_paths(str(tmp_path)))
    written = {f"{tmp_path}/{name}.{suffix}" for name in LOCAL for suffix in ("png", "svg")}
    assert written == set(paths)
    assert all(Path(path).stat().st_size > 5000 for path in paths)


@pytest.mark.usefixtures("without_drift")
def test_no_figure_of_local_motion_where_there_is_none(shifts, monkeypatch):
    assert "local motion" not in dict(list_facts(shifts))  # another model
    monkeypatch.setattr(plot, "local_shifts", None)
    monkeypatch.setattr(plot, "local_traces", None)
    assert not names_of(shifts) & LOCAL
    flat = with_local_shifts(shifts, np.zeros((FRAMES, 5, 6, 2)), status=LocalStatus.FRAME.code)
    assert not names_of(flat) & LOCAL
    told = "none is seen: all 5 x 6 nodes have the shift of their frame"
    assert dict(list_facts(flat))["local motion"] == told


def test_turns_about_each_axis_are_reported_where_they_are_known(shifts):
    assert not any("turn" in name for name, _ in list_facts(shifts))
    vector, std = (np.full((FRAMES, 2), np.nan) for _ in range(2))
    vector[:3], std[:3] = [[0, 0], [0.5, -1.25], [0.25, 0]], [[0, 0], [0.01, 0.02], [0.03, 0.04]]
    dims = ("frame", "axis")
    turned = shifts.assign(
        frame_rotation_vector=(dims, vector), frame_rotation_vector_std=(dims, std)
    )
    assert [fact for fact in list_facts(turned) if "turn" in fact[0]] == [
        ("turn about y", "+0.000 to +0.500 degree ± 0.010"),
        ("turn about x", "-1.250 to +0.000 degree ± 0.020"),
    ]


@pytest.fixture(scope="module")
def volume_shifts():
    """Of volumes that move by whole pixels."""
    volume = np.random.default_rng(1).normal(size=(10, 24, 28))
    frames = np.stack([np.roll(volume, frame % 3, axis=2) for frame in range(FRAMES)])
    return steadystack.estimate_shifts(
        frames, max_shift=3, defects=None, parts=None, field_of_view=None
    )


@pytest.mark.usefixtures("without_drift", "unchecked")
def test_of_volumes_the_plane_of_the_farthest_node_is_drawn(volume_shifts):
    off = np.random.default_rng(0).normal(0, 0.2, (FRAMES, 3, 5, 6, 3))
    off[4, 1, 3, 2] = (0.5, 0.9, 1.2)
    local = with_local_shifts(volume_shifts, off)
    told = dict(list_facts(local))["local motion"]
    assert re.search(r"up to 1\.58 ± .*frame 4 at z 10, y 30, x 20, of 3 x 5 x 6 nodes", told)
    nodes = plot.NodeShifts.of(local)
    np.testing.assert_allclose(nodes.off, off[:, 1])
    figures = {name: each for name, _, each in draw_figures(local, ReportImages())}
    assert "along y and x, at z 10" in figures["local-shifts"].axes[0].get_title()
    assert "z 10, y 30, x 20" in figures["local-traces"].axes[0].get_title()
