"""Write docs/reference.md: settings, dataset, statuses, commands and Python names, from the code.

    python scripts/make_reference.py [--check]

With --check nothing is written, and the exit code is 1 if the page differs from the code.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

import steadystack
from steadystack.cli import main as commands
from steadystack.cli.outcomes import EXIT_CODES, GOES_ON_AFTER
from steadystack.config import Config
from steadystack.config.loading import RENAMED
from steadystack.guide import list_presets
from steadystack.model import (
    ATTRIBUTES,
    BESIDE,
    COLUMNS,
    DIMS,
    SHIFT_CONVENTION,
    Column,
    FrameStatus,
    LocalStatus,
    PairStatus,
    Reason,
    Status,
    Trust,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
PRESETS_PAGE = PAGE.with_name("presets.md")
PRESETS = PAGE.parents[1] / "pipeline" / "steadystack" / "data" / "presets"
WIDTH = 100  # of a signature, beyond which every parameter has a line
JSON_TYPES = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
    "null": "null",
}  # fmt: skip


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |".replace("  ", " ")
    yield ""


def code(word: object) -> str:
    return f"`{word}`"


def first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


# Settings: read off the JSON schema, which editors know, too.


def section(title: str, about: dict[str, Any], parts: dict[str, Any], level: int) -> Iterator[str]:
    """The table of a section, and behind it those of the sections in its keys."""
    yield f"{'#' * level} `{title}`"
    yield ""
    yield first_paragraph(about["description"])
    yield ""
    inner: dict[str, str] = {}
    rows = []
    for key, field in about["properties"].items():
        name = f"{title}.{key}"
        for part in sections_in(field):
            inner[name] = part
        default = "required" if key in about.get("required", ()) else value(field["default"])
        limits = "; ".join(dict.fromkeys(limits_of(field)))
        rows.append((code(name), type_of(field, name), default, limits, field["description"]))
    yield from table(("key", "type", "default", "unit, limits", "meaning"), rows)
    for name, part in inner.items():
        yield from section(name, parts[part], parts, level + 1)


def alternatives(field: dict[str, Any]) -> list[dict[str, Any]]:
    """The types that a value may have, null behind the others."""
    found = field.get("anyOf") or field.get("oneOf")
    each = [one for inner in found for one in alternatives(inner)] if found else [field]
    return sorted(each, key=lambda one: one.get("type") == "null")


def items_of(one: dict[str, Any]) -> list[dict[str, Any]]:
    return one.get("prefixItems") or ([one["items"]] if "items" in one else [])


def sections_in(field: dict[str, Any]) -> Iterator[str]:
    for one in alternatives(field):
        if "$ref" in one:
            yield one["$ref"].split("/")[-1]
        for item in items_of(one):
            yield from sections_in(item)


def type_of(field: dict[str, Any], name: str, between: str = ", ") -> str:
    """In words, such as `whole number, list of them`; or the values that are allowed.

    `name` is that of the key, which a section in it has, too.
    """
    words: list[str] = []
    for one in alternatives(field):
        if "enum" in one or "const" in one:
            words += [code(choice) for choice in one.get("enum", [one.get("const")])]
        elif "$ref" in one:
            words.append(f"[section](#{name.replace('.', '')})")
        elif "prefixItems" in one:
            inside = (type_of(item, name, " or ") for item in one["prefixItems"])
            words.append(f"[{', '.join(inside)}]")
        elif "items" in one:
            each = type_of(one["items"], name, " or ")
            same = each == " or ".join(words)
            words.append("list of them" if same else f"list of {plural(each)}")
        else:
            words.append(JSON_TYPES[one["type"]])
    return between.join(dict.fromkeys(words))


def plural(words: str) -> str:
    return words if words.startswith("[") else re.sub(r"(number|text)\b", r"\1s", words)


def limits_of(field: dict[str, Any]) -> Iterator[str]:
    """The unit of a number, and what it or a list has to keep to."""
    for one in alternatives(field):
        low, high = one.get("minimum"), one.get("maximum")
        if "unit" in one:
            yield one["unit"]
        if low is not None:
            yield f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
        if "exclusiveMinimum" in one:
            yield f"above {one['exclusiveMinimum']:g}"
        if "pattern" in one:
            yield f"matches {code(one['pattern'])}"
        if one.get("minLength") == 1:
            yield "not empty"
        for item in items_of(one):
            yield from limits_of(item)
        fewest, most = one.get("minItems", 0), one.get("maxItems")
        if "items" in one and fewest:
            least = f"list of {fewest} or more" if fewest > 1 else "list not empty"
            yield least if most is None else f"list of {fewest} to {most}"


def value(default: Any) -> str:
    """As it stands in a YAML file."""
    return code(default if isinstance(default, str) else json.dumps(default))


def settings() -> Iterator[str]:
    schema = Config.model_json_schema()
    parts = schema["$defs"]
    yield "## Settings"
    yield ""
    yield (
        "The keys of the YAML file, with the section before the dot: `register.max_shift` is the "
        "key `max_shift` in the section `register`. Paths are relative to the folder of the file. "
        "Unknown keys are errors."
    )
    yield ""
    for name, field in schema["properties"].items():
        yield from section(name, parts[next(sections_in(field))], parts, 3)


# The dataset.


def fill_of(column: Column) -> str:
    if column.flags is not None:
        return f"`{int(column.fill)}` ({column.flags.from_code(int(column.fill))})"
    return code("NaN" if np.isnan(column.fill) else int(column.fill))


def unit_of(column: Column) -> str:
    return code(column.unit) if column.unit else ""


def dtype_of(name: str) -> str:
    return name if name == "text" else np.dtype(name).name


def dataset() -> Iterator[str]:
    yield "## The shifts dataset"
    yield ""
    yield f"Convention: {SHIFT_CONVENTION}."
    yield ""
    yield "### Dims"
    yield ""
    yield from table(("dim", "over"), ((code(dim), about) for dim, about in DIMS.items()))
    yield "### Columns"
    yield ""
    yield from table(
        ("name", "dims", "dtype", "until known", "unit", "meaning"),
        (
            (
                code(one.name), ", ".join(one.dims), dtype_of(one.dtype), fill_of(one),
                unit_of(one), one.meaning,
            )
            for one in COLUMNS
        ),
    )  # fmt: skip
    yield "### Coordinates, and what the input tells of its pixels"
    yield ""
    yield from table(
        ("name", "dims", "dtype", "meaning"),
        ((code(one.name), ", ".join(one.dims), dtype_of(one.dtype), one.meaning) for one in BESIDE),
    )
    yield "### Attributes"
    yield ""
    yield from table(
        ("name", "holds", "meaning"),
        ((code(one.name), one.holds, one.meaning) for one in ATTRIBUTES),
    )


# Statuses and the verdict.


def statuses() -> Iterator[str]:
    yield "## Statuses"
    yield ""
    yield (
        "The dataset stores the values. The attributes `flag_values` and `flag_meanings` of each "
        "column name them, as does `steadystack.FrameStatus.from_code(value)`."
    )
    yield ""
    read = [status for status in FrameStatus if status.of_reading]
    about_read = "What reading the frame gave, before the solve."
    for title, about, which in (
        ("Frames: `frame_status`", first_paragraph(FrameStatus.__doc__), FrameStatus),
        ("Reading: `frame_read_status`", about_read, read),
        ("Nodes: `frame_local_status`", first_paragraph(LocalStatus.__doc__), LocalStatus),
        ("Pairs: `pair_status`", first_paragraph(PairStatus.__doc__), PairStatus),
    ):
        yield from (f"### {title}", "", about, "")
        rows = ((str(one.code), code(one), one.meaning) for one in which)
        yield from table(("value", "name", "meaning"), rows)


def verdict() -> Iterator[str]:
    yield "## The verdict"
    yield ""
    yield first_paragraph(Trust.__doc__)
    yield ""
    yield from table(("verdict", "meaning"), ((code(one), one.meaning) for one in Trust))
    yield "### Reasons"
    yield ""
    yield (
        "The codes of `verdict_reasons`. They are stable; causes come before effects. The key is "
        "the setting to try first."
    )
    yield ""
    yield from table(
        ("code", "meaning", "key"),
        ((code(one), one.meaning, code(one.key) if one.key else "") for one in Reason),
    )


# Commands.


def parameters(command: click.Command) -> Iterator[tuple[str, str]]:
    for one in command.params:
        if isinstance(one, click.Option):
            word = "" if one.is_flag else f" {one.metavar or one.type.name.upper()}"
            yield code(", ".join(one.opts) + word), one.help or ""
        else:
            default = f"default: {code(one.default)}" if isinstance(one.default, str) else ""
            yield code(one.metavar or str(one.name).upper()), default or "required"


def paragraphs(command: click.Command) -> Iterator[str]:
    """The help of a command; what stands behind a \\b keeps its lines."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield from ("```sh", *inspect.cleandoc(paragraph[1:]).splitlines(), "```", "")
        else:
            yield from (" ".join(paragraph.split()), "")


