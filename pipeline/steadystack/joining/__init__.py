"""Join several series, each solved by itself, into one coordinate frame.

By their means:

- `mean_graph`: measures the means against each other, and solves for the offset of each
- `joined_shifts`: one dataset of all frames, and one for each series

By the drift that positions on one stage share:

- `shared_drift`: solves for one drift, by the least squares of `drift_fit`
- `shift_errors`: how well the shifts of each position are known
- `position_votes`: which positions count in which frames
- `shared_dataset`: the datasets

Either way, `finished` opens finished runs and refuses those that cannot be compared; `series_join`
does it all, from settings to files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
