"""The README: its Python runs, and it names every command and every room."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

from steadystack.cli import main
from support import ROOT


def readme_blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.xdist_group("demo")
def test_the_python_of_the_readme_runs(demonstration, monkeypatch):
    monkeypatch.chdir(demonstration[0].parent)
    blocks = readme_blocks("python")
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert np.isfinite(names["shifts"]["frame_shift"].to_numpy()).any()


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself_and_is_in_the_readme(command):
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output) > 60
    assert f"steadystack {command}" in (ROOT / "README.md").read_text()


def test_the_readme_names_the_two_commands_of_the_house():
    text = (ROOT / "README.md").read_text()
    assert "bash scripts/demo" in text
    assert "bash scripts/test" in text
