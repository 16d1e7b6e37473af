"""What a process says of itself: which steadystack it imports, and the versions beside it.

Workers are sent this file as text and run it as such: one that is without steadystack, or has other
versions, can answer too. So it uses the standard library alone.
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


def answer() -> dict[str, str]:
    """Words by name; "": not known, or nothing to say.

    The version of every package. `file`: where steadystack is imported from; `stranger`: the same
    if it is something else of that name, which is not run. `error`: that its import raises.
    `beside`: a file of the working folder that is imported as if it were a library's; `safe`:
    Python does not look for modules there.
    """
    found = {name: _find_version(name) for name in PACKAGES}
    found |= dict.fromkeys(("file", "stranger", "error", "beside"), "")
    found["safe"] = "yes" if sys.flags.safe_path else ""
    try:
        spec = find_spec("steadystack")
        if spec is None or spec.origin is None:  # nothing, or a folder that holds no package
            raise ModuleNotFoundError("No module named 'steadystack'")
        found["file"] = spec.origin
        folders = spec.submodule_search_locations
        if not folders or PathFinder.find_spec("steadystack.cluster", folders) is None:
            found["stranger"] = spec.origin
            found["beside"] = spec.origin if _is_beside(spec.origin) else ""
        else:
            import_module("steadystack")
    except (Exception, SystemExit) as error:  # whatever a file does that is taken for a library
        found["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        found["beside"] = _find_module_beside(error)
    return found


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _find_module_beside(error: BaseException) -> str:
    """The last file of the working folder that took part in an import; "": none did."""
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    files += [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    files.append(getattr(error, "filename", None) or "")  # of a SyntaxError
    return next((file for file in reversed(files) if _is_beside(file)), "")


def _is_beside(file: str) -> bool:
    """Whether it is a module, or a package, right in the working folder."""
    folder, name = os.path.split(file)
    if name == "__init__.py":
        folder = os.path.dirname(folder)
    return file.endswith(".py") and folder == os.getcwd()
