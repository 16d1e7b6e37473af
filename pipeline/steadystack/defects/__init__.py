"""Defects of a camera, found in a series whose scene moves.

`outstanding`: pixels that stand out from those around them wherever the scene is.
"""

from steadystack.defects.outstanding import (
    count_places,
    find_outstanding,
    select_staying,
    standardize,
)

__all__ = ["count_places", "find_outstanding", "select_staying", "standardize"]
