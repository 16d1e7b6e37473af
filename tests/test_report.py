"""The page and the plots: what they show is what the dataset holds; a real browser shows it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from matplotlib.figure import Figure

import steadystack
from browser import chromium, requested
from helpers import Scene, ellipse
from steadystack import plot, stages
from steadystack.cli import main
from steadystack.config import make_config
from steadystack.dataset import read_frames, read_pairs, shifts_dataset
from steadystack.model import (
    FrameStatus,
    FrameTable,
    InputError,
    PairStatus,
    PairTable,
    Views,
    as_stack,
)
from steadystack.outputs import write_image, write_stack
from steadystack.planning import in_memory, set_up
from steadystack.quality import close_ups
from steadystack.quality.worst_pairs import worst_pairs
from steadystack.readers import ArrayFrames
from steadystack.report import Page, save_page
from steadystack.report.figures import smaller
from steadystack.report.page import MOST_BYTES

SIZE, FRAMES, BLANK = (64, 72), 12, 7


def config(folder, **output):
    return make_config(
        {
            "input": {"path": "stack.zarr"},
            "mask": {"path": "mask.zarr"},
            "register": {"max_shift": 10},
            "pairs": {"width": 3},
            "output": {"report": "report.html"} | output,
            "cluster": {"kind": "in-process"},
        },
        folder,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run over a drifting scene in which a frame is blank."""
    folder = tmp_path_factory.mktemp("report")
    world, rng = Scene(3), np.random.default_rng(3)
    truth = np.cumsum(rng.normal(0, 1, (FRAMES, 2)), axis=0)
    frames = np.stack([1000 + 200 * world.view(SIZE, shift) for shift in truth])
    frames[BLANK] = 1000
    write_stack(folder / "stack.zarr", frames.astype("u2"), pixel_size=(0.5, 0.5), frame_interval=2)
    write_image(folder / "mask.zarr", ellipse(SIZE, 0.95))
    steadystack.run(config(folder))
    return folder


@pytest.fixture(scope="module")
def shifts(folder):
    with xr.open_zarr(folder / "shifts.zarr") as found:
        return found.load()


@pytest.fixture
def ax():
    return Figure().subplots()


def table_of(page: str) -> dict[str, list]:
    held = re.search(r'<script type="application/json" id="frame-data">(.*?)</script>', page)
    data = json.loads(held[1])
    return dict(zip(data["names"], data["columns"], strict=True))


def test_the_page_holds_the_numbers_of_the_dataset(folder, shifts):
    page = (folder / "report.html").read_text(encoding="utf-8")
    table = table_of(page)
    assert table["frame"] == list(range(FRAMES))
    for axis in "yx":
        said = np.array(table[f"shift {axis}"], float)
        np.testing.assert_allclose(said, shifts["shift"].sel(axis=axis), atol=5.1e-4)
    assert table["status"][BLANK] == "flat"
    assert table["shift y"][BLANK] is None
    for version in json.loads(shifts.attrs["versions"]).values():
        assert version in page
    assert "max_shift: 10" in page
    assert stages.verdict(shifts).reasons[0] in page


def test_the_page_asks_nobody_and_repeats_no_name(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert {one.split("/")[2] for one in addresses} <= {"www.w3.org"}, addresses  # names, no links
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    for used in set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)):
        assert used in names


def test_figures_are_files_too(folder):
    done = CliRunner().invoke(main, ["report", str(write(folder)), "--figures", str(folder / "f")])
    assert done.exit_code == 0, done.output
    kinds = {path.suffix for path in (folder / "f").iterdir()}
    names = {path.stem for path in (folder / "f").iterdir()}
    assert kinds == {".png", ".svg"}
    assert {"drift", "drift-physical", "path", "pairs", "residuals", "matrix"} <= names


def write(folder):
    import yaml

    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config(folder).dump()))
    return path


