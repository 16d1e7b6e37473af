"""Read settings from YAML files, and explain what is wrong in them, one line per problem."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from steadystack.config.sections import Certificates
from steadystack.config.settings import Config
from steadystack.config.values import (
    IS_YAML,
    convert_plain,
    explain_reading,
    parse_yaml,
    quote,
    simplify_words,
)
from steadystack.durable import make_absolute
from steadystack.model import InputError

NO_SECTIONS = (
    "settings must be sections of keys, such as `input: {path: stack.zarr}`; `steadystack init "
    "STACK` prints some"
)
# Old names of keys and values, and their present names.
RENAMED = {
    "prior": "initial_shifts", "pairs.lags": "pairs.separations",
    "pairs.reach": "pairs.max_separation", "solve.polish": "solve.refine",
    "preprocess.static": "preprocess.fixed_pattern", "mask.shapes": "mask.rois",
    "register.tile": "register.fft_tile", "register.contrast": "register.allow_inverted: true",
    "correct.valid": "correct.write_valid",
    "pairs.strategy: lags": "separations", "pairs.strategy: strides": "multiscale",
    "correct.interpolation: whole": "nearest", "correct.border: keep": "same",
    "correct.unusable: left": "unmoved", "correct.interpolated: left": "unmoved",
}  # fmt: skip
MAX_BYTES = 16 * 2**20  # of a settings file
MAX_LINES = 20  # problems reported at once
MAX_NAME = 60  # longer names are cut, and not compared with known ones
OUTPUTS = "shifts", "corrected", "mean", "movie", "report", "summary", "performance_report"


def load_config(path: str | Path) -> Config:
    """Read a YAML file; raises InputError with one line per problem.

    Paths in the file are made absolute, relative to the folder of the file.
    """
    path = Path(path)
    expected = f"expected settings, a YAML file: `steadystack init {path} > run.yaml` writes one"
    try:
        size = path.stat().st_size if path.is_file() else 0
        text = "" if size > MAX_BYTES else path.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder: {expected}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8: {expected}") from error
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{quote(str(path))[1:-1]} cannot be read: {reason}") from error
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size} bytes, more than {MAX_BYTES}: {expected}")
    try:
        settings = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", error)).splitlines()[0]
        raise InputError(f"{path}{line}: not valid YAML: {problem}") from error
    if settings is None:
        state = "holds only comments" if text.strip() else "is empty"
        raise InputError(
            f"{path} {state}: `steadystack init STACK > {path.name}` writes settings into it; if "
            "it did not, it printed why"
        )
    if not isinstance(settings, Mapping):
        raise InputError(f"{path}: {NO_SECTIONS}")
    config = make_config(settings, folder=path.parent, is_yaml=True)
    config._settings_path = str(path.resolve())
    return config


def make_config(settings: Any, folder: Path | None = None, *, is_yaml: bool = False) -> Config:
    """Make settings from plain values; paths are relative to `folder`. Raises InputError."""
    if not isinstance(settings, Mapping):
        raise InputError(NO_SECTIONS)
    values = {key: {} if value is None else value for key, value in convert_plain(settings).items()}
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        lines = _explain_all([{**problem, IS_YAML: is_yaml} for problem in error.errors()])
        raise InputError("\n".join(lines)) from error
    return config if folder is None else _resolve_paths(config, folder)


def _resolve_paths(config: Config, folder: Path) -> Config:
    """Make the paths in the settings absolute; relative ones start at `folder`."""

    def resolve(path: str | None) -> str | None:
        return None if path is None else make_absolute(path, folder)

    preprocess = config.preprocess
    updates: dict[str, dict[str, Any]] = {
        "input": {
            "path": _map_paths(resolve, config.input.path),
            "reader": resolve_reader(config.input.reader, folder),
        },
        "mask": {"path": resolve(config.mask.path)},
        "object_": {"mask": resolve(config.object_.mask)},
        "preprocess": {
            name: path if path == keyword else resolve(path)
            for name, path, keyword in (
                ("flat_field", preprocess.flat_field, "median"),
                ("fixed_pattern", preprocess.fixed_pattern, "estimate"),
            )
        },
        "initial_shifts": {"path": resolve(config.initial_shifts.path)},
        "external_reference": {
            "path": resolve(config.external_reference.path),
            "mask": resolve(config.external_reference.mask),
        },
        "pairs": {"path": resolve(config.pairs.path)},
        "correct": {"stack": resolve(config.correct.stack)},
        "mean": {"path": resolve(config.mean.path)},
        "output": {name: resolve(getattr(config.output, name)) for name in OUTPUTS},
        "cluster": {
            "scheduler_file": resolve(config.cluster.scheduler_file),
            "job_folder": resolve(config.cluster.job_folder),
            "security": _resolve_certificates(config.cluster.security, resolve),
        },
    }
    return config.model_copy(
        update={
            name: getattr(config, name).model_copy(update=changes)
            for name, changes in updates.items()
        }
    )


def resolve_reader(reader: str | None, folder: Path) -> str | None:
    """Make the path in ``file.py:function`` absolute; ``package:function`` is unchanged."""
    is_file = reader is not None and reader.rpartition(":")[0].endswith(".py")
    return make_absolute(reader, folder) if reader is not None and is_file else reader


def _map_paths(function: Callable[[str], Any], paths: str | tuple[str, ...]) -> Any:
    return function(paths) if isinstance(paths, str) else tuple(map(function, paths))


def _resolve_certificates(security: Any, make_absolute: Callable[[str | None], str | None]) -> Any:
    if not isinstance(security, Certificates):
        return security
    paths = security.model_dump()
    return security.model_copy(update={name: make_absolute(path) for name, path in paths.items()})


def _explain_all(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """Explain pydantic's problems, with a line for each wrong value.

    For a key that allows several types, pydantic reports a problem for each of them.
    """
    by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for problem in problems:
        is_unknown = problem["type"] == "extra_forbidden"
        key = tuple(problem["loc"]) if is_unknown else _find_key(problem["loc"])
        by_key.setdefault(key, []).append(problem)
    lines: list[str] = []
    for number, (key, key_problems) in enumerate(by_key.items()):
        if len(lines) >= MAX_LINES:
            return [*lines[:MAX_LINES], f"and {len(by_key) - number} more invalid keys"]
        has_inner = any(other_key[: len(key)] == key != other_key for other_key in by_key)
        if has_inner and not _is_final(key_problems):
            continue  # the value has the type whose problems are those of the inner keys
        if len(key_problems) == 1:
            lines.append(_explain(key_problems[0]))
            continue
        refusal = f"{_format_location(key)}: {quote(key_problems[0]['input'])} is not allowed; "
        if reading := explain_reading(key_problems):
            lines.append(f"{refusal}{reading}{_describe(key)}")
            continue
        depth = max(len(problem["loc"]) for problem in key_problems)
        has_limit = any(
            "type" not in str(problem["type"]) and problem["type"] != "literal_error"
            for problem in key_problems
        )
        inner_problems = [
            problem
            for problem in key_problems
            if "type" not in str(problem["type"])
            and (problem["type"] != "literal_error" or not has_limit)
            and not (problem["type"] == "too_short" and len(problem["loc"]) < depth)
        ]
        if inner_problems:
            lines += [_explain(problem) for problem in inner_problems[:MAX_LINES]]
            if len(inner_problems) > MAX_LINES:
                rest = len(inner_problems) - MAX_LINES
                lines.append(f"{_format_location(key)}: and {rest} more invalid values")
        else:
            lines.append(f"{refusal}{_describe(key)}")
    return lines


def _is_final(problems: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a problem says more than that the value has a wrong type, or is not a choice."""
    return any(
        problem["type"] != "literal_error" and "_type" not in problem["type"]
        for problem in problems
    )


