"""steadystack: time-lapse drift correction that works on real, partly unusable images.

Given a stack and a mask, it measures the translation between pairs of frames by masked normalized
cross-correlation (Padfield 2012), solves all pairs together for one shift per frame, and says how
sure it is.
"""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import lazy_loader

_import, _, _named = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_named, "__version__"])

try:
    __version__ = version("steadystack")
except PackageNotFoundError:  # imported from its folder, and not installed
    __version__ = "not installed"


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    found = _import(name)
    _register_accessor()
    return found


def _register_accessor() -> None:
    """Let datasets have ``.steady``, where xarray was imported."""
    if "xarray" in sys.modules:
        import_module("steadystack.accessor")


_register_accessor()
