"""The stages of a run: settings or arrays in, files or a dataset out."""

from pipeline.stages.arrays import estimate_shifts, open_stack
from pipeline.stages.correcting import correct
from pipeline.stages.dataset import verdict
from pipeline.stages.exporting import export
from pipeline.stages.steps import Progress, measure, plan, report, run, solve

__all__ = [
    "Progress",
    "correct",
    "estimate_shifts",
    "export",
    "measure",
    "open_stack",
    "plan",
    "report",
    "run",
    "solve",
    "verdict",
]
