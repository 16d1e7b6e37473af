"""The result to look at: one picture, or one page that holds everything."""

from steadystack.report.figure import pairs_figure, prepare, save_figure, series_figure
from steadystack.report.page import Page, save_figures, save_page

__all__ = [
    "Page",
    "pairs_figure",
    "prepare",
    "save_figure",
    "save_figures",
    "save_page",
    "series_figure",
]