def shell() -> Iterator[str]:
    yield "## Commands"
    yield ""
    yield "Each explains itself with `-h` or `--help`."
    yield ""
    for name in ("", *commands.list_commands(click.Context(commands))):
        command = commands.commands[name] if name else commands
        yield f"### `{f'steadystack {name}'.strip()}`"
        yield ""
        yield from paragraphs(command)
        rows = list(parameters(command))
        if rows:
            yield from table(("argument or option", "what it is for"), rows)
    yield "### Exit codes"
    yield ""
    rows = [(code(number), what) for number, what in EXIT_CODES.items()]
    yield from table(("code", "meaning"), rows)
    yield GOES_ON_AFTER
    yield ""


# Python.


def plain(default: Any) -> str:
    """A value as it stands in code, the same in all versions of Python."""
    if isinstance(default, type):
        return default.__name__
    if isinstance(default, str | dict):  # in the quotes that ruff wants to see in the page, too
        return json.dumps(default, ensure_ascii=False)
    return "..." if callable(default) else repr(default)


def signature(name: str, given: Any) -> str:
    """Of a function or a class of plain data; parameters have a line each where one is too long."""
    found = inspect.signature(given)
    words: list[str] = []
    for one in found.parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        kind = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        default = "" if one.default is one.empty else f" = {plain(one.default)}"
        words.append(f"{kind}{one.name}: {one.annotation}{default}")
    behind = f" -> {found.return_annotation}" if inspect.isfunction(given) else ""
    line = f"{name}({', '.join(words)}){behind}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){behind}"])


