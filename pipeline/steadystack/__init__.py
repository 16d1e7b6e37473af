"""steadystack: time-lapse drift correction that works on real, partly unusable images.

Given a stack and a mask, it measures the translation between pairs of frames by masked normalized
cross-correlation (Padfield 2012), solves all pairs together for one shift per frame, and says how
sure it is.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

__getattr__, _, _named = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_named, "__version__"])

try:
    __version__ = version("steadystack")
except PackageNotFoundError:  # imported from its folder, and not installed
    __version__ = "not installed"


def __dir__() -> list[str]:
    return __all__
