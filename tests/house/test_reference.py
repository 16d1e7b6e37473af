"""What a user may write or read is in the reference, and nothing else is called so."""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import Literal, get_args, get_origin

import click
import numpy as np
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

import make_reference
import steadystack
from steadystack.cli import main
from steadystack.config import Config
from steadystack.config.loading import RENAMED
from steadystack.model import FrameStatus, LocalStatus, PairStatus, Reason, Trust
from steadystack.model.schema import CODEC_STD, COLUMNS, GROWN, SHARED_DRIFT, STACK_FRAMES
from steadystack.motion import MOTION_CHOICE
from support import CONFIGS, ROOT
from support.runs import write_settings

GUIDE = {
    path.stem: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    if path.stem != "reference"
}
FULL = (CONFIGS / "full.yaml").read_text(encoding="utf-8")
PAGE = make_reference.PAGE.read_text(encoding="utf-8")
# What columns and statuses of a dataset were called before.
OLD = (
    "frame_reading", "pair_std", "pair_runner_up", "unlike:", "contradictory", "unconnected",
    "at_bound", 'shifts["shift"]', "shifts.shift",
)  # fmt: skip
PUBLIC = [name for name in steadystack.__all__ if not name.startswith("_")]


def missing(names, text):
    return [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]


def test_every_column_status_command_and_public_name_is_in_the_guide():
    assert missing([column.name for column in COLUMNS], GUIDE["dataset"]) == []
    statuses = [str(status) for kind in (FrameStatus, PairStatus) for status in kind]
    assert missing(statuses, GUIDE["dataset"]) == []
    assert missing([f"steadystack {name}" for name in main.commands], GUIDE["commands"]) == []
    assert missing([f"steadystack.{name}" for name in PUBLIC], GUIDE["python"]) == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_example_has_an_old_name(path):
    keys = {line.split(":")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()}
    old = {key.split(".")[-1] for key in RENAMED if ": " not in key}
    assert not keys & old


def test_no_old_name_is_in_the_guide():
    old = [key for key in RENAMED if "." in key and ": " not in key]
    old += ["strategy: lags", "strategy: strides", *OLD]
    for page, text in GUIDE.items():
        assert [name for name in old if name in text] == [], page


def rows(title):
    """The cells of the tables below a heading of the page, up to the next one of its level."""
    level = title.split()[0]
    text = PAGE.split(f"\n{title}\n")[1]
    text = re.split(rf"\n{level[:1]}{{1,{len(level)}}} ", text)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = [place - 1 for place, line in enumerate(lines) if line.startswith("|---")]
    return [
        [cell.strip() for cell in line[1:-1].split("|")]
        for place, line in enumerate(lines)
        if place not in heads and place - 1 not in heads
    ]


def first(title):
    """What the first cells below a heading name."""
    return [found for row in rows(title) for found in re.findall(r"^`([^`]*)`$", row[0])]


