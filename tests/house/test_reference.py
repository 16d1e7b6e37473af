"""What a user may write or read is in the reference, and nothing else is called so."""

from __future__ import annotations

import re

import pytest

import steadystack
from steadystack.cli import main
from steadystack.config.loading import RENAMED
from steadystack.model import FrameStatus, PairStatus
from steadystack.model.schema import COLUMNS
from support import CONFIGS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FULL = (CONFIGS / "full.yaml").read_text(encoding="utf-8")
PUBLIC = [name for name in steadystack.__all__ if not name.startswith("_")]


def missing(names, text):
    return [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]


def test_every_column_status_command_and_public_name_is_in_the_readme():
    assert missing([column.name for column in COLUMNS], README) == []
    assert (
        missing([str(status) for kind in (FrameStatus, PairStatus) for status in kind], README)
        == []
    )
    assert missing([f"steadystack {name}" for name in main.commands], README) == []
    assert missing([f"steadystack.{name}" for name in PUBLIC], README) == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_example_has_an_old_name(path):
    keys = {line.split(":")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()}
    old = {key.split(".")[-1] for key in RENAMED if ": " not in key}
    assert not keys & old


def test_no_old_name_is_in_the_readme():
    old = [key for key in RENAMED if "." in key and ": " not in key]
    old += ["strategy: lags", "strategy: strides", "frame_reading", "pair_std", "pair_runner_up"]
    old += [
        "unlike:",
        "contradictory",
        "unconnected",
        "at_bound",
        'shifts["shift"]',
        "shifts.shift",
    ]
    assert [name for name in old if name in README] == []
