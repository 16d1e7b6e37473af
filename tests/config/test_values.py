"""Plain values out of YAML and of programs: odd ones are told of in a line, and none takes long."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import yaml

from steadystack.config import load_config, make_config
from steadystack.config.values import MAX_DEPTH, convert_plain, explain_reading, parse_yaml, quote
from steadystack.model import InputError, as_settings

START = "input:\n  path: a.zarr\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 50))

BAD_TEXTS = {
    "copies of copies": (LAUGHS, "more than 1000000 values, or 30 levels of them, after expandin"),
    "a chain of copies": (CHAIN, "30 levels of them, after expanding aliases"),
    "itself": ("mask: &m\n  path: *m\n", "line 2: not valid YAML: an alias refers to something"),
    "deep": ("mask: " + "[" * 5000, "line 1: not valid YAML: nested more than 30 levels deep"),
    "deep, closed": ("mask: " + "[" * 99 + "]" * 99, "nested more than 30 levels deep"),
    "deep sections": ("{a: " * 5000, "nested more than 30 levels deep"),
    "a list as a key": ("? [a, b]\n: 1\n", "line 1: not valid YAML: a key is a list or a section"),
    "a section as a key": ("{{a: b}: c}", "a key is a list or a section"),
    "a key twice": (START + "input: 3\n", "line 3: not valid YAML: the key 'input' occurs twice"),
    "a number as a key": (START + "7: 3\n", "settings: the key 7 is not text: keys are names"),
    "a truth as a key": ("mask: {yes: 3}", "mask: the key True is not text"),
    "a number of 400 digits": (
        START + f"pairs:\n  width: {'9' * 400}\n",
        "pairs.width: 99",
    ),
    "a number of 5000 digits": (START + f"pairs: {{width: {'9' * 5000}}}\n", "of type int"),
    "an octal number": (
        START + "register:\n  max_shift: 010\n",
        "line 4: not valid YAML: 010 is 8 in YAML, in base 8: write that number",
    ),
    "a time of day": (START + "register: {max_shift: 1:30}", "1:30 is 90 in YAML, in base 60"),
    "NUL in quotes": (START + 'mask: {path: "a\\0b"}', "mask.path: 'a\\x00b' contains a NUL"),
    "half a pair": (
        START + 'mask: {path: "a\\uD800"}',
        "mask.path: 'a\\ud800' contains half of a surrogate pair",
    ),
    "NUL": (START + "mask: {path: a\0b}", "not valid YAML: unacceptable character #x0000"),
    "a tab": (START + "\tmask: 3\n", "line 3: not valid YAML"),
    "a bad tag": ("a: !!int ''", "line 1: not valid YAML: '' is not a value of type int"),
    "a bad truth": ("a: !!bool perhaps", "'perhaps' is not a value of type bool"),
    "a bad date": ("a: 2026-99-99", "'2026-99-99' is not a value of type timestamp"),
    "a tag of Python": ("a: !!python/object:os.system x", "line 1: not valid YAML: could not det"),
    "two documents": ("a: 1\n---\nb: 2\n", "not valid YAML"),
    "nothing": ("", "is empty"),
    "a list": ("- a\n- b\n", "settings must be sections of keys"),
    "inf": (START + "cluster: {worker_timeout: .inf}", "worker_timeout: inf is not allowed; a fin"),
    "far too wide": (START + "preprocess: {high_pass: 1.0e+300}", "high_pass: 1e+300 is not allo"),
    "far too many": (
        START + "pairs: {extra: 1.0e+300}",
        "pairs.extra: 1e+300 is not allowed; less",
    ),
    "far too deep": (
        START + "correct: {levels: 99999999}",
        "correct.levels: 99999999 is not allow",
    ),
    "nan": (START + "mask: {saturation: .nan}", "mask.saturation: nan is not allowed"),
    "nan in a list": (START + "mask: {valid_range: [.nan, 3]}", "mask.valid_range.0: nan is not"),
    "inf in a shape": (
        START + "mask: {rois: [{ellipse: {centre: [.inf, 3], radii: [3, 3]}}]}",
        "mask.rois.0.ellipse.centre",
    ),
}


@pytest.mark.parametrize("name", list(BAD_TEXTS))
def test_a_text_that_is_no_settings_is_refused_in_a_line(tmp_path, name):
    text, words = BAD_TEXTS[name]
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfei\0n\0", "is not a text file in UTF-8"),
        (b"input: {path: \xe9}", "is not a text file in UTF-8"),
        (b"a" * (16 * 2**20 + 1), "has 16777217 bytes, more than 16777216: expected settings"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, content, words):
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_config(tmp_path / "run.yaml")


def test_a_folder_and_an_impossible_path_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder: expected settings"):
        load_config(tmp_path)
    with pytest.raises(InputError, match=r"a\\x00b cannot be read: embedded null byte"):
        load_config("a\0b")


def test_thousands_of_wrong_keys_are_reported_in_a_few_lines(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(START + "".join(f"key{n}: 3\n" for n in range(20_000)))
    with pytest.raises(InputError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("key0: unknown key; ")
    assert lines[-1] == "and 19980 more invalid keys"
    assert len(lines) == 21


def test_thousands_of_wrong_values_are_reported_in_a_few_lines():
    with pytest.raises(InputError) as caught:
        make_config({"input": {"path": "a"}, "pairs": {"separations": [-1] * 20_000}})
    assert len(str(caught.value).splitlines()) <= 21
    assert "pairs.separations.0: -1 is not allowed" in str(caught.value)
    assert "and 19980 more invalid values" in str(caught.value)


def test_long_names_and_values_are_cut():
    for settings in (
        {"x" * 10**6: 3},
        {"mask": {"x" * 10**6: 3}},
        {"pairs": {"width": "9" * 10**6}},
    ):
        with pytest.raises(InputError) as caught:
            make_config({"input": {"path": "a"}, **settings})
        assert len(str(caught.value)) < 1000


def test_names_are_reported_on_one_line():
    with pytest.raises(InputError) as caught:
        make_config({"input": {"path": "a"}, "mask\nerror: none": 3})
    assert str(caught.value).startswith("'mask\\nerror: none': unknown key")


def test_values_that_hold_themselves_are_refused():
    inner: dict[str, object] = {}
    inner["a"] = inner
    with pytest.raises(InputError, match=f"mask: nested more than {MAX_DEPTH} levels deep"):
        make_config({"mask": inner})


def test_good_values_are_what_they_were():
    text = "a: &x {b: [1, 2.5, .inf, yes, ~, 1e3, 0x10, '010', 0, 1_000, -3]}\nc: *x\n<<: {d: 7}\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert convert_plain({"a": (np.int64(3), np.float32(0.5))}) == {"a": [3, 0.5]}
    assert convert_plain(2**63 - 1) == 2**63 - 1


def test_a_value_is_quoted_on_one_line():
    assert quote("a\nb") == "'a\\nb'"
    assert quote(10**5000) == "this int"
    assert len(quote("a" * 500)) == 203


@pytest.mark.parametrize("text", ["6e4", "1e-3", "1.5e3", "-.5e2", "+3.E7", "12e+2"])
def test_what_errors_say_to_write_is_read_as_that_number(text):
    """YAML 1.1 reads none of them as a number."""
    assert parse_yaml(text) == text
    told = explain_reading([{"type": "float_type", "input": text}])
    ways = told.partition(": write ")[2].removesuffix("; ").split(", or ")
    assert ways[0]
    assert {parse_yaml(way) for way in ways} == {float(text)}


@pytest.mark.parametrize("wrap", [as_settings, lambda settings: settings])
@pytest.mark.parametrize(
    ("key", "way"),
    [
        ("preprocess.flat_field", ", or divide the frames by it before they are measured; "),
        ("preprocess.fixed_pattern", ", or subtract it from the frames before they are measured; "),
        ("mask.path", ", or call estimate_shifts(stack, mask=array); "),
        ("object.mask", ", or call estimate_shifts(stack, object_mask=array); "),
        ("external_reference.path", ", or call estimate_shifts(stack, external_reference=array); "),
        ("external_reference.mask", "; "),
        ("initial_shifts.path", ", or call estimate_shifts(stack, initial_shifts=array); "),
        ("pairs.path", "; "),
        ("correct.stack", "; "),
        ("input.path", "; "),
    ],
)
def test_an_array_for_a_path_is_described_by_its_shape_and_how_it_is_given(key, way, wrap):
    section, name = key.split(".")
    array = np.arange(48 * 40, dtype="f4").reshape(48, 40)
    settings = {"input": {"path": "a.zarr"}} | wrap({section: {name: array}})
    with pytest.raises(InputError) as refused:
        make_config(settings)
    told = (
        f"{key}: an array of the shape (48, 40) and the type float32 is not allowed; write it to a "
        f"file and give its path{way}"
    )
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "key", ["solve.anchor", "preprocess.low_pass", "preprocess", "motion.model"]
)
def test_other_arrays_are_described_by_their_shape(key):
    section, _, name = key.partition(".")
    array = np.ones((3, 48, 40))
    for given in (array, xr.DataArray(array), as_settings(array)):
        with pytest.raises(InputError) as refused:
            make_config({"input": {"path": "a.zarr"}, section: {name: given} if name else given})
        told = f"{key}: an array of the shape (3, 48, 40) and the type float64 is not allowed; "
        assert str(refused.value).startswith(told)
        assert "give its path" not in str(refused.value)
    short = as_settings({"input": {"path": "a.zarr"}, "register": {"max_shift": np.array([3, -4])}})
    with pytest.raises(InputError, match=r"-4"):
        make_config(short)