def test_a_stack_of_another_name_cannot_break_the_page(shifts, tmp_path):
    title = "</script><b>&\"'"
    named = Page(title, shifts, "good", [title], configuration=title, versions={title: title})
    save_page(named, str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert title not in page
    assert "&lt;/script&gt;" in page


def long_series(count: int) -> xr.Dataset:
    """A dataset of so many frames, as a run over pairs up to 8 apart would leave it."""
    rng = np.random.default_rng(0)
    reference = np.repeat(np.arange(count - 8), 8)
    pairs = np.stack([reference, reference + np.tile(np.arange(1, 9), count - 8)], axis=1)
    shift = np.cumsum(rng.normal(0, 0.1, (count, 2)), axis=0)
    table = PairTable.unmeasured(pairs, count, 2)
    table.shift[:] = shift[pairs[:, 1]] - shift[pairs[:, 0]] + rng.normal(0, 0.05, (len(pairs), 2))
    for name in ("std", "ncc", "runner_up", "overlap"):
        getattr(table, name)[:] = rng.uniform(0.1, 0.9, getattr(table, name).shape)
    table.status[:] = PairStatus.OK.code
    table.frame_status[:] = FrameStatus.OK.code
    rejected = rng.random(len(pairs)) < 0.01
    status = np.full(count, FrameStatus.OK.code, np.int8)
    shift[::50] = np.nan
    status[::50] = FrameStatus.UNCONNECTED.code
    frames = FrameTable(
        shift=shift,
        shift_std=np.full((count, 2), 0.05),
        component=np.zeros(count, np.int64),
        pair_count=np.full(count, 16),
        status=status,
        weight=np.ones(len(pairs)),
        residual=rng.normal(0, 0.05, (len(pairs), 2)),
        rejected=rejected,
        anchors=(1,),
    )
    return shifts_dataset(table, frames, axes=("y", "x"), pixel_size=(0.5, 0.5), unit="micrometer")


def test_a_long_series_fits_on_a_page(tmp_path):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, 2000, 2000))
    views = Views(images={"mean": tuple(noise), "maximum": tuple(noise)})
    save_page(Page("long", long_series(20_000), "good", [], views), str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert len(page.encode()) < MOST_BYTES
    rows = table_of(page)
    assert rows["frame"] == list(range(20_000))
    longer = tmp_path / "longer.html"
    save_page(Page("longer", long_series(50_000), "good", []), str(longer))
    assert longer.stat().st_size < MOST_BYTES
    thinned = table_of(longer.read_text())
    lost = {
        frame for frame, one in zip(thinned["frame"], thinned["status"], strict=True) if one != "ok"
    }
    assert lost == set(range(0, 50_000, 50))


def test_images_are_made_smaller_by_means_of_what_is_known():
    image = np.arange(20.0).reshape(4, 5)
    image[0, 0] = image[2, 4] = image[3, 4] = np.nan
    expected = [[(1 + 5 + 6) / 3, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2], [13, 15, np.nan]]
    np.testing.assert_allclose(smaller(image, 3), expected)
    assert smaller(image, 5) is image


def test_the_worst_pairs_are_some_of_every_kind():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7]])
    table = PairTable.unmeasured(pairs, 8, 1)
    codes = ("ok", "ok", "ok", "low_ncc", "low_ncc", "flat", "ambiguous")
    table.status[:] = [PairStatus(name).code for name in codes]
    table.std[:3], table.ncc[3:5], table.ncc[6] = 0.1, [0.02, 0.05], 0.4
    residual = np.array([0.3, 0.1, 5.0, *[np.nan] * 4])[:, None]
    frames = read_frames(shifts_dataset(table, axes=("x",)))
    solved = FrameTable(**{**vars(frames), "residual": residual, "rejected": np.arange(7) == 2})
    assert worst_pairs(table, solved).tolist() == [2, 4, 6, 0, 3, 1]
    assert worst_pairs(table, solved, 2).tolist() == [2, 4]


def test_close_ups_show_the_frames_where_they_are_valid(folder, shifts):
    setup_views = views_of(folder, shifts)
    assert len(setup_views.close_ups) == 10
    mask = ellipse(SIZE, 0.95)
    inner = mask[mask.any(axis=1)][:, mask.any(axis=0)]
    for one in setup_views.close_ups:
        for image in (one.reference, one.moving):
            np.testing.assert_array_equal(np.isfinite(image), inner)
        assert one.first_lag == (-10, -10)
        peak = np.unravel_index(np.nanargmax(one.surface), one.surface.shape)
        said = shifts["pair_shift"].to_numpy()[one.row]
        np.testing.assert_allclose(np.array(peak) - 10, said, atol=0.6)


