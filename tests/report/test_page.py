"""The page: what it shows is what the dataset holds; a real browser shows it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import xarray as xr

from steadystack import quality
from steadystack.dataset import make_dataset
from steadystack.model import FrameStatus, FrameTable, PairStatus, PairTable, ReportImages
from steadystack.planning import set_up
from steadystack.report import Page, save_page
from steadystack.report.page import MOST_BYTES, MOST_ROWS
from support.browser import chromium, requested
from support.members import slow_but
from support.reported import BLANK, FRAMES, SIZE, config
from support.scenes import ellipse


@pytest.fixture(scope="module")
def folder(report_folder):
    return report_folder


@pytest.fixture(scope="module")
def shifts(folder):
    with xr.open_zarr(folder / "shifts.zarr") as found:
        return found.load()


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
        np.testing.assert_allclose(said, shifts["frame_shift"].sel(axis=axis), atol=5.1e-4)
    assert table["status"][BLANK] == "flat"
    assert table["shift y"][BLANK] is None
    for version in json.loads(shifts.attrs["versions"]).values():
        assert version in page
    assert "max_shift: 10" in page
    assert quality.verdict(shifts).reasons[0] in page


def test_the_page_asks_nobody_and_repeats_no_name(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert {one.split("/")[2] for one in addresses} <= {"www.w3.org"}, addresses  # names, no links
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    for used in set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)):
        assert used in names


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
    for name in ("shift_std", "ncc", "second_peak_ratio", "overlap"):
        getattr(table, name)[:] = rng.uniform(0.1, 0.9, getattr(table, name).shape)
    table.status[:] = PairStatus.OK.code
    table.frame_read_status[:] = FrameStatus.OK.code
    rejected = rng.random(len(pairs)) < 0.01
    status = np.full(count, FrameStatus.OK.code, np.int8)
    shift[::50] = np.nan
    status[::50] = FrameStatus.DISCONNECTED.code
    frames = FrameTable(
        shift=shift,
        shift_std=np.full((count, 2), 0.05),
        stated_std=np.full((count, 2), 0.05),
        part_std=np.full((count, 2), 0.04),
        part_step=np.zeros((count, 9, 2), np.float32),
        part_weight=np.full((count, 9), np.nan, np.float32),
        component=np.zeros(count, np.int64),
        pair_count=np.full(count, 16),
        status=status,
        weight=np.ones(len(pairs)),
        residual=rng.normal(0, 0.05, (len(pairs), 2)),
        rejected=rejected,
        anchors=(1,),
        linear=np.full((count, 2, 2), np.nan),
        linear_std=np.full((count, 2, 2), np.nan),
        rotation_std=np.full(count, np.nan),
        rotation_vector_std=np.full((count, 2), np.nan),
        scale_std=np.full(count, np.nan),
        local_shift=np.full((count, 1, 1, 2), np.nan),
        local_shift_std=np.full((count, 1, 1, 2), np.nan),
        local_status=np.zeros((count, 1, 1), np.int8),
        channel_offset=np.full((1, 2), np.nan),
        channel_offset_std=np.full((1, 2), np.nan),
        channel_offset_status=np.zeros(1, np.int8),
    )
    return make_dataset(table, frames, axes=("y", "x"), pixel_size=(0.5, 0.5), unit="micrometer")


@pytest.mark.parametrize("frames", slow_but([500], [500, MOST_ROWS]))
def test_a_long_series_fits_on_a_page(tmp_path, monkeypatch, frames):
    monkeypatch.setattr("steadystack.report.page.MOST_ROWS", frames)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, 2000, 2000))
    views = ReportImages(images={"mean": tuple(noise), "maximum": tuple(noise)})
    save_page(Page("long", long_series(frames), "good", [], views), str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert len(page.encode()) < MOST_BYTES
    rows = table_of(page)
    assert rows["frame"] == list(range(frames))
    longer, longest = tmp_path / "longer.html", 5 * frames // 2
    save_page(Page("longer", long_series(longest), "good", []), str(longer))
    assert longer.stat().st_size < MOST_BYTES
    thinned = table_of(longer.read_text())
    lost = {
        frame for frame, one in zip(thinned["frame"], thinned["status"], strict=True) if one != "ok"
    }
    assert lost == set(range(0, longest, 50))


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
    from steadystack.planning import open_series
    from steadystack.stages.reporting import make_report_images

    settings = config(folder)
    return make_report_images(set_up(settings, open_series(settings)[0]), shifts)


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
