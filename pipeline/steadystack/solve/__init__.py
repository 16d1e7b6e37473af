"""From pair shifts to one shift per frame.

`solution` joins the steps: components of the pair graph by `graph`, pairs that contradict the rest
by `robust`, frames unlike the others by `likeness`, the weighted `system` and its `factors`, and
the error that the parts of the frame tell of by `jackknife`; `majority` leaves those out that go
their own way; `gaps` fills in frames that have no shift.
"""

from steadystack.solve.gaps import interpolate_missing
from steadystack.solve.jackknife import join_std
from steadystack.solve.majority import weigh_parts
from steadystack.solve.solution import (
    GraphFit,
    check_anchor,
    fit_graph,
    leave_out_strange_parts,
    solve_shifts,
)
from steadystack.solve.system import System, compute_variances_about_mean

__all__ = [
    "GraphFit",
    "System",
    "check_anchor",
    "compute_variances_about_mean",
    "fit_graph",
    "interpolate_missing",
    "join_std",
    "leave_out_strange_parts",
    "solve_shifts",
    "weigh_parts",
]
