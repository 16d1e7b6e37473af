"""Describe a process: which steadystack it imports, and which versions of libraries.

Workers are sent this file as text and run it, so that a worker without steadystack, or with other
versions, can answer, too. It only uses the standard library.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

PACKAGES = ("steadystack", "dask", "distributed")
# Libraries that every task needs; others are imported on demand.
NEEDED = ("steadystack.measure", "steadystack.readers.frames")


def answer(*, importing: bool = True) -> dict[str, str]:
    """Describe this process, as texts by name; "": not known, or no.

    With `importing`, what tasks need is imported: all that they might need, if the working folder
    may contain files that shadow libraries.

    Every package's name: its version.
    file : where steadystack is imported from
    stranger : that path, if it is something else of that name, which then is not run
    error : what the import of steadystack raises
    beside : a file of the working folder that is imported in place of a library
    safe : "yes" if Python does not look for modules in the working folder
    """
    facts = {name: _find_version(name) for name in PACKAGES}
    facts |= dict.fromkeys(("file", "stranger", "error", "beside"), "")
    facts["safe"] = "yes" if sys.flags.safe_path else ""
    try:
        spec = find_spec("steadystack")
        if spec is None or spec.origin is None:  # nothing, or a folder without a package
            raise ModuleNotFoundError("No module named 'steadystack'")
        facts["file"] = spec.origin
        folders = spec.submodule_search_locations
        if not folders or PathFinder.find_spec("steadystack.cluster", folders) is None:
            facts["stranger"] = spec.origin
            facts["beside"] = spec.origin if _is_beside(spec.origin) else ""
        else:
            package = import_module("steadystack")
            names = () if sys.flags.safe_path or not importing else getattr(package, "__all__", ())
            for name in names:  # it opens late
                getattr(package, name)
            for name in NEEDED if importing else ():
                import_module(name)
    except (Exception, SystemExit) as error:  # a file taken for a library may do anything
        facts["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        facts["beside"] = _find_module_beside(error)
    return facts


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _find_module_beside(error: BaseException) -> str:
    """Find the last file of the working folder that was involved in an import; "": none."""
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    files += [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    files.append(getattr(error, "filename", None) or "")  # of a SyntaxError
    return next((file for file in reversed(files) if _is_beside(file)), "")


def _is_beside(file: str) -> bool:
    """Whether a file is a module, or the file of a package, directly in the working folder."""
    folder, name = os.path.split(file)
    if name == "__init__.py":
        folder = os.path.dirname(folder)
    return file.endswith(".py") and folder == os.getcwd()
