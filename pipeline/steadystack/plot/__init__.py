"""Pictures of a shifts dataset for Python: they take axes, draw on them, and return them."""

from steadystack.plot.canvas import new_figure, require_matplotlib
from steadystack.plot.series import drift, path
from steadystack.plot.stacks import before_after, kymograph
from steadystack.plot.tables import pairs, residuals

__all__ = [
    "before_after",
    "drift",
    "kymograph",
    "new_figure",
    "pairs",
    "path",
    "require_matplotlib",
    "residuals",
]
