"""Presets: each is valid, each merges, and each is what the worked case of its name has."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import make_reference
from steadystack import guide
from steadystack.cli import main
from steadystack.config import make_config
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.planning import open_series, set_up
from steadystack.survey import find_reach
from support import CONFIGS, ROOT
from support.members import slow_but
from support.scenes import Scene

FOLDER = ROOT / "pipeline" / "steadystack" / "data" / "presets"
PRESETS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Eight frames with a black border, which `init` has to find as it does without a preset."""
    path = tmp_path_factory.mktemp("presets") / "a.ome.zarr"
    frames = np.stack([1000 + 200 * Scene(0).view((64, 72), (0.5 * t, 0)) for t in range(8)])
    frames[:, :4] = 0
    write_stack(path, frames.astype("u2"), pixel_size=(0.1, 0.1))
    return str(path)


@pytest.fixture(scope="module")
def plain(stack):
    return guide.init(stack)


def test_there_are_presets_for_all_worked_cases_of_a_microscope():
    cases = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert set(PRESETS) == cases - {"full", "minimal", "slurm", "dask-cluster"}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_why_and_has_what_its_worked_case_has(name):
    assert len(guide.list_presets()[name].split()) > 15
    case = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    assert PRESETS[name]
    for section, keys in PRESETS[name].items():
        assert {key: case[section][key] for key in keys} == keys


@pytest.mark.parametrize("name", slow_but(list(PRESETS)[:3], PRESETS))
def test_a_preset_is_put_into_what_was_found_of_the_stack(name, stack, plain):
    made = guide.init(stack, like=name)
    drafted, found = yaml.safe_load(plain), yaml.safe_load(made)
    expected = {key: value or {} for key, value in drafted.items()} | PRESETS[name]
    assert {key: value or {} for key, value in found.items()} == expected
    make_config({key: value for key, value in found.items() if value})
    comments = re.findall(r"^ +# .*$", plain, re.MULTILINE)
    told = re.compile(r" +# (search|as they are|low_pass|high_pass|defects|lines|parts): ")
    assert [line for line in comments if line not in made and not told.match(line)] == []
    assert made.count("# search: ") == plain.count("# search: ")
    assert f"# Like {name}:\n" in made


def test_what_pairs_have_shown_is_by_the_settings_of_the_preset(stack):
    made = guide.init(stack, like="diffraction")
    config = make_config({key: value for key, value in yaml.safe_load(made).items() if value})
    setup = set_up(config, open_series(config)[0])
    assert f"# {find_reach(setup).describe()}" in made


def test_a_preset_that_is_none_is_reported_before_the_stack_is_looked_at():
    with pytest.raises(InputError, match=r"the kinds are .*volume.*; did you mean low-dose-em"):
        guide.init("no-such-stack", like="low-dose-en")


def test_the_command_lists_presets_and_takes_one(stack):
    told = CliRunner().invoke(main, ["init", "--list"])
    assert told.exit_code == 0
    assert re.findall(r"^(\S+):", told.output, re.MULTILINE) == sorted(PRESETS)
    made = CliRunner().invoke(main, ["init", stack, "--like", "low-dose-em"])
    assert made.exit_code == 0
    assert yaml.safe_load(made.stdout)["solve"] == {"refine": 1}
    assert CliRunner().invoke(main, ["init"]).exit_code == 2


def test_the_page_of_presets_is_what_the_code_says():
    held = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    assert make_reference.presets_page() == held, "python scripts/make_reference.py writes it anew"
    assert [name for name in PRESETS if f"## {name}\n" not in held] == []
