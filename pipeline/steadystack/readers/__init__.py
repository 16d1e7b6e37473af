"""Any stack and mask in: small descriptions first, then frame by frame.

`stacks` finds out what a path holds, with `formats` (what a store says of itself), `many_files`
(series of TIFF files and pictures) and `positions` (plates and collections). `references` say where
in a store an array is, `composed` are arrays made of others; `frames` reads those of a stack or a
DataArray and `masks` joins masks to either; `single_images` reads one image of any size.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
