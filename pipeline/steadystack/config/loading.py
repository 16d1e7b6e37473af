"""From YAML files to settings, and from what is wrong in them to a line each."""

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
from steadystack.durable import get_place
from steadystack.model import InputError

NO_SECTIONS = (
    "settings must be sections of keys, such as `input: {path: stack.zarr}`; `steadystack init "
    "STACK` prints some"
)
# What keys and values were called before, and are called now.
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
# Pydantic's words, and ours.
PLAINER = (
    (", unable to parse .*", ""),
    (r"\w+ should have (.*) after validation, not \d+", r"\1"),
    (r"String should match pattern '\^\[(\w+)\]\+\$'", r"letters of \1"),
    ("valid integer", "whole number"),
    ("valid ", ""),
    ("string", "text"),
    ("tuple", "list"),
)


def load_config(path: str | Path) -> Config:
    """Read a YAML file; raises InputError with one line per problem.

    Paths in the file are made absolute, relative to the folder of the file.
    """
    path = Path(path)
    wanted = f"expected settings, a YAML file: `steadystack init {path} > run.yaml` writes one"
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder: {wanted}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8: {wanted}") from error
    try:
        settings = yaml.load(text, _UniqueKeys)
    except (yaml.YAMLError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        what = str(getattr(error, "problem", error)).splitlines()[0]
        raise InputError(f"{path}{line}: not valid YAML: {what}") from error
    if settings is None:
        state = "holds only comments" if text.strip() else "is empty"
        raise InputError(
            f"{path} {state}: `steadystack init STACK > {path.name}` writes settings into it; if "
            "it did not, it printed the reason"
        )
    if not isinstance(settings, Mapping):
        raise InputError(f"{path}: {NO_SECTIONS}")
    return make_config(settings, folder=path.parent)


class _UniqueKeys(yaml.SafeLoader):
    """A loader that takes a key that stands twice for the mistake it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} occurs twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _convert_plain(value: Any) -> Any:
    """Numpy's numbers as Python's, in settings that were made by a program."""
    if isinstance(value, Mapping):
        return {key: _convert_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_convert_plain(inner) for inner in value]
    return value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value


def make_config(settings: Any, folder: Path | None = None) -> Config:
    """Settings from plain values; paths become relative to `folder` if it is given."""
    if not isinstance(settings, Mapping):
        raise InputError(NO_SECTIONS)
    given = {key: {} if value is None else _convert_plain(value) for key, value in settings.items()}
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        raise InputError("\n".join(_explain_all(error.errors()))) from error
    return config if folder is None else _resolve_paths(config, folder)


def _resolve_paths(config: Config, folder: Path) -> Config:
    """The same settings with paths that do not depend on the working directory."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else get_place(path).make_absolute(folder)

    given = config.preprocess
    updates: dict[str, dict[str, Any]] = {
        "input": {"path": _each(absolute, config.input.path)},
        "mask": {"path": absolute(config.mask.path)},
        "preprocess": {
            name: path if path == made else absolute(path)
            for name, path, made in (
                ("flat_field", given.flat_field, "median"),
                ("fixed_pattern", given.fixed_pattern, "estimate"),
            )
        },
        "initial_shifts": {"path": absolute(config.initial_shifts.path)},
        "pairs": {"path": absolute(config.pairs.path)},
        "correct": {"stack": absolute(config.correct.stack)},
        "output": {
            name: absolute(getattr(config.output, name))
            for name in ("shifts", "corrected", "report", "summary", "performance_report")
        },
        "cluster": {
            "scheduler_file": absolute(config.cluster.scheduler_file),
            "job_folder": absolute(config.cluster.job_folder),
            "security": _get_value_at(config.cluster.security, absolute),
        },
    }
    return config.model_copy(
        update={
            name: getattr(config, name).model_copy(update=changed)
            for name, changed in updates.items()
        }
    )


def _each(function: Callable[[str], Any], paths: str | tuple[str, ...]) -> Any:
    return function(paths) if isinstance(paths, str) else tuple(map(function, paths))


def _get_value_at(security: Any, absolute: Callable[[str | None], str | None]) -> Any:
    if not isinstance(security, Certificates):
        return security
    given = security.model_dump()
    return security.model_copy(update={name: absolute(path) for name, path in given.items()})


def _explain_all(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per wrong value; where a key may hold several types, pydantic has a problem each."""
    by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for problem in problems:
        unknown = problem["type"] == "extra_forbidden"
        key = tuple(problem["loc"]) if unknown else _find_key(problem["loc"])
        by_key.setdefault(key, []).append(problem)
    lines = []
    for key, same in by_key.items():
        if any(other[: len(key)] == key != other for other in by_key) and not _is_final(same):
            continue  # of several types that it may have, it is the one with the problems inside
        if len(same) == 1:
            lines.append(_explain(same[0]))
            continue
        depth = max(len(problem["loc"]) for problem in same)
        inner = [
            problem
            for problem in same
            if "type" not in str(problem["type"])
            and not (problem["type"] == "too_short" and len(problem["loc"]) < depth)
        ]
        if inner:
            lines += [_explain(problem) for problem in inner]
        else:
            value, about = same[0]["input"], _describe(key)
            lines.append(f"{_format_location(key)}: {value!r} is not allowed; {about}")
    return lines


def _is_final(problems: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of these is more than that a value is not of one type of several."""
    return any(
        problem["type"] != "literal_error" and "_type" not in problem["type"]
        for problem in problems
    )


def _explain(problem: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors: the key, the value, what is allowed."""
    place, value = problem["loc"], problem.get("input")
    key = _format_location(place) or "settings"
    match problem["type"]:
        case "extra_forbidden":
            section = _find_section(place[:-1])
            wrong = str(place[-1])
            names = _list_keys(section)
            near = difflib.get_close_matches(wrong, names, n=1) or _find_elsewhere(wrong)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(names)}"
            full = ".".join(filter(None, (_format_location(place[:-1]), wrong)))
            if full in RENAMED:
                return f"{full}: this key is now called {RENAMED[full]}"
            return f"{full}: unknown key; {hint}"
        case "missing":
            what, place = ("input.path", ("input", "path")) if key == "input" else (key, place)
            return f"{what}: missing; {_describe(place)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            keys = _list_keys(_find_section(place))
            given = isinstance(value, str) and keys[0] == "path"
            meant = f"did you mean {key}: {{path: {value}}}? " if given else ""
            return (
                f"{key}: {value!r} is not allowed; {meant}expected a section with the keys "
                f"{', '.join(keys)}"
            )
        case "literal_error" if f"{key}: {value}" in RENAMED:
            return f"{key}: {value!r} is now called {RENAMED[f'{key}: {value}']}"
        case "literal_error":
            return f"{key}: {value!r} is not allowed; {_describe_choices(problem)}"
        case "value_error":
            return f"{key}: {str(problem['msg']).removeprefix('Value error, ')}"
        case _:
            detail = str(problem["msg"]).removeprefix("Input should be ")
            for words, plain in PLAINER:
                detail = re.sub(words, plain, detail)
            return f"{key}: {value!r} is not allowed; {detail} ({_describe(place)})"


def _list_keys(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _find_elsewhere(key: str) -> list[str]:
    """Where a key of that name is known, in one line; empty if nowhere."""
    places = [
        f"{section}.{key}"
        for section in _list_keys(Config)
        if key in _list_keys(_find_section((section,)))
    ]
    return [" or ".join(places)] if places else []


def _describe_choices(problem: Mapping[str, Any]) -> str:
    """The values that a key may have, each named once, and the nearest of them."""
    expected = re.findall(r"'([^']*)'", str(problem["ctx"]["expected"]))
    near = difflib.get_close_matches(str(problem["input"]), expected, n=1)
    about = _describe(problem["loc"])
    told = all(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", about) for one in expected)
    known = about if told else f"{', '.join(expected)}: {about}"
    if not near:
        return known
    meant = near[0] if isinstance(problem["input"], str) else repr(near[0])
    return f"did you mean {meant}? ({known})"


def _format_location(location: Sequence[Any]) -> str:
    """A place as a person writes it: without the types that pydantic tried there."""
    return ".".join(str(part) for part, _, _ in _walk_keys(location))


def _find_key(location: Sequence[Any]) -> tuple[Any, ...]:
    """A place up to the innermost key; behind it stand the items and types of its value."""
    known = [part for part, _, _ in _walk_keys(location)]
    while known and isinstance(known[-1], int):
        known.pop()
    return tuple(known)


def _find_section(location: Sequence[Any]) -> type[BaseModel]:
    """The section at a place of the settings, or the one that the place is in."""
    return ([Config] + [section for _, _, section in _walk_keys(location)])[-1]


def _describe(location: Sequence[Any]) -> str:
    """What a key is for, in the words of its description; of a section the words it has itself."""
    about = ""
    for _, field, section in _walk_keys(location):
        if field is not None:
            about = field.description or (section.__doc__ or "").split("\n")[0].strip(".")
    return about


def _walk_keys(
    location: Sequence[Any],
) -> Iterator[tuple[Any, FieldInfo | None, type[BaseModel]]]:
    """The keys and the numbers of items on the way to a place, each with the section it leads to.

    Of a number there is no field.
    """
    section: type[BaseModel] = Config
    for part in location:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        if isinstance(part, int):
            yield part, None, section
        elif part in fields:
            field = fields[part]
            section = next(_find_sections(field.annotation), section)
            yield part, field, section


def _find_sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a type is made of: itself, the items of a list, one of several types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _find_sections(part)
