"""Several series in one frame: measured each in itself, and joined by their means or their drift.

`finished` opens runs that are finished, and refuses what cannot be compared; `mean_graph` measures
their means against each other, and solves for where each lies; `joined_shifts` makes one dataset of
all frames, and one for each series. Of positions that share a stage `shared_drift` solves for one
drift: `shift_errors` says how well the shifts of each are known, `position_votes` which of them
count in which frames, `drift_fit` has the least squares; `shared_dataset` makes the datasets.
`series_join` is the way from settings to files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
