"""From settings to an opened run: everything that is known before the first frame is read."""

from pipeline.setup.layout import Plan, Setup, plan_of, set_up, settings_that_differ
from pipeline.setup.prior import given_shifts
from pipeline.setup.series import Series, in_memory, open_series

__all__ = [
    "Plan",
    "Series",
    "Setup",
    "given_shifts",
    "in_memory",
    "open_series",
    "plan_of",
    "set_up",
    "settings_that_differ",
]
