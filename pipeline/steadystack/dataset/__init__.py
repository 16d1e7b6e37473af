"""The shifts dataset, which a run leaves and goes on from.

`columns` makes it of tables, and tables of it; `stored` writes and reads it; `journal` keeps what
was measured since it was written last.
"""

from steadystack.dataset.columns import read_frames, read_pairs, shifts_dataset
from steadystack.dataset.journal import Journal, journal_path, replay
from steadystack.dataset.stored import check_replaceable, load_shifts, save_shifts

__all__ = [
    "Journal",
    "check_replaceable",
    "journal_path",
    "load_shifts",
    "read_frames",
    "read_pairs",
    "replay",
    "save_shifts",
    "shifts_dataset",
]
