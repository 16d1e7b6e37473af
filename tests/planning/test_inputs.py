"""Names of many inputs."""

from __future__ import annotations

import re

import pytest

import steadystack
from steadystack.config import make_config
from steadystack.planning import resolve_inputs

NAMES = {
    "one": (["/a/b/stack.ome.zarr"], ["stack"]),
    "last parts": (["/a/x.zarr", "/a/y.zarr"], ["x", "y"]),
    "folders": (["/a/x/stack.zarr", "/a/y/stack.zarr"], ["x", "y"]),
    "both": (["/a/x/1.zarr", "/a/y/2.zarr"], ["x-1", "y-2"]),
    "remote": (["s3://bucket/x/0", "s3://bucket/y/0"], ["x", "y"]),
    "at different depths": (["/a/x.zarr", "/a/b/y.zarr"], ["x", "b-y"]),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_what_tells_paths_apart(name):
    paths, names = NAMES[name]
    config = make_config({"input": {"path": paths}, "output": {"shifts": "{name}.zarr"}})
    found = resolve_inputs(config)
    assert list(found) == names
    assert [one.input.path for one in found.values()] == paths
    assert [one.output.shifts for one in found.values()] == [f"{name}.zarr" for name in names]


@pytest.mark.parametrize(
    ("paths", "output", "words"),
    [
        (
            ["a.zarr", "b.zarr"],
            {},
            "shifts.zarr is one path for 2 inputs: put {name} into it",
        ),
        (
            ["a.zarr", "b.zarr"],
            {"shifts": "{name}.zarr", "report": "a.png"},
            "such as a-{name}.png",
        ),
        ("none-*.zarr", {}, "nothing matches"),
        (["a.zarr", "a.ome.zarr"], {}, "two inputs have the name 'a'"),
        (["a.zarr", "*.zarr"], {}, "two inputs have the"),
        ("*.zarr", {"shifts": "{name}-shifts.zarr"}, "would be matched by input.path"),
        ("*.zarr", {"shifts": "{name}.nc", "mean": "{name}-mean.zarr"}, "output.mean"),
        ("*.zarr", {"shifts": "{name}.nc", "corrected": "{name}-c.zarr"}, "output.corrected"),
    ],
)
def test_inputs_that_cannot_be_told_apart_are_refused(tmp_path, paths, output, words):
    for name in ("a", "b"):
        (tmp_path / f"{name}.zarr").mkdir()
    config = make_config({"input": {"path": paths}, "output": output}, tmp_path)
    with pytest.raises(steadystack.InputError, match=re.escape(words)):
        resolve_inputs(config)


def test_a_pattern_of_frames_and_a_name_with_brackets_are_one_stack(tmp_path):
    (tmp_path / "a[1].zarr").mkdir()
    for path in ("frames-*.tif", "a[1].zarr"):
        config = make_config({"input": {"path": path}}, tmp_path)
        assert [one.input.path for one in resolve_inputs(config).values()] == [str(tmp_path / path)]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("day 1/frame_*.tif", ["frame"]),
        ("day 1/*.tif", ["day 1"]),
        ("day 1/c[01] ??.png", ["c"]),
        ("d*/*.tif", ["d"]),
        (["a/f*.tif", "b/f*.tif"], ["a", "b"]),
        (["day 1/a_*.tif", "day 1/b_*.tif"], ["a", "b"]),
        (["day 1/a_*.tif", "day 1/a-*.tif"], ["a-1", "a-2"]),
        ("exp[1]/a_*.tif", ["a"]),
    ],
)
def test_a_series_of_files_is_called_without_wildcards(tmp_path, path, names):
    for folder in ("day 1", "exp[1]"):
        (tmp_path / folder).mkdir()
    config = make_config({"input": {"path": path}, "output": {"shifts": "{name}.zarr"}}, tmp_path)
    inputs = resolve_inputs(config)
    assert list(inputs) == names
    shifts = [str(tmp_path / f"{name}.zarr") for name in names]
    assert [one.output.shifts for one in inputs.values()] == shifts


def test_a_folder_with_brackets_is_literal_in_a_pattern_and_in_names(tmp_path):
    for name in ("exp[1]/a/s.zarr", "exp[1]/b/s.zarr", "exp1/c/s.zarr"):
        (tmp_path / name).mkdir(parents=True)
    config = make_config(
        {"input": {"path": "exp[1]/*/s.zarr"}, "output": {"shifts": "{name}.zarr"}}, tmp_path
    )
    inputs = resolve_inputs(config)
    assert list(inputs) == ["a", "b"]
    assert inputs["a"].input.path == str(tmp_path / "exp[1]/a/s.zarr")


def test_a_folder_that_is_called_like_the_placeholder_keeps_its_name(tmp_path):
    folder = tmp_path / "{name}"
    for name in ("a.zarr", "b.zarr"):
        (folder / name).mkdir(parents=True)
    config = make_config(
        {"input": {"path": "*.zarr"}, "output": {"shifts": "out/{name}{x}.zarr"}}, folder
    )
    outputs = [single.output.shifts for single in resolve_inputs(config).values()]
    assert outputs == [str(folder / "out/a{x}.zarr"), str(folder / "out/b{x}.zarr")]
    config = make_config({"input": {"path": "*.zarr"}, "output": {"shifts": "out.zarr"}}, folder)
    with pytest.raises(steadystack.InputError, match=r"out\.zarr is one path for 2 inputs"):
        resolve_inputs(config)
