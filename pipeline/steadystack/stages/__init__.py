"""The stages of a run: settings or arrays in, files or a dataset out.

`steps` are plan, measure, solve, correct, report and run; `measuring`, `solving`, `correcting` and
`reporting` do their work, the last also for other programs. `sharing` measures in shares that are
run by themselves, and `many_inputs` takes many inputs; `in_memory` does the same for arrays.
`results` is between tables and the dataset.
"""

from steadystack.stages.in_memory import estimate_shifts, open_stack
from steadystack.stages.many_inputs import TABLED, Command, Outcome, run_all
from steadystack.stages.measuring import Progress
from steadystack.stages.reporting import export
from steadystack.stages.steps import correct, measure, plan, report, run, solve

__all__ = [
    "TABLED",
    "Command",
    "Outcome",
    "Progress",
    "correct",
    "estimate_shifts",
    "export",
    "measure",
    "open_stack",
    "plan",
    "report",
    "run",
    "run_all",
    "solve",
]
