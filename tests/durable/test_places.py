"""What a path is."""

from __future__ import annotations

import pytest

from steadystack.durable import get_place, paths_overlap
from steadystack.model import InputError


@pytest.mark.usefixtures("store")
def test_nothing_is_written_to_a_web_server():
    web = get_place("https://server/a")
    for change in (web.discard, web.settle, web.check_writable, web.open_records, web.open_build):
        with pytest.raises(
            InputError, match="https://server/a: a web server can neither be written to"
        ):
            change()
    with pytest.raises(InputError, match="https://server/a cannot be written"):
        web.check_name()


@pytest.mark.usefixtures("store")
def test_paths():
    assert paths_overlap("s3://b/a.zarr", "s3://b/a.zarr/")
    assert paths_overlap("s3://b/x/../a.zarr/c", "s3://b/a.zarr")
    assert not paths_overlap("s3://b/a.zarr", "s3://c/a.zarr")
    assert not paths_overlap("s3://b/a.zarr", "s3://b/a.zarr2")
    assert not paths_overlap("s3:/b/a.zarr", "s3://b/a.zarr")
    assert paths_overlap("/b/a.zarr", "/b/a.zarr/c")
    assert get_place("s3://b/x/a.zarr/").get_sibling("c").path == "s3://b/x/c"
