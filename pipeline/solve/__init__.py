"""From pair shifts to one shift per frame."""

from pipeline.solve.series import check_anchor, solve_shifts

__all__ = ["check_anchor", "solve_shifts"]
