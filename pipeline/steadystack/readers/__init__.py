"""Any stack and mask in: small descriptions first, then frame by frame.

`stacks` finds out what a path holds, with `formats` (what a store says of itself), `positions`
(plates and collections), `tiff` and `other_files`. `references` say where in a store an array is,
`pixels` are arrays of all formats, read in one way; `frames` reads those of a stack or a DataArray
and `masks` joins masks to either.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