def sections(kind):
    """The sections that the type of a key is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from sections(part)


def keys(section=Config, before=""):
    """(dotted key, field) of all settings, those of sections in lists included."""
    for name, field in section.model_fields.items():
        key = f"{before}{field.alias or name}"
        inside = list(sections(field.annotation))
        if section is not Config:
            yield key, field
        for one in inside:
            yield from keys(one, f"{key}.")


def test_the_page_is_what_the_code_says():
    assert make_reference.page() == PAGE, "python scripts/make_reference.py writes it anew"


def test_check_finds_an_old_page(tmp_path, monkeypatch):
    path = tmp_path / "docs" / "reference.md"
    monkeypatch.setattr(make_reference, "PAGE", path)
    monkeypatch.setattr(sys, "argv", ["make_reference.py", "--check"])
    with pytest.raises(SystemExit, match="differs"):
        make_reference.main()
    monkeypatch.setattr(sys, "argv", ["make_reference.py"])
    make_reference.main()
    monkeypatch.setattr(sys, "argv", ["make_reference.py", "--check"])
    make_reference.main()
    path.write_text(PAGE.replace("pixel", "px", 1), encoding="utf-8")
    with pytest.raises(SystemExit, match="differs"):
        make_reference.main()


def test_every_key_is_on_the_page_with_its_default_and_meaning():
    found = {row[0].strip("`"): row for row in rows("## Settings")}
    for key, field in keys():
        _, _, default, _, meaning = found[key]
        assert meaning == field.description, key
        value = field.get_default()
        shown = default.strip("`")
        if field.is_required():
            assert default == "required", key
        elif isinstance(value, str):
            assert shown == value, key
        else:
            assert json.loads(shown) == (list(value) if isinstance(value, tuple) else value), key
    assert set(found) == {key for key, _ in keys()}


@pytest.mark.parametrize(
    ("key", "kind", "limits"),
    [
        ("register.max_shift", "whole number, text, list of them, null", "pixels; 0 or more; "),
        ("cluster.lost_after", "number", "seconds; 11 to 600"),
        ("mask.valid_range", "[number or null, number or null], null", ""),
        ("solve.interpolate", "`linear`, `spline`, null", ""),
        ("mask.rois.ellipse.radii", "list of numbers or texts", "pixels; list of 2 to 3"),
    ],
)
def test_types_units_and_limits_are_stated(key, kind, limits):
    row = next(row for row in rows("## Settings") if row[0] == f"`{key}`")
    assert row[1] == kind
    assert row[3].startswith(limits)


def test_every_value_that_a_key_may_have_is_on_the_page():
    found = {row[0].strip("`"): row for row in rows("## Settings")}
    for key, field in keys():
        for choice in choices(field.annotation):
            assert f"`{choice}`" in found[key][1], key


def choices(kind):
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    for part in get_args(kind):
        yield from choices(part)


def test_every_column_coordinate_and_attribute_is_on_the_page(folder):
    found = {row[0].strip("`"): row for row in rows("### Columns")}
    assert list(found) == [column.name for column in COLUMNS]
    for column in COLUMNS:
        _, dims, dtype, until, unit, meaning = found[column.name]
        assert dims == ", ".join(column.dims)
        assert np.dtype(dtype) == np.dtype(column.dtype)
        assert float(until.split("`")[1]) == pytest.approx(column.fill, nan_ok=True)
        assert (unit.strip("`"), meaning) == (column.unit, column.meaning)
    np.save(folder / "image.npy", np.random.default_rng(0).normal(size=(40, 50)))
    given = write_settings(folder, external_reference={"path": "image.npy"})
    shifts = steadystack.run(steadystack.load_config(given))
    edited = steadystack.edit_shifts(shifts, shifts["frame_shift"])
    # of a series that grew, where a model was chosen, where frames were, of a shared stage, a video
    others = {CODEC_STD, GROWN, MOTION_CHOICE, STACK_FRAMES, SHARED_DRIFT}
    assert set(first("### Attributes")) == {*edited.attrs} | others
    assert set(first("### Dims")) == {*shifts.sizes, "node_z"}  # that of volumes
    beside = first("### Coordinates, and what the input tells of its pixels")
    assert set(shifts.variables) <= set(beside) | {column.name for column in COLUMNS}


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("### Frames: `frame_status`", FrameStatus),
        ("### Nodes: `frame_local_status`", LocalStatus),
        ("### Pairs: `pair_status`", PairStatus),
    ],
)
def test_every_status_is_on_the_page_with_its_value(title, kind):
    found = [row[:2] for row in rows(title)]
    assert found == [[str(place), f"`{status.value}`"] for place, status in enumerate(kind)]


@pytest.mark.parametrize("kind", [FrameStatus, LocalStatus, PairStatus, Trust, Reason])
def test_every_word_has_a_meaning_on_the_page(kind):
    for word in kind:
        assert re.search(rf"\| `{word}` \| {re.escape(word.meaning)} \|", PAGE), word


def test_the_keys_of_reasons_are_settings():
    known = {key for key, _ in keys()}
    assert {reason.key for reason in Reason} - {""} <= known
    assert first("### Reasons") == [str(reason) for reason in Reason]


def test_what_reading_gives_is_distinguished_from_what_the_solve_says():
    read = {"unmeasured", "ok", "incomplete", "missing", "empty", "flat", "unreadable"}
    assert {row[1].strip("`") for row in rows("### Reading: `frame_read_status`")} == read


@pytest.mark.parametrize("name", ["", *main.commands])
def test_every_command_and_option_is_on_the_page(name):
    command = main.commands[name] if name else main
    found = " ".join(row[0] for row in rows(f"### `{f'steadystack {name}'.strip()}`"))
    for one in command.params:
        for word in one.opts if isinstance(one, click.Option) else [one.make_metavar(*context())]:
            assert word.strip("[]") in found, word


def context():
    """What click wants to be given since 8.2."""
    wants = inspect.signature(click.Argument.make_metavar).parameters
    return [click.Context(main)] if "ctx" in wants else []


def test_the_exit_codes_are_on_the_page():
    assert first("### Exit codes") == ["0", "1", "2", "3", "130", "143"]
    told = CliRunner().invoke(main, ["--help"]).output
    assert "Exit codes: 0 good or check; 1 failed" in told


def test_every_public_name_is_on_the_page_with_its_parameters():
    for module in (steadystack, steadystack.plot):
        for name in module.__all__:
            title, given = f"### `{module.__name__}.{name}`", getattr(module, name)
            text = PAGE.split(f"\n{title}\n")[1].split("\n### ")[0]
            if inspect.isfunction(given):
                told = " ".join(text.split("```")[1].split())
                for parameter in inspect.signature(given).parameters.values():
                    assert f"{parameter.name}: {parameter.annotation}" in told
            assert len(text.split("```")[-1].strip()) > 10, name


def test_no_old_name_is_on_the_page_but_where_they_are_listed():
    now, told = PAGE.split("\n## Names that changed\n")
    for key, new in RENAMED.items():
        assert f"| `{key}` | `{new}` |" in told
        if ": " not in key:
            assert not re.search(rf"`{re.escape(key)}[`.]", now), key
        else:
            name, value = key.split(": ")
            row = next(row for row in rows("## Settings") if row[0] == f"`{name}`")
            assert f"`{value}`" not in row[1], key
    assert [name for name in OLD if name in now] == []
