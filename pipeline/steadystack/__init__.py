"""steadystack: time-lapse drift correction that works on real, partly unusable images.

From a stack and, where needed, a mask, it measures the shift between many pairs of frames by masked
normalized cross-correlation (Padfield 2012), solves all pairs together for one shift per frame, and
reports how far the result can be trusted.
"""

import sys
from importlib import import_module
from typing import Any

import lazy_loader

_get_late, _, _named = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_named, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found = _find_version()
        globals()[name] = found
        return found
    found = _get_late(name)
    _register_accessor()
    return found


def __dir__() -> list[str]:
    return __all__


def _find_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("steadystack")
    except PackageNotFoundError:  # imported from its folder, and not installed
        return "not installed"


def _register_accessor() -> None:
    """Let datasets have ``.steady``, where xarray was imported."""
    if "xarray" in sys.modules:
        import_module("steadystack.accessor")


_register_accessor()
