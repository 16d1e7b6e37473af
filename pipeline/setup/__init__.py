"""From settings to an opened run: everything that is known before the first frame is read."""

from pipeline.setup.doubts import doubt_of_mask
from pipeline.setup.forecast import CorrectedPlan, Plan, plan_of, workers_that_fit
from pipeline.setup.inputs import inputs_of, only_input
from pipeline.setup.layout import Setup, set_up, settings_that_differ
from pipeline.setup.memory import wanted_workers
from pipeline.setup.prior import given_shifts
from pipeline.setup.series import (
    Series,
    check_frames,
    in_memory,
    open_series,
    still_digests,
)

__all__ = [
    "CorrectedPlan",
    "Plan",
    "Series",
    "Setup",
    "check_frames",
    "doubt_of_mask",
    "given_shifts",
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
