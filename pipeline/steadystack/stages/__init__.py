"""The stages of a run: settings or arrays in, files or a dataset out."""

from steadystack.stages.arrays import estimate_shifts, open_stack
from steadystack.stages.dataset import verdict
from steadystack.stages.exporting import export
from steadystack.stages.log import METER
from steadystack.stages.many import TABLED, Command, Outcome, run_all
from steadystack.stages.measuring import Progress
from steadystack.stages.steps import correct, measure, plan, report, run, solve

__all__ = [
    "METER",
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
    "verdict",
]
