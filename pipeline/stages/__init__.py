"""The stages of a run: settings or arrays in, files or a dataset out."""

from pipeline.stages.arrays import estimate_shifts, open_stack
from pipeline.stages.dataset import verdict
from pipeline.stages.exporting import export
from pipeline.stages.log import METER
from pipeline.stages.many import TABLED, Command, Outcome, run_all
from pipeline.stages.measuring import Progress
from pipeline.stages.steps import correct, measure, plan, report, run, solve

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
