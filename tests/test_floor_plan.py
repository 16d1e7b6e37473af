"""The floor plan: imports point down only, and every library is at home in its module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline" / "steadystack"

# module: floor, and the libraries it may know (a folder is one room)
PLAN = {
    "model": (0, {"numpy", "xarray"}),
    "units": (1, set()),
    "preprocess": (1, {"numpy", "scipy"}),
    "ncc": (1, {"numpy", "scipy"}),
    "peak": (1, {"numpy", "scipy"}),
    "pairs": (1, {"numpy"}),
    "solve": (1, {"numpy", "scipy"}),
    "verdict": (1, {"numpy"}),
    "static": (1, {"numpy", "scipy"}),
    "shapes": (1, {"numpy"}),
    "warp": (1, {"numpy", "scipy"}),
    "example": (1, {"numpy", "scipy"}),
    "looks": (1, {"numpy"}),
    "config": (2, {"pydantic", "yaml"}),
    "store": (2, {"numpy", "zarr", "xarray", "dask", "filelock", "tifffile", "obstore"}),
    "cluster": (2, {"dask", "dask_jobqueue", "distributed"}),
    "register": (2, {"numpy", "xarray"}),
    "overlay": (2, {"numpy", "matplotlib"}),
    "plot": (2, {"numpy", "xarray", "matplotlib"}),
    "report": (3, {"numpy", "xarray", "matplotlib", "jinja2", "PIL"}),
    "measure": (3, {"numpy"}),
    "correct": (3, {"numpy", "xarray"}),
    "setup": (4, {"numpy", "dask"}),
    "stages": (5, {"numpy", "xarray", "yaml"}),
    "guide": (6, {"numpy", "xarray"}),
    "terminal": (6, {"rich"}),
    "cli": (7, {"click", "xarray"}),
}
LIMIT_LINES = 350
LIMIT_FUNCTION = 60


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path) != "__init__")


def imports(path: Path):
    """(module, names) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            yield node.module, tuple(alias.name for alias in node.names)


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} == set(PLAN)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_and_libraries_are_at_home(path):
    room = room_of(path)
    floor, libraries = PLAN[room]
    for module, names in imports(path):
        top, *rest = module.split(".")
        if top == "steadystack":
            for name in [rest[0]] if rest else names:
                assert name in PLAN, f"{path.name} imports from the package's root"
                below = PLAN[name][0] < floor
                assert below or name == room, f"{room} (floor {floor}) imports {name}"
        elif top not in sys.stdlib_module_names:
            assert top in libraries, f"{top} is not at home in {room}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LIMIT_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = node.end_lineno - first.lineno + 1
            assert length <= LIMIT_FUNCTION, f"{node.name} has {length} lines"


def test_no_room_is_named_like_a_module_of_the_standard_library():
    assert not set(PLAN) & set(sys.stdlib_module_names)