def _explain(problem: Mapping[str, Any]) -> str:
    """Explain one of pydantic's errors in a line: the key, the value, and what is allowed."""
    location, value = problem["loc"], problem.get("input")
    key = _format_location(location) or "settings"
    match problem["type"]:
        case "extra_forbidden":
            section = _find_section(location[:-1])
            name = _format_name(location[-1])
            names = _list_keys(section)
            close_names = _find_close(name, names) or _find_elsewhere(name)
            hint = f"known keys: {', '.join(names)}"
            if close_names:
                hint = f"did you mean {close_names[0]}?"
            dotted_key = ".".join(filter(None, (_format_location(location[:-1]), name)))
            if dotted_key in RENAMED:
                return f"{dotted_key}: this key is now called {RENAMED[dotted_key]}"
            return f"{dotted_key}: unknown key; {hint}"
        case "missing":
            if key == "input":
                key, location = "input.path", ("input", "path")
            return f"{key}: missing; {_describe(location)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            keys = _list_keys(_find_section(location))
            is_path = keys[0] == "path" and isinstance(value, str) and len(value) <= MAX_NAME
            suggestion = f"did you mean {key}: {{path: {value}}}? " if is_path else ""
            return (
                f"{key}: {quote(value)} is not allowed; {suggestion}expected a section with the "
                f"keys {', '.join(keys)}"
            )
        case "literal_error" if f"{key}: {value}" in RENAMED:
            return f"{key}: {quote(value)} is now called {RENAMED[f'{key}: {value}']}"
        case "literal_error":
            return f"{key}: {quote(value)} is not allowed; {_describe_choices(problem)}"
        case "value_error":
            return f"{key}: {str(problem['msg']).removeprefix('Value error, ')}"
        case _:
            detail = simplify_words(str(problem["msg"]))
            reading = explain_reading([problem])
            return (
                f"{key}: {quote(value)} is not allowed; {reading}{detail} ({_describe(location)})"
            )


