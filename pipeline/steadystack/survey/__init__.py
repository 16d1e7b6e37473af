"""Look at some of the frames before a run is planned, continued or judged.

- `reach`: how far they move, and so how far to search
- `object_tracing`: where the object is whose mask was drawn on one frame
- `defect_search`: camera pixels and lines that stand out wherever the scene is
- `field_search`: where frames show no scene
- `slope_search`: how far what stands still pulls small shifts
- `static_evidence`: whether something certainly stands still
- `change_search`: how much changes beyond what shifts explain
- `borders`: pixels that seem to hold no data
- `unchanged`: whether the frames are those that were measured
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
