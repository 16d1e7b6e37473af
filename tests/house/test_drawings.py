"""The drawings of docs/architecture.md are what its tables and the folders say."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree as ET

import pytest

from make_drawings import AFTERWARDS, DRAWINGS, LAID_OUT, ON_A_WORKER, read_floors
from support import ROOT

PAGE = ROOT / "docs" / "architecture.md"


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_up_to_date_and_shown(name):
    kept = (ROOT / "docs" / "drawings" / name).read_text(encoding="utf-8")
    assert kept == DRAWINGS[name](), "python scripts/make_drawings.py"
    assert f"(drawings/{name})" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_in_a_drawing_lies_outside_of_it(name):
    root = ET.fromstring(DRAWINGS[name]())
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, across, down = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        assert min(x, y) >= 0
        assert x + across <= width
        assert y + down <= height


def test_every_room_is_drawn():
    package = ROOT / "pipeline" / "steadystack"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    rooms |= {path.stem for path in package.glob("[a-z]*.py")}
    assert sorted(itertools.chain(*read_floors().values())) == sorted(rooms)


def test_steps_of_the_pair_are_those_of_the_table():
    text = PAGE.read_text(encoding="utf-8").split("## The way of a pair")[1]
    rows = dict(re.findall(r"^\| (\d+) \| (.*)$", text, re.MULTILINE))
    steps = [*LAID_OUT, *ON_A_WORKER, *AFTERWARDS]
    numbers = [int(number) for number, *_ in steps]
    assert numbers == sorted(numbers)
    for number, name, _ in steps:
        words = [word for word in name.split() if word[0].isupper()]
        assert all(f"`{word}`" in rows[number] for word in words), name
