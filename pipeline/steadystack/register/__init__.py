"""Register one pair of images: from the lags to search, over the surface, to the shift.

- `translation`: the public functions, for a `plain_pair` of arrays
- `leave_out`: measures a pair again without some of its parts
- `gradient_fit`: fits the shift by the slopes of the images
- `conditionings`: tries filters on a pair
- `quick`: a faster way, for checks
- `search`: the single steps, for frames with several pairs and frames read in blocks
"""

from steadystack.register.conditionings import CAN_BE_HELPED
from steadystack.register.plain_pair import PlainPair, check_max_shift
from steadystack.register.quick import (
    register_all_as_they_are,
    register_as_it_is,
    register_each_as_it_is,
)
from steadystack.register.search import (
    Search,
    compute_block_terms,
    make_surface,
    register_surfaces,
    register_terms,
)
from steadystack.register.translation import masked_ncc, register_translation

__all__ = [
    "CAN_BE_HELPED",
    "PlainPair",
    "Search",
    "check_max_shift",
    "compute_block_terms",
    "make_surface",
    "masked_ncc",
    "register_all_as_they_are",
    "register_as_it_is",
    "register_each_as_it_is",
    "register_surfaces",
    "register_terms",
    "register_translation",
]
