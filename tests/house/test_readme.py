"""README and guides: their Python runs, they name every command, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import steadystack
from steadystack.cli import main
from support import ROOT, beds
from support.demonstrated import stay_in_process
from support.members import slow_but

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


TUTORIALS = [
    "first-series.md",
    "mask-tutorial.md",
    "turning-tutorial.md",
    "notebook-tutorial.md",
]
PLATE = "plate-tutorial.md"  # needs a batch system, or what stands in for it
MACHINE = pytest.mark.xdist_group("machine")


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.xdist_group("demo")
@pytest.mark.parametrize("path", [README, ROOT / "docs" / "python.md"], ids=lambda path: path.name)
def test_the_python_of_a_page_runs(path, demonstration, monkeypatch):
    monkeypatch.chdir(demonstration[0].parent)
    blocks = python_blocks(path)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, path.name, "exec"), names)
    assert np.isfinite(names["shifts"]["frame_shift"].to_numpy()).any()


@pytest.mark.parametrize(
    ("name", "call"),
    slow_but(
        [(TUTORIALS[0], "in this process")],
        [(TUTORIALS[0], "in this process"), *((name, "by bash") for name in TUTORIALS)],
    ),
)
def test_a_tutorial_runs_as_it_stands(name, call, tmp_path, monkeypatch):
    if call == "in this process":
        stay_in_process(monkeypatch)
    run_tutorial(name, tmp_path, monkeypatch, call_here if call == "in this process" else call_bash)
    if name == "first-series.md":
        assert (tmp_path / "series-report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["here", pytest.param("slurm", marks=[pytest.mark.slurm, MACHINE])]
)
def test_the_tutorial_of_a_plate_runs_as_it_stands(place, tmp_path, monkeypatch):
    """On a Slurm; and with the jobs as plain commands, for where there is none."""
    shutil.copy(ROOT / "scripts" / "slurm_job.sh", tmp_path)
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if place == "slurm":
        if reason := beds.lacking(beds.SLURM):
            pytest.skip(reason)
        bed = beds.Slurm().start()
        monkeypatch.setenv("SLURM_CONF", str(bed.conf))
    else:
        folders.insert(0, str(beds.write_slurm_of_one(tmp_path / "bin")))
    monkeypatch.setenv("PATH", ":".join(folders))
    try:
        run_tutorial(PLATE, tmp_path, monkeypatch)
    finally:
        if place == "slurm":
            bed.stop()
    logs = [path.read_text() for path in sorted(tmp_path.glob("steadystack-*.log"))]
    assert len(logs) == 5  # the job, the one that goes on, and an array of three
    assert "3 inputs: 3 done" in logs[1]
    assert (tmp_path / "plate-B-1-0-report.html").stat().st_size > 10_000


def call_bash(block):
    command = re.sub(r"^steadystack", f'"{sys.executable}" -m steadystack', block, flags=re.M)
    done = subprocess.run(
        ["bash", "-euc", command], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr


def call_here(block):
    """Each line as a shell would, of what it can only what is needed: `> file` at the end."""
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == "steadystack"
        words, file = (words[:-2], words[-1]) if ">" in words[-2:-1] else (words, os.devnull)
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        Path(file).write_text(done.stdout)


def run_tutorial(name, folder, monkeypatch, call=call_bash):
    """Its Python in one session, its commands between; its own asserts say what has to come out."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "pipeline"))
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    names: dict = {}
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL)
    assert sum("assert " in block for _, block in blocks) >= 2
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, name, "exec"), names)
            continue
        call(block)


def test_no_other_page_has_python_that_is_not_run():
    run = {README.name, "python.md", PLATE, *TUTORIALS}
    assert [path.name for path in PAGES if python_blocks(path) and path.name not in run] == [
        "reference.md"  # signatures
    ]


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself_and_is_in_the_guide(command):
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output) > 60
    assert f"steadystack {command}" in (ROOT / "docs" / "commands.md").read_text()


def test_the_readme_is_short_and_names_the_two_commands_of_the_house():
    text = README.read_text(encoding="utf-8")
    assert "bash scripts/demo" in text
    assert "bash scripts/test" in text
    assert len(text.splitlines()) <= 180


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page), target


def anchors(page):
    """What headings of a page are called in links, as GitHub makes it of them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_index_leads_to_every_page():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\(([a-z-]+\.md)\)", text)) == pages


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["title"].split(":")[0], cited["version"]) == (
        "steadystack",
        steadystack.__version__,
    )
