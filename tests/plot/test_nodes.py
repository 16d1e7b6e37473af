"""Local shifts as they are drawn: arrows as long as the dataset says, nodes over time."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from steadystack import plot
from steadystack.model import InputError, LocalStatus
from support.local import with_local_shifts
from support.reported import BLANK, FRAMES

GRID, WORST = (7, 8), (5, 4, 2)  # a grid of nodes; frame, row and column
SEEN, ALONE = LocalStatus.OK.code, LocalStatus.FRAME.code


@pytest.fixture(scope="module")
def shifts(report_folder):
    with xr.open_zarr(report_folder / "shifts.zarr") as found:
        return found.load()


def bent(shifts, grid=GRID, worst=WORST, seed=0):
    """The dataset with local shifts, some of which are not seen or not known, and those."""
    rng = np.random.default_rng(seed)
    off = rng.normal(0, 0.5, (FRAMES, *grid, 2))
    off[worst] = (3.0, -4.0)
    off[:, 0, 0] = np.nan
    status = np.full((FRAMES, *grid), SEEN)
    status[:, :, -1] = ALONE
    return with_local_shifts(shifts, off, status=status), off


def arrows_of(ax):
    """Tails, tips in pixels of the axes, and whether filled, of all arrows as they are drawn.

    Rows of (y, x); the key's arrow is the last.
    """
    ax.figure.draw_without_rendering()
    tails, tips, filled = [], [], []
    for quiver in (each for each in ax.collections if isinstance(each, Quiver)):
        to_screen, to_pixels = quiver.get_transform(), ax.transData.inverted()
        for (x, y), path in zip(quiver.XY, quiver.get_paths(), strict=True):
            corners = to_screen.transform(path.vertices)  # from the tail, at 0
            tip = corners[np.linalg.norm(corners, axis=1).argmax()]
            begin = ax.transData.transform((x, y))
            tails.append((y, x))
            tips.append(to_pixels.transform(begin + tip)[::-1])
            filled.append(quiver.get_facecolor()[0, 3] > 0 if len(quiver.get_facecolor()) else 0)
    return np.array(tails), np.array(tips), np.array(filled, bool)


def test_arrows_are_as_long_as_local_shifts_less_that_of_the_frame(shifts):
    local, off = bent(shifts)
    ax = plot.local_shifts(local, Figure((8, 8)).subplots(), image=np.ones((61, 71)))
    tails, tips, _ = arrows_of(ax)
    y, x = (10 * np.arange(count) for count in GRID)
    assert {tuple(tail) for tail in tails[:-1]} == {(a, b) for a in y for b in x} - {(0, 0)}
    rows, columns = (tails[:-1] / 10).round().astype(int).T
    shown, said = tips - tails, off[WORST[0], rows, columns]
    words = next(each.get_text() for each in ax.texts if "px" in each.get_text())
    length = float(re.match(r"(\S+) px = (\S+) micrometer", words)[1])
    assert words == f"{length:g} px = {length / 2:g} micrometer"
    assert 5 / 3 < length <= 5
    magnified = shown[-1, 1] / length  # the key points to the right
    is_long = np.linalg.norm(said, axis=1) > 0.2  # of a short arrow the head is all there is
    assert is_long.sum() > 40
    np.testing.assert_allclose(shown[:-1][is_long], magnified * said[is_long], atol=0.15)
    assert np.linalg.norm(shown, axis=1).max() == pytest.approx(10, abs=0.1)  # as nodes are apart
    assert "frame 5:" in ax.get_title()
    np.testing.assert_array_equal(ax.images[0].get_array(), np.ones((61, 71)))
    inside = (ax.get_xlim(), ax.get_ylim()[::-1])
    for (low, high), at in zip(inside, tips[:-1].T[::-1], strict=True):
        assert (at > low - 0.1).all()
        assert (at < high + 0.1).all()


def test_nodes_that_are_not_seen_are_hollow_and_unknown_ones_not_drawn(shifts):
    local, _ = bent(shifts)
    ax = plot.local_shifts(local, Figure().subplots())
    tails, _, filled = arrows_of(ax)
    np.testing.assert_array_equal(filled[:-1], tails[:-1, 1] < 10 * (GRID[1] - 1))
    assert (0, 0) not in {tuple(tail) for tail in tails}
    assert "hollow" in ax.get_title()
    all_seen = local.assign(frame_local_status=local["frame_local_status"] * 0 + SEEN)
    ax = plot.local_shifts(all_seen, Figure().subplots())
    assert arrows_of(ax)[2].all()
    assert "hollow" not in ax.get_title()


def test_arrows_that_are_not_seen_do_not_make_others_short(shifts):
    local, off = bent(shifts)
    for further, longest in ((8.0, 10), (50.0, 2)):
        off[WORST[0], 2, -1] = (0, -further)
        local = with_local_shifts(shifts, off, status=local["frame_local_status"].to_numpy())
        tails, tips, filled = arrows_of(plot.local_shifts(local, Figure((8, 8)).subplots()))
        length = np.linalg.norm(tips - tails, axis=1)
        assert length[filled].max() == pytest.approx(longest, abs=0.2)
        assert length.max() == pytest.approx(longest * further / 5, abs=0.2)


def test_arrows_of_many_nodes_are_thinned(shifts):
    worst = (3, 33, 50)
    local, _ = bent(shifts, (65, 65), worst)
    ax = plot.local_shifts(local, Figure().subplots())
    tails, tips, _ = arrows_of(ax)
    assert 200 < len(tails) <= 17**2 + 5
    at = np.flatnonzero((tails == np.multiply(10, worst[1:])).all(axis=1))
    assert len(at) == 1
    assert np.linalg.norm(tips[at] - tails[at]) == pytest.approx(40, abs=0.5)


def test_curves_are_those_of_the_nodes_that_move_most(shifts):
    local, off = bent(shifts)
    off[:, 1, 7] = 1.5  # never seen: not the farthest, no curve
    off[:, 2, 6] = (np.linspace(0, 2, FRAMES)[:, None] * (1, -1)) + 0.01
    off[:, 4, 3] = 2.9  # beside the farthest
    local = with_local_shifts(shifts, off, 0.2, local["frame_local_status"].to_numpy())
    local["frame_local_status"][8, 2, 6] = ALONE
    nodes = plot.NodeShifts.of(local)
    chosen = nodes.choose_apart()
    assert chosen[:2] == [WORST[1:], (2, 6)]
    assert len(chosen) == 4
    places = np.array(chosen) * 10
    apart = np.linalg.norm(places[:, None] - places, axis=-1)[~np.eye(4, dtype=bool)]
    assert apart.min() >= 70 / 4
    axes = plot.local_traces(local, list(Figure((9, 3)).subplots(1, 4)))
    for number, (ax, (row, column)) in enumerate(zip(axes, chosen, strict=True), start=1):
        assert ax.get_title() == f"{number}: y {10 * row}, x {10 * column} px"
        lines = {line.get_label(): line for line in ax.lines}
        known = np.arange(FRAMES) != BLANK
        for axis, name in enumerate("yx"):
            drawn = lines[name].get_ydata()
            np.testing.assert_allclose(drawn[known], off[known, row, column, axis])
            assert np.isnan(drawn[BLANK])
            np.testing.assert_array_equal(lines[name].get_xdata(), local["time"])
            band = ax.collections[axis].get_paths()[0].vertices[:, 1]
            first = off[0, row, column, axis]
            assert np.abs(band - (first - 0.4)).min() == pytest.approx(0, abs=1e-9)
            assert np.abs(band - (first + 0.4)).min() == pytest.approx(0, abs=1e-9)
        hollow = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
        count = 1 if number == 2 else 0
        assert [len(line.get_xdata()) for line in hollow] == [count, count]
    assert axes[0].get_xlabel() == "time / second"
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["y", "x"]


def test_numbers_of_the_curves_stand_at_their_nodes(shifts):
    local, _ = bent(shifts)
    ax = plot.local_shifts(local, Figure().subplots())
    for number, (row, column) in enumerate(plot.NodeShifts.of(local).choose_apart(), start=1):
        found = [text.xy for text in ax.texts if text.get_text() == str(number)]
        assert found == [(10 * column, 10 * row)]
    rings = [line for line in ax.lines if to_rgba(line.get_markeredgecolor())[0] == 1]
    assert len(rings) == len(plot.NodeShifts.of(local).choose_apart())


@pytest.mark.parametrize("draw", [plot.local_shifts, plot.local_traces])
def test_nothing_is_drawn_where_no_local_motion_is(shifts, draw):
    with pytest.raises(InputError, match="no local shifts to draw"):
        draw(shifts)
    flat = with_local_shifts(shifts, np.zeros((FRAMES, *GRID, 2)), status=ALONE)
    with pytest.raises(InputError, match="no local motion was found"):
        draw(flat)
