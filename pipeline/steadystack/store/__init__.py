"""The only door to files: stacks, masks, shifts datasets.

`formats` knows what Zarr stores say of themselves; `stacks` finds out what a path holds and reads
single frames of it; `arrays` does the same for DataArrays, in memory or lazy; `masks` reads masks
and joins them to frames; `shifts` writes and reads the shifts dataset; `images` writes OME-Zarr.
"""
