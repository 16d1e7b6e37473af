"""From YAML files to settings, and from what is wrong in them to a line each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config.cluster import Certificates
from pipeline.config.inputs import EllipseSection, ShapeSection
from pipeline.config.settings import Config
from pipeline.model import InputError


def load_config(path: str | Path) -> Config:
    """Read a YAML file; raises InputError with one line per problem.

    Paths in the file are made absolute, relative to the folder of the file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8") from error
    try:
        settings = yaml.load(text, _UniqueKeys)
    except (yaml.YAMLError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        what = str(getattr(error, "problem", error)).splitlines()[0]
        raise InputError(f"{path}{line}: not YAML: {what}") from error
    return make_config(settings, folder=path.parent)


class _UniqueKeys(yaml.SafeLoader):
    """A loader that takes a key that stands twice for the mistake it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's, in settings that were made by a program."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value


def make_config(settings: Any, folder: Path | None = None) -> Config:
    """Settings from plain values; paths become relative to `folder` if it is given."""
    if not isinstance(settings, Mapping):
        raise InputError("the settings are not sections with keys: see configs/minimal.yaml")
    given = {key: {} if value is None else _plain(value) for key, value in settings.items()}
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        raise InputError("\n".join(_one_line_each(error.errors()))) from error
    return config if folder is None else _resolved(config, folder)


def _resolved(config: Config, folder: Path) -> Config:
    """The same settings with paths that do not depend on the working directory."""

    def absolute(path: str | None) -> str | None:
        if path is None or "://" in path:
            return path
        return str((folder / Path(path).expanduser()).resolve())

    given = config.preprocess
    updates: dict[str, dict[str, Any]] = {
        "input": {"path": _each(absolute, config.input.path)},
        "mask": {"path": absolute(config.mask.path)},
        "preprocess": {
            name: path if path == made else absolute(path)
            for name, path, made in (
                ("flat_field", given.flat_field, "median"),
                ("static", given.static, "estimate"),
            )
        },
        "prior": {"path": absolute(config.prior.path)},
        "pairs": {"path": absolute(config.pairs.path)},
        "correct": {"stack": absolute(config.correct.stack)},
        "output": {
            name: absolute(getattr(config.output, name))
            for name in ("shifts", "corrected", "report", "summary", "performance_report")
        },
        "cluster": {
            "scheduler_file": absolute(config.cluster.scheduler_file),
            "job_folder": absolute(config.cluster.job_folder),
            "security": _found_at(config.cluster.security, absolute),
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


def _found_at(security: Any, absolute: Callable[[str | None], str | None]) -> Any:
    if not isinstance(security, Certificates):
        return security
    given = security.model_dump()
    return security.model_copy(update={name: absolute(path) for name, path in given.items()})


def _one_line_each(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per wrong value; where a key may hold several types, pydantic has a problem each."""
    by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for problem in problems:
        by_key.setdefault(tuple(problem["loc"][:2]), []).append(problem)
    lines = []
    for same in by_key.values():
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
            key, value = ".".join(map(str, same[0]["loc"][:2])), same[0]["input"]
            lines.append(f"{key}: {value!r} is not allowed; {_describe(same[0]['loc'])}")
    return lines


def _explain(problem: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors: the key, the value, what is allowed."""
    place = [
        str(part) for part in problem["loc"] if str(part) in _ALL_KEYS or isinstance(part, int)
    ]
    key = ".".join(place) or "settings"
    value = problem.get("input")
    match problem["type"]:
        case "extra_forbidden":
            section = _section_at(problem["loc"][:-1])
            wrong = str(problem["loc"][-1])
            names = [field.alias or name for name, field in section.model_fields.items()]
            near = difflib.get_close_matches(wrong, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
            full = ".".join(str(part) for part in problem["loc"])
            return f"{full}: unknown key; {hint}"
        case "missing":
            what = "input.path" if key == "input" else key
            return f"{what}: missing; {_describe(('input', 'path'))}"
        case "value_error":
            return f"{key}: {str(problem['msg']).removeprefix('Value error, ')}"
        case _:
            detail = str(problem["msg"]).removeprefix("Input should be ")
            detail = re.sub(r"a valid dictionary or instance of \w+", "a section of keys", detail)
            detail = detail.replace("valid integer", "whole number").replace("tuple", "list")
            return f"{key}: {value!r} is not allowed; {detail} ({_describe(problem['loc'])})"


def _section_at(location: Sequence[Any]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for part in location:
        for name, field in section.model_fields.items():
            if part in (name, field.alias) and isinstance(field.annotation, type):
                section = field.annotation
    return section


def _describe(location: Sequence[Any]) -> str:
    """What a key is for, in the words of its description."""
    section = _section_at(location[:1])
    names = {field.alias or name: field for name, field in section.model_fields.items()}
    field = names.get(str(location[1])) if len(location) > 1 else None
    return (field.description or "") if field else (section.__doc__ or "").split("\n")[0].strip(".")


_ALL_KEYS = {
    field.alias or name
    for section in [
        Config,
        ShapeSection,
        EllipseSection,
        *(f.annotation for f in Config.model_fields.values()),
    ]
    if isinstance(section, type) and issubclass(section, BaseModel)
    for name, field in section.model_fields.items()
}
