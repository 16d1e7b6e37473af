"""The shifts dataset, which a run writes and continues from.

- `columns`: converts tables to the dataset and back
- `digests`: detect whether it was damaged or edited
- `stored`: writes and reads it
- `journal`: keeps what was measured since it was last written
"""

from steadystack.dataset.columns import make_dataset, read_frames, read_pairs
from steadystack.dataset.digests import add_digests, digest_solution, is_edited
from steadystack.dataset.journal import (
    RUN,
    Journal,
    check_journal,
    discard_journal,
    get_journal_owner,
    get_journal_path,
    replay_journal,
)
from steadystack.dataset.stored import (
    check_holds_no_more,
    check_replaceable,
    load_shifts,
    read_attributes,
    save_shifts,
)

__all__ = [
    "RUN",
    "Journal",
    "add_digests",
    "check_holds_no_more",
    "check_journal",
    "check_replaceable",
    "digest_solution",
    "discard_journal",
    "get_journal_owner",
    "get_journal_path",
    "is_edited",
    "load_shifts",
    "make_dataset",
    "read_attributes",
    "read_frames",
    "read_pairs",
    "replay_journal",
    "save_shifts",
]
