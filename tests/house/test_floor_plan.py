"""The floor plan: imports point down and through doors, names stand once, libraries are at home."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

from support import ROOT

PACKAGE = ROOT / "pipeline" / "steadystack"

# What reads files of one format each.
FILE_LIBRARIES = {
    "tifffile", "imagecodecs", "h5py", "mrcfile", "PIL", "av", "czifile", "liffile", "nd2",
}  # fmt: skip
# room: floor, and the libraries it may know
PLAN = {
    "model": (0, {"numpy", "xarray"}),
    "units": (1, set()),
    "conventions": (2, {"numpy", "xarray"}),
    "validity": (1, {"numpy"}),
    "object_windows": (1, {"numpy"}),
    "conditioning": (1, {"numpy", "scipy"}),
    "ncc": (1, {"numpy", "scipy"}),
    "peak": (1, {"numpy", "scipy"}),
    "parts": (1, {"numpy"}),
    "pairs": (1, {"numpy"}),
    "solve": (2, {"numpy", "scipy"}),
    "warp": (1, {"numpy", "scipy"}),
    "defects": (1, {"numpy", "scipy"}),
    "segmentation": (1, {"numpy", "scipy"}),
    "fixed_pattern": (1, {"numpy", "scipy"}),
    "motion": (6, {"numpy", "scipy"}),
    "common_frame": (6, {"numpy"}),
    "example": (1, {"numpy", "scipy"}),
    "durable": (2, {"numpy", "zarr", "filelock", "obstore"}),
    "config": (3, {"pydantic", "yaml"}),
    "ome": (3, {"numpy", "pydantic"}),
    "dataset": (3, {"numpy", "xarray"}),
    "cluster": (3, {"dask", "dask_jobqueue", "distributed"}),
    "file_formats": (
        3,
        {
            "numpy",
            "zarr",
            "tifffile",
            "h5py",
            "mrcfile",
            "PIL",
            "av",
            "czifile",
            "imagecodecs",
            "liffile",
            "nd2",
        },
    ),
    "plot": (3, {"numpy", "xarray", "matplotlib"}),
    "csv_files": (4, {"numpy", "xarray"}),
    "readers": (4, {"numpy", "zarr", "xarray", "dask"}),
    "outputs": (4, {"numpy", "zarr", "tifffile"}),
    "register": (4, {"numpy", "scipy", "xarray"}),
    "run_log": (4, set()),
    "measure": (5, {"numpy"}),
    "correction": (5, {"numpy", "xarray"}),
    "movie": (5, {"numpy", "PIL", "av"}),
    "report": (5, {"numpy", "xarray", "matplotlib", "jinja2", "PIL"}),
    "exports": (6, {"numpy", "xarray"}),
    "planning": (6, {"numpy", "dask"}),
    "survey": (7, {"numpy"}),
    "checks": (8, {"numpy"}),
    "quality": (9, {"numpy", "xarray"}),
    "stages": (10, {"numpy", "xarray", "dask", "yaml"}),
    "following": (11, {"numpy", "xarray"}),
    "guide": (11, {"numpy", "xarray", "roifile", "yaml"}),
    "joining": (11, {"numpy", "xarray"}),
    "viewing": (11, {"numpy", "xarray", "dask", "yaml", "napari", "magicgui", "qtpy"}),
    "accessor": (11, {"numpy", "xarray", "matplotlib"}),
    "terminal": (11, {"rich"}),
    "cli": (12, {"click", "xarray"}),
}
LIMIT_LINES = 350
LIMIT_FUNCTION = 60
LIMIT_MODULES = 9


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if not room_of(path).startswith("__"))
DOORS = [path for path in FILES if path.name == "__init__.py"]


def imports(path: Path):
    """(module, names) of every import in a file, those inside of functions included."""
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
        elif top == "lazy_loader":
            assert path.name == "__init__.py"
        elif top not in sys.stdlib_module_names:
            assert top in libraries, f"{top} is not at home in {room}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_other_rooms_are_entered_by_their_doors(path):
    for module, names in imports(path):
        top, *rest = module.split(".")
        if top != "steadystack" or not rest or rest[0] == room_of(path):
            continue
        assert len(rest) == 1, f"{path.name} reaches past the door of {rest[0]}: {module}"
        behind = PACKAGE / rest[0]
        if behind.is_dir():
            assert set(names) <= set(given_out(behind / "__init__.py")), f"{module}: {names}"


def given_out(door: Path) -> list[str]:
    """What a door's ``__all__`` names: of one that opens late, that of the stub beside it."""
    stub = door.with_suffix(".pyi")
    for node in ast.parse((stub if stub.exists() else door).read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"{door} has no __all__")


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.parent.name)
def test_every_door_says_what_is_inside(door):
    tree = ast.parse(door.read_text())
    names = given_out(door)
    assert names
    assert sorted(names) == sorted(set(names))
    about = ast.get_docstring(tree) or ""
    modules = {path.stem for path in door.parent.glob("*.py")} - {"__init__"}
    assert not {name for name in modules if f"`{name}`" not in about}, "not named by the door"


def test_no_module_and_no_class_stands_twice():
    inside = [path for path in FILES if path.name != "__init__.py"]
    modules = Counter([path.stem for path in inside] + [path.parent.name for path in DOORS])
    classes = Counter(
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert not {name: count for name, count in (modules + classes).items() if count > 1}


def test_no_room_bears_the_name_of_a_public_function():
    public = set(given_out(PACKAGE / "__init__.py")) - {"plot"}
    assert not public & set(PLAN)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LIMIT_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = node.end_lineno - first.lineno + 1
            assert length <= LIMIT_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.parent.name)
def test_a_room_has_a_handful_of_modules(door):
    assert len(list(door.parent.glob("*.py"))) - 1 <= LIMIT_MODULES


def test_no_module_is_named_like_one_of_the_standard_library():
    names = {path.stem for path in FILES} | set(PLAN)
    assert not names & set(sys.stdlib_module_names)


def test_tests_mirror_the_rooms():
    tests = ROOT / "tests"
    modules = {path.relative_to(PACKAGE).with_suffix("") for path in FILES}
    folders = {path.parent for path in tests.rglob("test_*.py")} - {tests}
    elsewhere = {tests / name for name in ("integration", "house")}
    for folder in folders - elsewhere:
        assert folder.parent == tests
        assert folder.name in PLAN, f"{folder} is no room"
    for path in set(tests.rglob("test_*.py")):
        if path.parent not in elsewhere:
            module = path.relative_to(tests).with_name(path.stem.removeprefix("test_"))
            assert module in modules, f"{path} is the test of no module"
