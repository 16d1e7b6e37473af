"""Check what could be wrong with a measured series, on some of its frames and pairs.

- `run_checks`: makes all checks of a run
- `fixed_pattern_check`, `moving_parts`, `mask_check`, `probe_pairs`, `sharpness`: the checks
- `pilot`: tries filters and looks for what to leave out, before a run and after it
- `sampling`: chooses the pairs and pixels that are checked
- `probing`: measures pairs again in other ways
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
