"""Judge a run by what its checks found: findings, advice, the verdict.

`assessment` gives the verdict on a dataset. `judge` has the verdict and the findings on frames,
`pair_findings` those on pairs, `check_findings` those from the checks, `static_findings` those
about what stands still; `advice` has every advice text; `worst_pairs` reads the pairs that fit
worst again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
