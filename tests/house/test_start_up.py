"""What is not needed is not imported: a command line that only asks does not wait for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import steadystack

HEAVY = {"dask", "distributed", "matplotlib", "pandas", "scipy", "skimage", "tifffile", "xarray"}
COMMAND = "from steadystack.cli import main; main({}, standalone_mode=False)"


def list_imported(code: str) -> set[str]:
    """The packages that are imported once some code has run, or raised SystemExit."""
    told = (
        "import sys\n"
        f"try:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print('imported', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.rpartition("imported ")[2].split())


def test_the_package_imports_nothing_until_it_is_asked():
    assert not list_imported("import steadystack") & (HEAVY | {"numpy", "zarr", "pydantic"})


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["schema"], ["init", "no-such.zarr"], ["run", "no-such.yaml"]],
    ids=" ".join,
)
def test_a_command_that_measures_nothing_imports_little(arguments):
    imported = list_imported(COMMAND.format(arguments))
    assert "click" in imported
    assert not imported & (HEAVY | {"rich"})
    if "init" not in arguments:  # which asks what lies there
        assert "zarr" not in imported


def test_a_worker_imports_what_it_measures_with():
    imported = list_imported("import steadystack.measure, steadystack.readers.frames")
    assert "zarr" in imported
    assert not imported & {"matplotlib", "pandas", "rich", "xarray"}


def test_an_array_in_memory_is_measured_without_a_cluster():
    stack = "numpy.random.default_rng(1).normal(size=(3, 32, 32))"
    imported = list_imported(f"import numpy, steadystack; steadystack.estimate_shifts({stack})")
    assert {"scipy", "xarray"} <= imported
    assert not imported & {"distributed", "matplotlib", "rich", "tifffile"}


def test_a_worker_of_the_command_imports_no_commands():
    """Its process imports the main module of the one that starts it."""
    assert not list_imported("import steadystack.__main__") & (HEAVY | {"click", "numpy"})


def test_what_is_asked_for_is_there():
    assert set(steadystack.__all__) <= set(dir(steadystack))
    for name in steadystack.__all__:
        assert getattr(steadystack, name) is not None
    assert "scipy" in list_imported("import steadystack; steadystack.masked_ncc")
