"""What lies on the store in memory."""

from __future__ import annotations

import obstore

PATH = "s3://bucket/deep/s.zarr"


def listed(store):
    return sorted(one["path"] for some in obstore.list(store) for one in some)
