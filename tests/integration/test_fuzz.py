"""Damaged settings, text files and datasets: refused in words, or taken for what they say."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import steadystack
from steadystack.config import load_config
from steadystack.csv_files import read_pair_list, read_positions
from steadystack.dataset import load_shifts, save_shifts
from steadystack.model import InputError
from support import CONFIGS
from support.framed import scenes
from support.mutations import mutate_folder, mutate_text, no_hang

FEW = 75
COUNTS = [pytest.param(FEW, id="few"), pytest.param(10 * FEW, marks=pytest.mark.slow, id="many")]
MOST_LINES, MOST_CHARACTERS = 21, 25_000


def check_words(error, path=""):
    """An error is a few lines that a terminal can show, and names what it is about."""
    text = str(error)
    assert str(path) in text
    assert 0 < len(text.splitlines()) <= MOST_LINES, text
    assert len(text) <= MOST_CHARACTERS
    assert all(line.isprintable() for line in text.split("\n")), repr(text)


def iterate_leaves(value, keys=()):
    """The single values of nested settings, each with its keys."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from iterate_leaves(inner, (*keys, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from iterate_leaves(inner, (*keys, index))
    else:
        yield keys, value


def get_inner(values, keys):
    for key in keys:
        values = values[key]
    return values


def is_taken_as(given, taken, folder):
    """Whether a setting is what the file says: a number, a text, or a path from its folder."""
    if isinstance(given, float) and np.isnan(given):
        return np.isnan(taken)
    if isinstance(given, str) and isinstance(taken, str):
        return taken in (given, str(folder / given), str(folder / given.rstrip("/")))
    return given == taken and isinstance(given, bool) == isinstance(taken, bool)


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_settings(tmp_path, count):
    rng = np.random.default_rng(20)
    text = (CONFIGS / "full.yaml").read_text(encoding="utf-8")
    path, ends = tmp_path / "run.yaml", Counter()
    defaults = load_config(write(path, b"input: {path: a.zarr}")).dump()
    for _ in range(count):
        content = mutate_text(text, rng)
        with no_hang():
            try:
                config = load_config(write(path, content)).dump()
            except InputError as error:
                check_words(error)
                ends["refused"] += 1
                continue
        ends["taken"] += 1
        said = yaml.safe_load(content.decode("utf-8"))
        for keys, value in iterate_leaves(said):
            if value is None and len(keys) == 1:
                continue  # a section without keys
            assert is_taken_as(value, get_inner(config, keys), tmp_path), (keys, value)
        for name, section in defaults.items():
            for key in set(section) - set(said.get(name) or {}):
                assert config[name][key] == section[key], (name, key)
    assert sum(ends.values()) == count
    assert min(ends["refused"], ends["taken"]) > count / 20, ends  # both kinds are tried


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


POSITIONS = "frame,y,x,z\n" + "".join(
    f"{frame},{1.5 * frame},{frame / 8 - 4},0 # {frame}\n" for frame in range(12)
)
PAIRS = "reference,moving\n" + "".join(f"{frame},{frame + 1}\n" for frame in range(12))


def split_plainly(content: bytes) -> list[list[str]]:
    """The cells of a text, as obviously as possible: quotes around cells, commas between."""
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.split("#")[0] for line in text.split("\n")]
    separator = next((s for line in lines if line.strip() for s in ",;\t" if s in line), ",")
    return [
        [cell.strip().strip('"').strip() for cell in line.split(separator)]
        for line in lines
        if line.strip()
    ]


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_positions(tmp_path, count):
    rng = np.random.default_rng(21)
    path, ends = tmp_path / "p.csv", Counter()
    for _ in range(count):
        content = mutate_text(POSITIONS, rng)
        with no_hang():
            try:
                found = read_positions(str(write(path, content)), ("y", "x"), 12).values
            except InputError as error:
                check_words(error, path)
                ends["refused"] += 1
                continue
        ends["taken"] += 1
        heading, *rows = split_plainly(content)
        columns = [name.lower() for name in heading]
        expected = np.full((12, 2), np.nan)
        for number, row in enumerate(rows):
            frame = int(float(row[columns.index("frame")])) if "frame" in columns else number
            for axis, name in enumerate(("y", "x")):
                place = columns.index(name)
                cell = row[place] if place < len(row) else ""
                expected[frame, axis] = float(cell) if cell else np.nan
        np.testing.assert_array_equal(found, expected, err_msg=repr(content))
    assert sum(ends.values()) == count
    assert min(ends["refused"], ends["taken"]) > count / 20, ends


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_pairs(tmp_path, count):
    rng = np.random.default_rng(22)
    path, ends = tmp_path / "p.csv", Counter()
    for _ in range(count):
        content = mutate_text(PAIRS, rng)
        with no_hang():
            try:
                found = read_pair_list(str(write(path, content))).tolist()
            except InputError as error:
                check_words(error, path)
                ends["refused"] += 1
                continue
        ends["taken"] += 1
        rows = [row for row in split_plainly(content) if any(row)]
        rows = rows[1:] if rows and rows[0] == ["reference", "moving"] else rows
        assert found == [[int(cell) for cell in row] for row in rows], content
    assert sum(ends.values()) == count
    assert min(ends["refused"], ends["taken"]) > count / 20, ends


@pytest.fixture(scope="module")
def shifts():
    return steadystack.estimate_shifts(scenes(8), max_shift=4)


@pytest.mark.parametrize("count", [pytest.param(FEW // 2, id="few"), *COUNTS[1:]])
def test_damaged_datasets(tmp_path, shifts, count):
    rng = np.random.default_rng(23)
    whole, broken, ends = tmp_path / "whole.zarr", tmp_path / "broken.zarr", Counter()
    save_shifts(shifts, str(whole))
    expected = load_shifts(str(whole))
    assert json.loads(expected.attrs["digests"])
    for _ in range(count):
        shutil.copytree(whole, broken)
        mutate_folder(broken, rng)
        with no_hang():
            try:
                xr.testing.assert_identical(load_shifts(str(broken)), expected)
                ends["equal"] += 1
            except InputError as error:
                check_words(error, broken)
                ends["refused"] += 1
        shutil.rmtree(broken)
    assert sum(ends.values()) == count
    assert ends["refused"] > count / 5, ends
