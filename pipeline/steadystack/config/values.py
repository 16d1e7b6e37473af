"""Parse and check plain values of settings, from YAML or a program, within limits of their size."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from steadystack.model import InputError, ListedArray

# Limits that no settings need to exceed, a list of pairs included.
MAX_DEPTH, MAX_VALUES = 30, 1_000_000
MAX_INTEGER = 2**63 - 1
SHOWN_CHARACTERS = 200  # of a value, in an error
SHOWN_ENTRIES = 20  # of an array, likewise
# Keys for the path of an image or table, in any section, and what else can be done with an array:
# an argument of `estimate_shifts` for it.
FILES = ("path", "mask", "stack", "flat_field", "fixed_pattern")
ARGUMENTS = {
    "mask.path": "mask", "object.mask": "object_mask", "initial_shifts.path": "initial_shifts",
    "external_reference.path": "external_reference",
}  # fmt: skip
# Numbers in most languages, but text in YAML 1.1, which requires a point and a sign in them.
EXPONENTIAL = re.compile(
    r"(?P<digits>[-+]?(?:\d+(?:\.\d*)?|\.\d+))[eE](?P<sign>[-+]?)(?P<power>\d+)"
)
MAX_WRITTEN_OUT, MAX_DIGITS = 1e12, 40
IS_YAML = "is_yaml"  # added to pydantic's problems: whether the value is from YAML
# Patterns in pydantic's messages, and plain words to replace them with.
PLAIN_WORDS = (
    (", unable to parse .*", ""),
    (r"\w+ should have (.*) after validation, not \d+", r"\1"),
    (r"String should match pattern '\^\[(\w+)\]\+\$'", r"letters of \1"),
    ("valid integer", "whole number"),
    ("valid ", ""),
    ("string", "text"),
    ("tuple", "list"),
)


def parse_yaml(text: str) -> Any:
    """Parse YAML to plain values.

    Raises yaml.YAMLError, with the line, for invalid YAML, and for things that settings do not
    need: keys that occur twice or are not names, values that contain themselves, aliases that
    expand to very many values, and numbers that YAML reads in another base than people do.
    """
    return yaml.load(text, _SettingsLoader)


def quote(value: Any) -> str:
    """Write a value as an error shows it: on one line, abbreviated if it is long.

    Of an array that is not a short list, the shape and the data type are written.
    """
    if is_array(value) and (len(value.shape) > 1 or value.shape[0] > SHOWN_ENTRIES):
        return f"an array of the shape {tuple(value.shape)} and the type {value.dtype}"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # too many digits, or nested too deeply
        text = f"this {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def is_array(value: Any) -> bool:
    """Whether a value is an array of any library, with at least one axis, or one made a list."""
    return bool(getattr(value, "shape", ())) and hasattr(value, "dtype")


def refuse_number(text: str) -> str:
    """Return a text that may be a length with a unit; raises ValueError for a number like 6e1."""
    is_plain = re.fullmatch(r"\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)\s*", text)
    if is_plain or EXPONENTIAL.fullmatch(text):
        number = "a number without quotes" if is_plain else "a number"
        raise ValueError(
            f"{quote(text)} is not allowed; pixels are {number}, and a length has a unit: '3 um'"
        )
    return text


def simplify_words(message: str) -> str:
    """Rewrite one of pydantic's messages in plain words, without its beginning."""
    message = message.removeprefix("Input should be ")
    for words, replacement in PLAIN_WORDS:
        message = re.sub(words, replacement, message)
    return message


def explain_reading(problems: Sequence[Mapping[str, Any]]) -> str:
    """Explain an array for a path, or a value that YAML reads as another type; "" for all others.

    `problems` are pydantic's with the value of one key; if `IS_YAML` is false in them, there is
    nothing to explain of YAML.
    """
    for problem in problems:
        if is_array(problem.get("input")) and problem["loc"][1:2] and problem["loc"][1] in FILES:
            return _explain_array(*problem["loc"][:2])
    if not any(problem.get(IS_YAML, True) for problem in problems):
        return ""
    wanted = {str(problem["type"]) for problem in problems}
    values = [problem.get("input") for problem in problems]
    numbers = wanted & {"float_type", "int_type"}
    for value in values:
        if isinstance(value, bool) and "string_type" in wanted:
            words = "yes, on and true" if value else "no, off and false"
            return f"YAML reads {words} as {value}: quote it if it is text; "
        is_short = isinstance(value, str) and len(value) <= MAX_DIGITS
        match = EXPONENTIAL.fullmatch(str(value)) if numbers and is_short else None
        if match is not None and (ways := _write_exponential(match, "float_type" in numbers)):
            return f"YAML reads {value} as text: write {ways}; "
    return ""


def _explain_array(section: str, name: str) -> str:
    """Explain how an array is given for a key that is the path of a file."""
    ways = "write it to a file and give its path"
    if argument := ARGUMENTS.get(f"{section}.{name}"):
        ways += f", or call estimate_shifts(stack, {argument}=array)"
    elif section == "preprocess":
        what = "divide the frames by it" if name == "flat_field" else "subtract it from the frames"
        ways += f", or {what} before they are measured"
    return f"{ways}; "


