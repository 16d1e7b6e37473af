"""Several series of one specimen in one frame: measured each in itself, and joined by their means.

`finished` opens runs that are finished, and refuses what cannot be compared; `mean_graph` measures
their means against each other, and solves for where each lies; `joined_shifts` makes one dataset of
all frames, and one for each series; `series_join` is the way from settings to files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
