"""Look at a stack and its corrected version in napari, and draw a region or a mask there.

- `shown_layers`: which layers there are
- `channel_images`: the pixels of each channel, as recorded and corrected
- `object_layer`: where a followed object is in them
- `drawings`: turns what was drawn into settings
- `window`: shows them; only this module uses napari
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
