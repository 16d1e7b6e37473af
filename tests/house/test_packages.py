"""Packages: what is in them, their bounds, and the commands of images and workflows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import numpy as np
import pytest
import yaml

from steadystack.dataset import load_shifts
from steadystack.outputs import write_stack
from support import ROOT
from support.scenes import Scene

PACKAGING = ROOT / "scripts" / "packaging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# conda's own names
CONDA = {"dask": "dask-core", "lazy-loader": "lazy_loader"}
NO_REGISTRY = "No matching distribution|Could not find a version|Temporary failure"


def load_oldest():
    loader = SourceFileLoader("oldest", str(ROOT / "scripts" / "oldest"))
    module = module_from_spec(spec_from_loader("oldest", loader))
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module.list_oldest


def test_the_oldest_versions_are_those_of_the_bounds():
    found = list(load_oldest()(PROJECT))
    assert "numpy==2.0" in found
    assert "dask==2025.1" in found  # without its extra
    assert "czifile==2019.7.2.3; python_version < '3.12'" in found
    alike = [line.split("==")[0] for line in found if ";" not in line]
    assert len(alike) == len(set(alike))
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]
    names = {re.match(r"[\w.-]+", one)[0] for one in wanted} - {"steadystack"}
    assert {line.split("==")[0] for line in found} == names


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["numpy"], "no lower bound"),
        (["numpy>=2.0", "numpy>=2.1"], "two lower bounds, 2.0 and 2.1"),
    ],
)
def test_bounds_that_tell_no_oldest_version_are_refused(wanted, words):
    with pytest.raises(ValueError, match=words):
        list(load_oldest()({"name": "steadystack", "dependencies": wanted}))


def test_no_python_is_shut_out_and_those_that_are_tested_are_listed():
    assert PROJECT["requires-python"] == ">=3.11"
    told = [one.split(" :: ")[-1] for one in PROJECT["classifiers"] if "Python :: 3." in one]
    assert told == ["3.11", "3.12", "3.13", "3.14"]


def test_the_conda_recipe_has_the_bounds_of_the_project():
    recipe = yaml.safe_load((PACKAGING / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    wanted = [f"python {PROJECT['requires-python']}"]
    for one in PROJECT["dependencies"]:
        name, bound = re.sub(r"\[.*\]", "", one).split(">=")
        wanted.append(f"{CONDA.get(name, name)} >={bound}")
    assert recipe["requirements"]["run"] == wanted
    assert recipe["context"]["version"] == PROJECT["version"]
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in PROJECT["scripts"].items()
    ]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`steadystack`, as the tests run it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "steadystack"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m steadystack "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "pipeline"))


def run_workflow(script, folder, truth, settings="my cells.yaml"):
    """Run the script of a task on the stack `my cells.ome.zarr`; its shifts are the drift."""
    frames = np.stack([1000 + 200 * Scene(0).view((72, 80), shift) for shift in truth])
    write_stack(folder / "my cells.ome.zarr", frames.astype("u2"), pixel_size=(0.1, 0.1))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = load_shifts(str(folder / "my cells-shifts.zarr"))["frame_shift"].to_numpy()
    np.testing.assert_allclose(found - found[0], truth - truth[0], atol=0.05)
    for name in ("my cells-report.html", settings):
        assert (folder / name).exists()


TRUTH = np.arange(6)[:, None] * np.array([[0.6, -0.4]])


@pytest.mark.slow
@pytest.mark.usefixtures("command")
def test_the_nextflow_module_runs(tmp_path):
    text = (PACKAGING / "nextflow" / "main.nf").read_text(encoding="utf-8")
    script = re.search(r'script:.*?"""(.*?)"""', text, re.DOTALL)[1]
    for key, value in {"meta.id": "my cells", "args": "", "stack": "my cells.ome.zarr"}.items():
        script = script.replace(f"${{{key}}}", value)
    assert "${" not in script
    run_workflow(script, tmp_path, TRUTH)


@pytest.mark.slow
@pytest.mark.usefixtures("command")
def test_the_snakemake_rule_runs(tmp_path):
    text = (PACKAGING / "snakemake" / "Snakefile").read_text(encoding="utf-8")
    script = re.search(r'shell:\s*"""(.*?)"""', text, re.DOTALL)[1]
    values = {
        "{params.init}": "",
        "{input:q}": "'my cells.ome.zarr'",
        "{output.settings:q}": "'my cells-drafted.yaml'",
    }
    for key, value in values.items():
        script = script.replace(key, value)
    assert "{" not in script
    run_workflow(script, tmp_path, TRUTH, "my cells-drafted.yaml")


def read_dockerfile():
    """What is copied, and the commands that are run."""
    text = (PACKAGING / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and line[0] != "#"]
    copied = [name for key, rest in lines if key == "COPY" for name in rest.split()[:-1]]
    return copied, [rest for key, rest in lines if key == "RUN"]


def read_apptainer():
    text = (PACKAGING / "apptainer.def").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", text, re.DOTALL | re.MULTILINE))
    copied = [line.split()[0] for line in parts["files"].splitlines() if line.strip()]
    commands = [line.strip() for line in parts["post"].splitlines() if line.strip()]
    return copied, [*commands[1:], parts["test"].strip()]  # the first enters the folder


@pytest.mark.parametrize("read", [read_dockerfile, read_apptainer])
def test_what_an_image_copies_is_there(read):
    copied, commands = read()
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert any("pip install" in line for line in commands)
    extras = re.search(r"\[(.*?)\]", " ".join(commands))[1].split(",")
    readers = set(PROJECT["optional-dependencies"]) - {
        "bench",
        "check",
        "docs",
        "test",
        "dashboard",
        "napari",  # an image has no display
    }
    assert readers - {"jobqueue"} <= set(extras) <= readers


def skip_without_registry(done):
    if done.returncode and re.search(NO_REGISTRY, done.stdout + done.stderr):
        pytest.skip("no registry of packages can be reached")
    assert done.returncode == 0, done.stdout + done.stderr


def run_installed(line, folder, **environment):
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-euc", line], cwd=folder, env=clean | environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    skip_without_registry(done)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("read", [read_dockerfile, read_apptainer])
def test_the_commands_of_an_image_run_in_a_fresh_environment(read, tmp_path):
    copied, commands = read()
    for name in copied:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path / name)
    run_installed(f'"{sys.executable}" -m venv fresh', tmp_path)
    path = f"{tmp_path / 'fresh' / 'bin'}:{os.environ['PATH']}"
    for line in commands:
        told = run_installed(line, tmp_path, PATH=path)
    assert "Usage: steadystack" in told


@pytest.mark.slow
def test_wheel_and_sdist_are_sound_and_the_sdist_runs_its_tests(tmp_path):
    check = f'bash "{PACKAGING / "check"}" "{tmp_path / "dist"}"'
    told = run_installed(check, tmp_path, PYTHON=sys.executable)
    assert told.endswith("wheel and sdist are sound\n")
    run_installed("tar -xzf dist/*.tar.gz", tmp_path)
    folder = next(tmp_path.glob("steadystack-*"))
    tests = "tests/house/test_floor_plan.py tests/house/test_reference.py tests/model"
    line = f'"{sys.executable}" -m pytest -q -p no:cacheprovider {tests}'
    told = run_installed(line, folder, PYTHONPATH=str(folder / "pipeline"))
    assert " passed" in told
    assert "failed" not in told