def _find_close(name: str, names: Sequence[str]) -> list[str]:
    """Find the most similar of some names, if any; none for a long name, which would be slow."""
    return [] if len(name) > MAX_NAME else difflib.get_close_matches(name, names, n=1)


def _format_name(key: Any) -> str:
    """Format a key on one line, abbreviated if it is long."""
    name = str(key)
    return name if name.isprintable() and len(name) <= MAX_NAME else quote(name)


def _list_keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _find_elsewhere(key: str) -> list[str]:
    """List the keys of this name in all sections, joined to one text; empty if there are none."""
    dotted_keys = [
        f"{section}.{key}"
        for section in _list_keys(Config)
        if key in _list_keys(_find_section((section,)))
    ]
    return [" or ".join(dotted_keys)] if dotted_keys else []


def _describe_choices(problem: Mapping[str, Any]) -> str:
    """Describe the allowed values of a key, naming each once, and suggest the most similar one."""
    expected = re.findall(r"'([^']*)'", str(problem["ctx"]["expected"]))
    close_choices = _find_close(quote(problem["input"]).strip("'"), expected)
    description = _describe(problem["loc"])
    are_described = all(
        re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", description) for choice in expected
    )
    listed = description if are_described else f"{', '.join(expected)}: {description}"
    if not close_choices:
        return listed
    suggestion = close_choices[0] if isinstance(problem["input"], str) else repr(close_choices[0])
    return f"did you mean {suggestion}? ({listed})"


def _format_location(location: Sequence[Any]) -> str:
    """Format a location in the settings as dotted keys, without the types that pydantic tried."""
    return ".".join(str(key) for key, _, _ in _walk_keys(location))


def _find_key(location: Sequence[Any]) -> tuple[Any, ...]:
    """Cut a location after its innermost key, before the items and types of the value."""
    keys = [key for key, _, _ in _walk_keys(location)]
    while keys and isinstance(keys[-1], int):
        keys.pop()
    return tuple(keys)


def _find_section(location: Sequence[Any]) -> type[BaseModel]:
    """Find the section at a location in the settings, or else the one that contains it."""
    return ([Config] + [section for _, _, section in _walk_keys(location)])[-1]


def _describe(location: Sequence[Any]) -> str:
    """Describe what a key is for: its description in the settings, or its section's docstring."""
    description = ""
    for _, field, section in _walk_keys(location):
        if field is not None:
            description = field.description or (section.__doc__ or "").split("\n")[0].strip(".")
    return description


def _walk_keys(
    location: Sequence[Any],
) -> Iterator[tuple[Any, FieldInfo | None, type[BaseModel]]]:
    """Yield the keys and item numbers on the way to a location, as (key, field, section).

    `section` is the one that the key leads to; item numbers have no field (None).
    """
    section: type[BaseModel] = Config
    for component in location:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        if isinstance(component, int):
            yield component, None, section
        elif component in fields:
            field = fields[component]
            section = next(_find_sections(field.annotation), section)
            yield component, field, section


def _find_sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the sections that a type contains: itself, the items of a list, one of several types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _find_sections(argument)
