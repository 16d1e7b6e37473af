"""One pair of images: what is searched for, its surface, its shift.

`arrays` has the public functions for plain arrays; `search` the same in steps, for frames that
have other pairs or come in blocks.
"""

from steadystack.register.arrays import checked_max_shift, masked_ncc, register_translation
from steadystack.register.search import (
    Search,
    block_terms,
    register_surfaces,
    register_terms,
    terms_surface,
)

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
