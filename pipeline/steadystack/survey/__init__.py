"""What some frames show before a run is laid out, gone on with, or judged.

`reach`: how far they move, and so how far to search; `object_tracing`: where an object is that a
mask of one frame follows; `defect_search`: what of the camera stands out
wherever the scene is, pixels and whole lines; `field_search`: where frames show no scene;
`slope_search`: how far what stands still pulls small shifts; `static_evidence`: whether it is
certain that something does; `change_search`: how much changes beside what shifts explain;
`borders`: pixels that seem to hold no data; `unchanged`: whether frames are those that were
measured.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