def _write_exponential(match: re.Match[str], may_be_float: bool) -> str:
    """Write a number such as 6e4 in all ways that YAML reads as a number; "" if it is infinite."""
    number, digits = float(match[0]), match["digits"]
    digits = re.sub(r"^([-+]?)\.", r"\g<1>0.", digits)
    ways: list[str] = []
    if not math.isfinite(number):
        return ""
    if may_be_float:
        ways.append(
            f"{digits}{'' if '.' in digits else '.0'}e{match['sign'] or '+'}{match['power']}"
        )
    if number.is_integer() and abs(number) <= MAX_WRITTEN_OUT:
        ways.append(str(int(number)))
    elif "e" not in repr(number) and may_be_float:
        ways.append(repr(number))
    return ", or ".join(ways)


def convert_plain(value: Any, location: str = "settings", depth: int = 0) -> Any:
    """Convert numpy's numbers to Python's, in settings made by a program.

    Raises InputError for values that settings cannot have: nested too deeply, keys that are not
    text, NUL in a text, whole numbers beyond 64 bits.
    """
    if depth > MAX_DEPTH:
        raise InputError(f"{location.split('.')[0]}: nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError(
                    f"{location}: the key {quote(key)} is not text: keys are names, such as path"
                )
        return {
            _convert_text(key, location): convert_plain(inner, _join(location, key), depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        converted = [
            convert_plain(inner, _join(location, index), depth + 1)
            for index, inner in enumerate(value)
        ]
        return value if isinstance(value, ListedArray) else converted
    if isinstance(value, str):
        return _convert_text(value, location)
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise InputError(
            f"{location}: {quote(value)} is not allowed; whole numbers go up to {MAX_INTEGER}"
        )
    return value


def _join(location: str, key: object) -> str:
    name = quote(key) if isinstance(key, str) and not key.isprintable() else str(key)
    name = name[:SHOWN_CHARACTERS]
    return name if location == "settings" else f"{location}.{name}"


def _convert_text(text: str, location: str) -> str:
    """Return a text unchanged; raises InputError if it cannot be the name of a file."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InputError(
            f"{location}: {quote(text)} contains half of a surrogate pair: remove it"
        ) from None
    if "\0" in text:
        raise InputError(f"{location}: {quote(text)} contains a NUL character: remove it")
    return text


class _SettingsLoader(yaml.SafeLoader):
    """A YAML loader that raises errors for what `parse_yaml` names."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # number of values and depth of every node

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node within the limits; aliases count with everything that they refer to."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _make_error(f"nested more than {MAX_DEPTH} levels deep", mark)
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return node
        if not is_alias:
            self._measure(node)
        if id(node) not in self._sizes:
            raise _make_error("an alias refers to something that contains it", mark)
        values, depth = self._sizes[id(node)]
        if values > MAX_VALUES or depth + self._depth > MAX_DEPTH:
            raise _make_error(
                f"more than {MAX_VALUES} values, or {MAX_DEPTH} levels of them, after expanding "
                "aliases",
                mark,
            )
        return node

    def _measure(self, node: yaml.Node) -> None:
        """Record how many values a node contains, and how deeply they are nested."""
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        sizes = [self._sizes[id(part)] for part in parts]
        values = 1 + sum(count for count, _ in sizes)
        self._sizes[id(node)] = values, 1 + max((depth for _, depth in sizes), default=0)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; any failure is raised as a YAML error with its line."""
        try:
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # PyYAML checks few of the values that have a tag
            text = quote(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            kind = str(node.tag).rsplit(":", 1)[-1]
            raise _make_error(f"{text} is not a value of type {kind}", node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose keys are single values and occur once."""
        keys = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _make_error("a key is a list or a section", key_node.start_mark)
            is_merge = key_node.tag == "tag:yaml.org,2002:merge"
            key = "<<" if is_merge else self.construct_object(key_node, deep=True)
            if key in keys:
                raise _make_error(f"the key {quote(key)} occurs twice", key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Construct a number; refuses those that YAML reads in base 8 or 60."""
        text = str(self.construct_scalar(node)).replace("_", "")
        is_whole = node.tag.endswith(":int")
        construct = self.construct_yaml_int if is_whole else self.construct_yaml_float
        if ":" in text or (is_whole and re.fullmatch(r"[-+]?0[0-9]+", text)):
            base = 60 if ":" in text else 8
            raise _make_error(
                f"{text} is {construct(node)} in YAML, in base {base}: write that number, or "
                f"'{text}' if it is text",
                node.start_mark,
            )
        number: int | float = construct(node)
        return number


def _make_error(problem: str, mark: yaml.Mark) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


for _kind in ("int", "float"):
    _SettingsLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _SettingsLoader.construct_number)
