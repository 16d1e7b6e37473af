"""Look at a stack and at its steady one in napari, and draw a region or a mask there.

`shown_layers` says which layers there are, `channel_images` the pixels of each channel as taken and
steady, `object_layer` where an object is in them, `drawings` makes settings of what was drawn, and
`window` shows them; only it knows napari.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
