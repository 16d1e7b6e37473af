"""Find out which run an image is from, whatever its format."""

from __future__ import annotations

from steadystack.durable import get_place
from steadystack.outputs.marks import Origin, read_kept_origin
from steadystack.outputs.ome_tiff import read_tiff_origin
from steadystack.outputs.progress import read_begun, read_stored_origin


def read_origin(path: str) -> Origin | None:
    """Read where the corrected stack, mean or movie at a path comes from.

    None: nothing is there, or something that was not made here.
    """
    if path.rstrip("/").endswith(".zarr"):
        return read_stored_origin(path)
    if not get_place(path).is_file():
        return None
    return read_kept_origin(path) if path.endswith((".npy", ".mp4")) else read_tiff_origin(path)


def list_known_digests(path: str, key: str) -> list[str]:
    """List the digests of the begun and of the complete output of `key` at a path."""
    known = []
    if path.rstrip("/").endswith(".zarr"):
        get_place(path).open_build().settle()
        if (begun := read_begun(path, key)) is not None:
            known.append(begun[0])
    found = read_origin(path)
    return known if found is None else [*known, found.digest]
