"""The stages of a run: settings or arrays in, files or a dataset out.

`steps` are plan, measure, solve, correct, report and run; `measuring`, `correcting` and
`reporting` do their work, `sharing` measures in parts and `many` takes many inputs. `in_memory`
does the same for arrays, `exporting` hands shifts to other programs. `results` is between tables
and the dataset, and `log` what a run tells on its way.
"""

from steadystack.stages.exporting import export
from steadystack.stages.in_memory import estimate_shifts, open_stack
from steadystack.stages.log import METER
from steadystack.stages.many import TABLED, Command, Outcome, run_all
from steadystack.stages.measuring import Progress
from steadystack.stages.results import verdict
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
