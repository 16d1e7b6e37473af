"""From settings to an opened run: everything that is known before the first frame is read."""

from steadystack.setup.doubts import doubt_of_mask
from steadystack.setup.forecast import CorrectedPlan, Plan, plan_of, workers_that_fit
from steadystack.setup.inputs import ALL, images_of, inputs_of, only_input
from steadystack.setup.layout import Setup, set_up, settings_that_differ
from steadystack.setup.memory import wanted_workers
from steadystack.setup.prior import given_shifts
from steadystack.setup.series import (
    Series,
    check_frames,
    in_memory,
    open_series,
    still_digests,
)

__all__ = [
    "ALL",
    "CorrectedPlan",
    "Plan",
    "Series",
    "Setup",
    "check_frames",
    "doubt_of_mask",
    "given_shifts",
    "images_of",
    "in_memory",
    "inputs_of",
    "only_input",
    "open_series",
    "plan_of",
    "set_up",
    "settings_that_differ",
    "still_digests",
    "wanted_workers",
    "workers_that_fit",
]
