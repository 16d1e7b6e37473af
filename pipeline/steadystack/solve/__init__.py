"""From pair shifts to one shift per frame.

- `solution`: combines the steps
- `graph`: components of the pair graph
- `robust`: pairs that contradict the rest
- `likeness`: frames unlike the others
- `system`: the weighted least squares; `factors`: its factorization
- `jackknife`: the error from the parts of the frame
- `majority`: leaves out parts that go their own way
- `gaps`: fills in frames that have no shift
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
