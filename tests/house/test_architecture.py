"""The page on the code tells of the code as it is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from support import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "pipeline" / "steadystack"


def words(section: str) -> list[str]:
    """What stands in backticks in the table below a heading."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return re.findall(r"`([^`\n]+)`", "\n".join(rows))


def test_it_has_every_room():
    rooms = {path.stem for path in PACKAGE.iterdir()}
    named = set(words("Floors and rooms"))
    assert rooms - {"__init__", "__main__", "__pycache__", "data", "py"} - named == set()


@pytest.mark.parametrize("name", sorted(name for name in words("The way of a pair") if "." in name))
def test_the_way_of_a_pair_goes_by_what_is_there(name):
    module, attribute = f"steadystack.{name}".rsplit(".", 1)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        module, inside = module.rsplit(".", 1)  # a method of a class
        found = getattr(importlib.import_module(module), inside)
    assert hasattr(found, attribute) or importlib.import_module(f"{module}.{attribute}")


FILES = sorted(
    {word.split(":")[0] for word in re.findall(r"`([\w/]+\.(?:py|yaml|toml|json))`", PAGE)}
)


@pytest.mark.parametrize("name", FILES)
def test_files_that_it_names_are_there(name):
    folders = [ROOT, PACKAGE, *(ROOT / "tests").iterdir()]
    assert any((Path(folder) / name).is_file() for folder in folders), name
