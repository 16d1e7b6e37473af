"""One pair of images: what is searched for, its surface, its shift.

`translation` has the public functions for plain arrays; `search` the same in steps, for frames
that have other pairs or come in blocks.
"""

from steadystack.register.search import (
    Search,
    block_terms,
    register_surfaces,
    register_terms,
    terms_surface,
)
from steadystack.register.translation import checked_max_shift, masked_ncc, register_translation

__all__ = [
    "Search",
    "block_terms",
    "checked_max_shift",
    "masked_ncc",
    "register_surfaces",
    "register_terms",
    "register_translation",
    "terms_surface",
]
