"""Show the result as one picture, or as one self-contained page.

`page` is the page, `facts` its summary, `figures` the figures, as files or as parts of a page.
"""

from steadystack.report.figures import check_report_path, draw_pairs, draw_series, save_figure
from steadystack.report.page import Page, list_figure_paths, save_figures, save_page

__all__ = [
    "Page",
    "check_report_path",
    "draw_pairs",
    "draw_series",
    "list_figure_paths",
    "save_figure",
    "save_figures",
    "save_page",
]
