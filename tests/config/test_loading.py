"""Settings from files and from Python: what is taken, and what is told of mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steadystack.config import load_config, make_config
from steadystack.model import InputError
from support import CONFIGS


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_loads(path):
    config = load_config(path)
    assert CONFIGS in Path(config.input.path).parents


ERRORS = {
    "registr": ({"registr": {}}, "registr: unknown key; did you mean register?"),
    "max_shft": ({"register": {"max_shft": 3}}, "register.max_shft: unknown key; did you mean max"),
    "far off": ({"solve": {"zzz": 3}}, "solve.zzz: unknown key; known keys: anchor"),
    "text for a number": ({"pairs": {"width": "5"}}, "pairs.width: '5' is not allowed; a whole"),
    "number for a text": ({"output": {"shifts": 5}}, "output.shifts: 5 is not allowed"),
    "bool for a number": ({"pairs": {"width": True}}, "pairs.width: True is not allowed"),
    "too small": ({"pairs": {"width": 0}}, "pairs.width: 0 is not allowed; greater than or"),
    "out of range": ({"register": {"min_overlap": 2.0}}, "min_overlap: 2.0 is not allowed"),
    "a choice": (
        {"pairs": {"strategy": "windw"}},
        "pairs.strategy: 'windw' is not allowed; did you mean window? (auto, consecutive, "
        "reference, window, separations, multiscale, all or list; auto: window, or multiscale from "
        "400 frames on)",
    ),
    "a choice that is a text": ({"correct": {"format": 0.4}}, "did you mean '0.4'? (version of"),
    "a key of another section": (
        {"mask": {"max_shift": 3}},
        "mask.max_shift: unknown key; did you mean register.max_shift?",
    ),
    "a path for a section": (
        {"mask": "m.npy"},
        "mask: 'm.npy' is not allowed; did you mean mask: {path: m.npy}? expected a section with "
        "the keys path,",
    ),
    "a choice of an item": (
        {"mask": {"rois": [{"polygon": [[0, 0], [0, 9], [9, 0]], "valid": "in"}]}},
        "mask.rois.0.valid: 'in' is not allowed; the side that is valid: inside or outside",
    ),
    "a key of an item": (
        {"mask": {"rois": [{"elipse": {}}]}},
        "mask.rois.0.elipse: unknown key; did you mean ellipse?",
    ),
    "a key of an item, far off": (
        {"mask": {"rois": [{"polygon": [[0, 0], [0, 9], [9, 0]], "zzz": 1}]}},
        "mask.rois.0.zzz: unknown key; known keys: ellipse, polygon, valid",
    ),
    "a key inside an item": (
        {"mask": {"rois": [{"ellipse": {"centre": [1, 2], "radii": [3, 4], "zzz": 1}}]}},
        "mask.rois.0.ellipse.zzz: unknown key; known keys: centre, radii",
    ),
    "a value inside an item": (
        {"mask": {"rois": [{"ellipse": {"centre": [1, 2]}}]}},
        "mask.rois.0.ellipse.radii: missing; half its width along each axis",
    ),
    "an item of several types": (
        {"mask": {"rois": [{"ellipse": {"centre": [1, None], "radii": [3, 4]}}]}},
        "mask.rois.0.ellipse.centre: None is not allowed; its centre, [y, x]",
    ),
    "a key of one of several types": (
        {"cluster": {"security": {"ca": "a", "cert": "b", "key": "c", "zzz": 1}}},
        "cluster.security.zzz: unknown key; known keys: ca, cert, key",
    ),
    "one of several types": ({"register": {"max_shift": 1.5}}, "max_shift: 1.5 is not allowed"),
    "inside a list": ({"mask": {"border": [1, -2]}}, "mask.border.1: -2 is not allowed; greater"),
    "labels": ({"correct": {"labels": True, "invalid": "fill"}}, "labels have no mean"),
    "no list": ({"mask": {"invalid_values": "x"}}, "mask.invalid_values: 'x' is not allowed"),
    "an empty list": ({"pairs": {"separations": []}}, "pairs.separations"),
    "no section": ({"mask": 3}, "mask: 3 is not allowed"),
    "an address": ({"cluster": {"kind": "address"}}, "cluster: kind 'address' needs the key"),
    "no size": ({"cluster": {"task_memory": "much"}}, "cluster: task_memory 'much' is not a size"),
    "no such output": ({"output": {"shifts": "a.csv"}}, "output: shifts 'a.csv' must end in .zarr"),
    "output to a web server": (
        {"output": {"shifts": "https://b/a.zarr"}},
        "output: https://b/a.zarr cannot be written: outputs go to local paths or object stores",
    ),
    "an output that is a bucket": (
        {"output": {"report": "s3://a.html"}},
        "output: s3://a.html does not name an object in a bucket",
    ),
    "a letter that URLs do not take": (
        {"output": {"corrected": "s3://b/a%20.zarr"}},
        "output: s3://b/a%20.zarr: the name of an object cannot contain %",
    ),
    "a range upside down": ({"mask": {"valid_range": [5, 1]}}, "mask: valid_range [5, 1]"),
    "an infinite sigma": ({"preprocess": {"high_pass": float("inf")}}, "preprocess.high_pass: inf"),
    "no bounds": ({"register": {"max_shift": []}}, "register.max_shift"),
    "a section that is a text": (
        {"pairs": "separations"},
        "pairs: 'separations' is not allowed; expected a section with",
    ),
    "a separation of nothing": (
        {"pairs": {"separations": [0]}},
        "pairs.separations.0: 0 is not allowed; greater",
    ),
    "no picture": ({"output": {"report": "a.pptx"}}, "output: report 'a.pptx' must end in .html"),
    "no list of pairs": ({"pairs": {"strategy": "list"}}, "pairs: strategy list needs exactly one"),
    "two lists of pairs": (
        {"pairs": {"strategy": "list", "list": [[0, 1]], "path": "a.csv"}},
        "pairs: strategy list needs exactly one of the keys list and path",
    ),
    "a list for nothing": ({"pairs": {"list": [[0, 1]]}}, "pairs: list is for strategy list"),
    "a pair of three": ({"pairs": {"strategy": "list", "list": [[0, 1, 2]]}}, "pairs.list.0"),
    "no interpolation": ({"solve": {"interpolate": "cubic"}}, "solve.interpolate: 'cubic' is not"),
    "text to YAML": (
        {"mask": {"saturation": "6e4"}},
        "mask.saturation: '6e4' is not allowed; YAML reads 6e4 as text: write 6.0e+4, or 60000; ",
    ),
    "text to YAML, a fraction": (
        {"register": {"min_overlap": "1e-1"}}, "YAML reads 1e-1 as text: write 1.0e-1, or 0.1; a n",
    ),
    "text to YAML, with a point": (
        {"mask": {"valid_range": [0, "1.5e3"]}}, "1: '1.5e3' is not allowed; YAML reads 1.5e3 as "
        "text: write 1.5e+3, or 1500; a number",
    ),
    "text to YAML, a whole number": (
        {"pairs": {"width": "1e1"}}, "YAML reads 1e1 as text: write 10; a whole number (window: ",
    ),
    "text to YAML, in a list": (
        {"mask": {"border": ["1E1", 2]}}, "mask.border: ['1E1', 2] is not allowed; YAML reads 1E1 "
        "as text: write 10; width",
    ),
    "text to YAML, tiny": (
        {"mask": {"saturation": ".5e-20"}}, "YAML reads .5e-20 as text: write 0.5e-20; pixels",
    ),
    "text to YAML, endless": (
        {"mask": {"saturation": "1e999"}}, "mask.saturation: '1e999' is not allowed; pixels at",
    ),
    "text to YAML, where a length may be": (
        {"register": {"max_shift": "6e1"}},
        "register.max_shift: '6e1' is not allowed; YAML reads 6e1 as text: write 60; largest shift",
    ),
    "text to YAML, where lengths may be": (
        {"register": {"max_shift": [3, "1.5e1"]}}, "YAML reads 1.5e1 as text: write 15; largest",
    ),
    "a number in quotes": (
        {"register": {"max_shift": ["32", 4]}},
        "register.max_shift.0: '32' is not allowed; pixels are a number without quotes, and a leng",
    ),
    "text to YAML, in a corner": (
        {"mask": {"rois": [{"ellipse": {"centre": ["1e2", 3], "radii": [3, 3]}}]}},
        "YAML reads 1e2 as text: write 1.0e+2, or 100; ",
    ),
    "no boolean": (
        {"input": {"path": False}},
        "input.path: False is not allowed; YAML reads no, off and false as False: quote it if "
        "it is text; OME-Zarr",
    ),
    "no boolean, alone": (
        {"output": {"report": True}},
        "output.report: True is not allowed; YAML reads yes, on and true as True: quote it if",
    ),
    "a boolean for a choice": ({"motion": {"model": False}}, "False is not allowed; translation; "),
    "no flag": ({"register": {"subpixel": "yes"}}, "register.subpixel: 'yes' is not allowed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_with_key_value_and_way_out(name):
    settings, words = ERRORS[name]
    with pytest.raises(InputError) as raised:
        make_config({"input": {"path": "a"}, **settings}, is_yaml=True)
    assert str(raised.value).startswith(words) or words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [name for name in ERRORS if "YAML" in ERRORS[name][1]])
def test_a_program_is_told_nothing_of_yaml(name):
    settings, _ = ERRORS[name]
    with pytest.raises(InputError, match="is not allowed; ") as raised:
        make_config({"input": {"path": "a"}, **settings})
    assert "YAML" not in str(raised.value).split(";")[1]
    assert "reads" not in str(raised.value)


def test_several_errors_are_a_line_each():
    with pytest.raises(InputError) as raised:
        make_config({"inptu": {}, "pairs": {"width": 0}})
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("input.path: missing") for line in lines)


def test_files_that_are_no_settings(tmp_path):
    (tmp_path / "list.yaml").write_text("- 3\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "notes.yaml").write_text("# later\n")
    (tmp_path / "torn.yaml").write_text("input: {path: a\nmask: [\n")
    (tmp_path / "twice.yaml").write_text("input: {path: a}\nmask: {border: 1}\nmask: {border: 2}\n")
    (tmp_path / "latin.yaml").write_bytes(b"input: {path: \xe4.zarr}\n")
    (tmp_path / "date.yaml").write_text("input: {path: 2020-13-45}\n")
    for name, words in (
        ("none.yaml", "cannot be read: No such file"),
        ("list.yaml", "list.yaml: settings must be sections of keys"),
        ("a.zarr", "a.zarr is a folder: expected settings, a YAML file: `steadystack init"),
        ("empty.yaml", "empty.yaml is empty: `steadystack init STACK > empty.yaml` writes"),
        ("notes.yaml", "notes.yaml holds only comments: `steadystack init STACK"),
        ("torn.yaml", r"torn.yaml, line \d: not valid YAML"),
        ("twice.yaml", "line 3: not valid YAML: the key 'mask' occurs twice"),
        ("latin.yaml", "not a text file in UTF-8"),
        ("date.yaml", "not valid YAML"),
    ):
        with pytest.raises(InputError, match=words):
            load_config(tmp_path / name)


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "run.yaml").write_text(
        "input: {path: a.zarr}\nmask: {path: ../m.zarr}\noutput: {report: /tmp/r.png}\n"
        "preprocess: {flat_field: median}\npairs: {strategy: list, path: pairs.csv}\n"
    )
    monkeypatch.chdir(tmp_path)
    config = load_config("deep/run.yaml")
    assert config.input.path == str(folder / "a.zarr")
    assert config.mask.path == str(tmp_path / "m.zarr")
    assert config.output.shifts == str(folder / "shifts.zarr")
    assert config.output.report == "/tmp/r.png"
    assert config.pairs.path == str(folder / "pairs.csv")
    assert config.preprocess.flat_field == "median"
    remote = make_config({"input": {"path": "s3://bucket/a.zarr"}}, folder)
    assert remote.input.path == "s3://bucket/a.zarr"


def test_empty_sections_and_numpy_s_numbers_are_taken():
    given = {
        "input": {"path": "a"},
        "mask": None,
        "register": {"max_shift": np.int64(10)},
        "pairs": {"strategy": "separations", "separations": (np.int64(1), np.int32(3))},
    }
    config = make_config(given)
    assert config.register_.max_shift == 10
    assert config.pairs.separations == (1, 3)


RENAMED = {
    "pairs.lags": ([1, 2], "pairs.separations"),
    "pairs.reach": (8, "pairs.max_separation"),
    "solve.polish": (1, "solve.refine"),
    "preprocess.static": ("estimate", "preprocess.fixed_pattern"),
    "mask.shapes": ([], "mask.rois"),
    "register.tile": (32, "register.fft_tile"),
    "register.contrast": ("either", "register.allow_inverted: true"),
    "correct.valid": (True, "correct.write_valid"),
    "pairs.strategy": ("lags", "separations"),
    "pairs.strategy ": ("strides", "multiscale"),
    "correct.interpolation": ("whole", "nearest"),
    "correct.border": ("keep", "same"),
    "correct.unusable": ("left", "unmoved"),
    "correct.interpolated": ("left", "unmoved"),
}


@pytest.mark.parametrize("key", RENAMED)
def test_what_was_called_otherwise_is_an_error_that_names_it(key):
    value, now = RENAMED[key]
    section, name = key.strip().split(".")
    with pytest.raises(InputError, match=rf"^{section}\.{name}: .*\bnow called {now}$"):
        make_config({"input": {"path": "a"}, section: {name: value}})


def test_the_section_that_was_called_prior_is_named():
    with pytest.raises(InputError, match=r"^prior: .*\bnow called initial_shifts$"):
        make_config({"input": {"path": "a"}, "prior": {"path": "b.csv"}})
