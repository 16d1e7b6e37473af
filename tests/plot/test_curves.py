"""Plots draw what the dataset holds, on the axes that they are given."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from steadystack import plot
from steadystack.dataset import read_frames, read_pairs
from steadystack.model import InputError, PairStatus
from support.reported import FRAMES


@pytest.fixture(scope="module")
def folder(report_folder):
    return report_folder


@pytest.fixture(scope="module")
def shifts(folder):
    with xr.open_zarr(folder / "shifts.zarr") as found:
        return found.load()


@pytest.fixture
def ax():
    return Figure().subplots()


def test_plots_draw_on_the_axes_given_and_return_them(shifts, ax):
    assert plot.drift(shifts, ax) is ax
    lines = {line.get_label(): line for line in ax.lines}
    for axis in "yx":
        np.testing.assert_array_equal(
            lines[axis].get_ydata(), -shifts["frame_shift"].sel(axis=axis)
        )
        np.testing.assert_array_equal(lines[axis].get_xdata(), shifts["time"])
    assert ax.get_xlabel() == "time / second"


def test_drift_in_the_unit_of_the_pixel_size(shifts, ax):
    plot.drift(shifts, ax, physical=True)
    np.testing.assert_array_equal(
        ax.lines[0].get_ydata(), -0.5 * shifts["frame_shift"].sel(axis="y")
    )
    assert ax.get_ylabel() == "drift / micrometer"
    unknown = shifts.assign(pixel_size=shifts["pixel_size"] * np.nan)
    with pytest.raises(InputError, match="pixel size is not known"):
        plot.drift(unknown, ax, physical=True)


def test_the_matrix_shows_the_largest_residual_of_every_cell(shifts, ax):
    table, frames = read_pairs(shifts), read_frames(shifts)
    plot.residuals(shifts, ax, kind="matrix")
    image = ax.images[0].get_array()
    assert image.shape == (FRAMES - 1, FRAMES - 1)  # references 0 to 10 by moving frames 1 to 11
    size = np.sqrt((frames.residual**2).sum(axis=1))
    for reference, moving, status, found in zip(
        table.reference, table.moving, table.status, size, strict=True
    ):
        cell = image[moving - 1, reference]
        if status == PairStatus.OK.code:
            assert cell == pytest.approx(found)
        else:
            assert np.ma.getmaskarray(image)[moving - 1, reference] or np.isnan(cell)


def test_other_plots_return_their_axes(shifts, ax):
    for draw in (plot.path, plot.residuals, plot.pairs):
        assert draw(shifts, ax) is ax
    assert plot.kymograph(np.random.default_rng(0).normal(size=(9, 5)), ax) is ax
    assert plot.kymograph(np.ones((3, 5)), ax, span=(10, 30)).images[-1].get_extent() == [
        9.5, 30.5, 4.5, -0.5,
    ]  # fmt: skip
    both = tuple(Figure().subplots(1, 2))
    stack = xr.DataArray(np.random.default_rng(0).normal(size=(3, 5, 6)), dims=("t", "y", "x"))
    assert plot.before_after(stack, stack[0], both) == both
    np.testing.assert_allclose(both[0].images[0].get_array(), stack.mean("t"))
