"""Read and write local and remote storage in such a way that nothing is lost.

- `places`: what a place is, and the place for a path
- `local`: local paths, with their `files` and folders
- `remote`: stores that can be read; `buckets` that can be written, by the requests of `objects`
- `appender`: sends growing files to a store
- `locks`: keep other runs off an output
- `outages`: explains why a store does not answer
"""

from steadystack.durable.files import (
    check_link,
    check_nothing_else,
    explain_stranger,
    explain_unwritable,
    explain_unwritten,
    link_file,
)
from steadystack.durable.local import ZIP_SUFFIXES
from steadystack.durable.locks import TARGET
from steadystack.durable.outages import retry_read
from steadystack.durable.places import (
    Place,
    RecordWriter,
    explaining_unreadable,
    get_place,
    make_absolute,
    paths_overlap,
)

__all__ = [
    "TARGET",
    "ZIP_SUFFIXES",
    "Place",
    "RecordWriter",
    "check_link",
    "check_nothing_else",
    "explain_stranger",
    "explain_unwritable",
    "explain_unwritten",
    "explaining_unreadable",
    "get_place",
    "link_file",
    "make_absolute",
    "paths_overlap",
    "retry_read",
]
