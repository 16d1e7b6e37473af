"""Groups of displacements: what is replaced, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from steadystack.model import InputError
from steadystack.outputs import FieldArray, replacing_own_fields, write_fields, write_stack
from steadystack.outputs.field_groups import CHUNK_VALUES

SIDE = 200


def write(path, value=1.0, count=7):
    field = FieldArray(
        attributes={"a": 1},
        names=("t", "c", "y", "x"),
        shape=(count, 3, SIDE, SIDE),
        make_frame=lambda row: np.full((3, SIDE, SIDE), value * row),
    )
    with replacing_own_fields(str(path)) as new:
        write_fields(new, {"ome": {}}, {"image": "b"}, {"there": field})


def test_fields_are_written_frame_by_frame_and_replaced(tmp_path):
    path = tmp_path / "a.zarr"
    for value in (1.0, 2.0):
        write(path, value)
        group = zarr.open_group(path, mode="r")
        assert group.attrs["steadystack"] == {"displacements": ["there"], "image": "b"}
        array = group["coordinateTransformations/there/0"]
        assert array.metadata.dimension_names == ("t", "c", "y", "x")
        assert array.chunks == (CHUNK_VALUES // (3 * SIDE * SIDE), 3, SIDE, SIDE)
        expected = np.broadcast_to(value * np.arange(7.0)[:, None, None, None], array.shape)
        np.testing.assert_array_equal(array[:], expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize(
    "what",
    [
        "stack",
        "file",
        "folder",
        "image inside",
        "coordinateTransformations/mine",
        "coordinateTransformations/there/mine",
        "notes.txt",
        "coordinateTransformations/a.csv",
    ],
)
def test_what_others_put_there_is_kept(tmp_path, what):
    path, pixels = tmp_path / "a.zarr", np.ones((2, 20, 20), "u1")
    if what == "stack":
        write_stack(path, pixels)
    elif what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif what.endswith((".txt", ".csv")):
        write(path)
        (path / what).write_text("mine")
    else:
        write(path)
        write_stack(path / what, pixels)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="will not be overwritten"):
        write(path)
    assert set(tmp_path.rglob("*")) == before
