"""The site of docs/: made without a warning, its links lead somewhere, it fits any window."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from importlib.util import find_spec
from urllib.parse import unquote

import pytest

import steadystack
from support import ROOT
from support.browser import chromium, requested

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed: pip install 'steadystack[docs]'")
    target = tmp_path_factory.mktemp("site")
    settings = ROOT / "docs" / "site" / "mkdocs.yml"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(
        [*command, "-f", settings, "-d", target],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "true"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return target


def pages(site):
    return sorted(site.glob("*.html"))


def test_every_page_of_the_docs_is_there(site):
    names = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"api", "404"}
    assert {path.stem for path in pages(site)} == names


def test_all_links_pictures_and_anchors_lead_somewhere(site):
    ids = {
        page: set(re.findall(r'\bid="?([^"\s>]+)', page.read_text("utf-8"))) for page in pages(site)
    }
    checked = 0
    for page in pages(site):
        if page.stem == "404":
            continue  # its links are those of a server's root
        text = re.sub(r"<(script|pre|code)\b.*?</\1>", "", page.read_text("utf-8"), flags=re.S)
        for link in re.findall(r'<[^>]*\b(?:href|src)="?([^"\s>]+)', text):
            if "://" in link or link.startswith(("mailto:", "data:")):
                continue
            name, _, anchor = unquote(unescape(link)).partition("#")
            target = (page.parent / name).resolve() if name else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), (page.name, link)
            if anchor and not anchor.startswith("__"):
                assert anchor in ids[target], (page.name, link)
            checked += 1
    assert checked > 500


def test_the_api_has_every_public_name(site):
    ids = re.findall(r'id="?(steadystack[\w.]*)', (site / "api.html").read_text("utf-8"))
    told = {name.split(".")[-1] for name in ids}
    assert set(steadystack.__all__) - {"__version__", "plot"} - told == set()
    assert set(steadystack.plot.__all__) - told == set()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_window_and_nothing_comes_from_elsewhere(site, tmp_path, width):
    with chromium(tmp_path) as browser:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for page in pages(site):
            if page.stem == "404":
                continue
            browser.get(page.as_uri())
            size = browser.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth,"
                " [...document.images].filter(i => !i.naturalWidth).length]"
            )
            assert size[0] <= size[1] == width, (page.name, size)
            assert size[2] == 0, f"{page.name} lacks a picture"
        assert [one for one in requested(browser) if not one.startswith("file:")] == []
