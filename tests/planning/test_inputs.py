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
