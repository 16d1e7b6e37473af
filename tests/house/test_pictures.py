"""docs/trust.md shows a page of every kind of verdict: its series get what it quotes."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from make_pictures import MOST_BYTES, SHOWN, run_series, take_picture
from support import ROOT
from support.members import slow_but

PAGE = ROOT / "docs" / "trust.md"
PICTURES = ROOT / "docs" / "pictures"


def read_quotes():
    """Of every picture: the verdict and the reasons that stand below it, as one line each."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(
        r"\(pictures/(\w+)\.webp\)(?:(?!pictures/).)*?```text\n(.*?)```", text, re.DOTALL
    )
    return {name: re.split(r"\n  (?! )", quote.rstrip()) for name, quote in found}


def without_numbers(line):
    """A line as it is worded, however large what it tells is."""
    return re.sub(r"\d+(\.\d+)?", "#", " ".join(line.split()))


def test_every_picture_is_shown_once_with_a_quote_and_is_small():
    assert list(read_quotes()) == list(SHOWN)
    files = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert sorted(files) == sorted(f"{name}.webp" for name in SHOWN)
    assert max(files.values()) < MOST_BYTES


@pytest.mark.parametrize("name", slow_but(["noise"], SHOWN))
def test_the_series_of_a_picture_gets_what_is_quoted(name, tmp_path):
    judged = run_series(name, tmp_path)
    trust, *reasons = read_quotes()[name]
    assert judged.trust == trust
    found = [without_numbers(reason) for reason in judged.reasons]
    assert found == [without_numbers(reason) for reason in reasons]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "trust"),
    [
        ("turning", {"motion": {"model": "rigid"}}, "good"),
        ("label", {"mask": {"path": "mask.npy"}}, "good"),
        ("still", {"preprocess": {"fixed_pattern": "estimate"}}, "good"),
        ("lost", {"pairs": {"width": 12}}, "check"),
        ("lost", {"pairs": {"strategy": "multiscale"}}, "check"),
        ("search", {"register": {"max_shift": "auto"}}, "good"),
    ],
)
def test_what_is_advised_helps(name, changes, trust, tmp_path):
    mask = np.ones((128, 128), bool)
    mask[12:42, 12:42] = False  # the label
    np.save(tmp_path / "mask.npy", mask)
    assert run_series(name, tmp_path, changes).trust == trust


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not here")
def test_a_picture_is_of_the_page(tmp_path):
    from PIL import Image

    judged = run_series("noise", tmp_path)
    assert judged.trust == "unreliable"
    take_picture(tmp_path / "noise.html", tmp_path / "noise.webp")
    assert (tmp_path / "noise.webp").stat().st_size < MOST_BYTES
    with Image.open(tmp_path / "noise.webp") as taken, Image.open(PICTURES / "noise.webp") as kept:
        assert taken.size == kept.size
        small = [np.asarray(one.convert("L").resize((18, 17)), float) for one in (taken, kept)]
    assert np.abs(small[0] - small[1]).mean() < 6  # of 255: the same page, whatever the fonts are