def entry(module: ModuleType, name: str) -> Iterator[str]:
    """A public name: how it is called, and what it is for."""
    given, full = getattr(module, name), f"{module.__name__}.{name}"
    yield f"### `{full}`"
    yield ""
    about = first_paragraph(inspect.getdoc(given))
    if isinstance(given, ModuleType):
        yield about
    elif isinstance(given, type) and issubclass(given, Exception):
        yield f"An exception, and a `{given.__bases__[0].__name__}`. {about}"
    elif isinstance(given, type) and issubclass(given, Status):
        yield f"An enumeration: [statuses](#statuses). {about}"
    elif callable(given):
        yield from ("```python", signature(name, given), "```", "", about)
    elif name == "__version__":
        yield "The version that is installed, as text."
    else:
        yield from ("```python", f"{name} = {plain(given)}", "```", "")
        yield about_constant(module, name)
    yield ""


def about_constant(module: ModuleType, name: str) -> str:
    """The text below a constant in one of the modules behind a door."""
    for path in sorted(Path(str(module.__file__)).parent.glob("*.py")):
        for node, below in pairwise(ast.parse(path.read_text(encoding="utf-8")).body):
            named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
            if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                return first_paragraph(str(below.value.value))
    raise LookupError(f"nothing says what {module.__name__}.{name} is")


def python() -> Iterator[str]:
    yield "## Python"
    yield ""
    yield "Arguments after a `*` are keyword-only. `help(name)` shows the full docstring of each."
    yield ""
    for module in (steadystack, steadystack.plot):
        for name in module.__all__:
            yield from entry(module, name)


def renamed() -> Iterator[str]:
    yield "## Names that changed"
    yield ""
    yield "Former names of keys and values in the settings. Using an old name is an error."
    yield ""
    rows = ((code(old), code(new)) for old, new in RENAMED.items())
    yield from table(("before", "now"), rows)


def page() -> str:
    """The whole page."""
    lines = [
        "<!-- Made by scripts/make_reference.py from the code: change it there. -->",
        "# Reference",
        "",
        "[Settings](#settings), [the shifts dataset](#the-shifts-dataset), [statuses](#statuses), "
        "[the verdict](#the-verdict), [commands](#commands), [Python](#python), "
        "[names that changed](#names-that-changed). What they are for is in the "
        "[guide](index.md).",
        "",
    ]
    for part in (settings, dataset, statuses, verdict, shell, python, renamed):
        lines += part()
    return "\n".join(lines).rstrip() + "\n"


def presets_page() -> str:
    """The page of the presets."""
    lines = [
        "<!-- Made by scripts/make_reference.py from the code: change it there. -->",
        "# Presets",
        "",
        "Settings to start from, by kind of microscopy:",
        "",
        "```sh",
        "steadystack init STACK --like low-dose-em > run.yaml",
        "steadystack init --list                                # lists them all",
        "```",
        "",
        "The keys of the preset are added to what `init` finds out about the stack. Anything that "
        "depends on the size of things in pixels is left to the pilot. Each preset has a worked "
        "example of the same name, with mask and outputs, tested on a series of its kind.",
        "",
    ]
    for name, about in list_presets().items():
        text = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
        keys = [line for line in text.splitlines() if not line.startswith("#")]
        lines += [f"## {name}", "", about, "", "```yaml", *keys, "```", ""]
        lines += [f"Worked example: [`{name}.yaml`](../configs/{name}.yaml).", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="only say whether the page is up to date"
    )
    given = parser.parse_args()
    for path, text in ((PAGE, page()), (PRESETS_PAGE, presets_page())):
        if not given.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(
                f"{path} differs from the code: python scripts/make_reference.py writes it anew"
            )


if __name__ == "__main__":
    main()
