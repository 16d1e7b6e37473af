"""From pair shifts to one shift per frame."""

from steadystack.solve.series import check_anchor, filled_in, solve_shifts

__all__ = ["check_anchor", "filled_in", "solve_shifts"]