def views_of(folder, shifts):
    from steadystack.planning import open_series, set_up
    from steadystack.stages.reporting import views

    settings = config(folder)
    return views(set_up(settings, open_series(settings)[0]), shifts)


def test_plots_draw_on_the_axes_given_and_return_them(shifts, ax):
    assert plot.drift(shifts, ax) is ax
    lines = {line.get_label(): line for line in ax.lines}
    for axis in "yx":
        np.testing.assert_array_equal(lines[axis].get_ydata(), -shifts["shift"].sel(axis=axis))
        np.testing.assert_array_equal(lines[axis].get_xdata(), shifts["time"])
    assert ax.get_xlabel() == "time / second"


def test_drift_in_the_unit_of_the_pixel_size(shifts, ax):
    plot.drift(shifts, ax, physical=True)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), -0.5 * shifts["shift"].sel(axis="y"))
    assert ax.get_ylabel() == "drift / micrometer"
    unknown = shifts.assign(pixel_size=shifts["pixel_size"] * np.nan)
    with pytest.raises(InputError, match="size of a pixel is not known"):
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


def test_a_browser_shows_the_page(folder, tmp_path):
    with chromium(tmp_path) as browser:
        browser.set_window_size(1200, 900)
        browser.get((folder / "report.html").as_uri())
        assert requested(browser) == [(folder / "report.html").as_uri()]
        slider_cuts_the_image(browser)
        table_sorts_and_filters(browser)
        browser.find_element("id", "theme").click()
        assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
        for width in (360, 1200):
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"the page is {wide} px wide in a window of {width}"
        assert requested(browser) == []
        assert browser.get_log("browser") == []


def slider_cuts_the_image(browser):
    after = browser.find_element("css selector", ".compare.shown .after")
    for value in (0, 100, 25):
        browser.execute_script(
            "const cut = document.getElementById('cut'); cut.value = arguments[0];"
            "cut.dispatchEvent(new Event('input'));",
            value,
        )
        assert after.value_of_css_property("clip-path") == f"inset(0px 0px 0px {value}%)"
    images = browser.find_elements("css selector", "img")
    assert images
    for image in images:
        assert browser.execute_script(
            "const i = arguments[0]; i.loading = 'eager';"
            "return i.decode().then(() => i.naturalWidth)",
            image,
        )


def table_sorts_and_filters(browser):
    def column(at):
        cells = browser.find_elements("css selector", f"#frames tbody td:nth-child({at})")
        return [cell.text for cell in cells]

    assert column(1) == [str(frame) for frame in range(FRAMES)]
    browser.find_element("css selector", "#frames th:nth-child(2) button").click()
    shift = [float(text) for text in column(2) if text]
    assert shift == sorted(shift)
    assert column(2)[-1] == ""  # what is not known comes last
    browser.find_element("css selector", "#frames th:nth-child(2) button").click()
    assert [float(text) for text in column(2) if text] == shift[::-1]
    browser.find_element("id", "doubtful").click()
    assert column(1) == [str(BLANK)]


def test_close_ups_look_where_a_prior_had_the_search_look():
    truth = np.arange(6)[:, None] * np.array([9.0, -7.0])
    frames = np.stack([Scene(1).view((96, 104), shift) for shift in truth])
    found = steadystack.estimate_shifts(frames, max_shift=5, prior=truth, pairs={"width": 2})
    source = ArrayFrames.checked(as_stack(frames), None)
    asked = {"register": {"max_shift": 5}, "pairs": {"width": 2}}
    setup = set_up(make_config({"input": {"path": "memory"}, **asked}), in_memory(source, truth))
    table = read_pairs(found)
    seen = close_ups(source, setup.method, table, read_frames(found))
    assert len(seen) == len(table.status)
    for one in seen:
        peak = np.unravel_index(np.nanargmax(one.surface), one.surface.shape)
        np.testing.assert_allclose(np.add(peak, one.first_lag), table.shift[one.row], atol=0.1)
