"""Judge a run by its tables and the results of its checks: findings, advice, the verdict.

- `assessment`: the verdict on a dataset
- `widening`: widens stated errors to what the checks found
- `judge`: the verdict on tables, and the findings on frames
- `pair_findings`: the findings on pairs
- `check_findings`: the findings from the checks
- `motion_findings`: the findings on motion beyond shifts
- `static_findings`: the findings on what stands still in the camera
- `advice`: the text of all advice
- `worst_pairs`: reads the worst-fitting pairs again
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
