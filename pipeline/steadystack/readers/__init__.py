"""Read any stack and mask: first as small descriptions, then frame by frame.

- `stacks`: finds out what a path holds
- `formats`: what a store says about itself
- `many_files`: series of TIFF files, pictures and HDF5 files
- `positions`: plates and collections
- `references`: where in a store an array is; `composed`: arrays composed of others
- `frames`: reads the frames of a stack or a DataArray
- `masks`: adds masks to either
- `single_images`: reads one image of any size
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
