"""Positions of plates, and collections of series."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import StackFrames, list_positions, locate_stack
from support import STORES
from support.stores import FRAMES, ome_04
from support.tiff_files import PIXELS


@pytest.fixture
def plate(tmp_path):
    """A plate of three wells; one is on its list and not there."""
    shutil.unpack_archive(STORES / "ome-zarr-py-05-plate.zip", tmp_path / "plate.zarr")
    return tmp_path / "plate.zarr"


def test_positions_of_a_plate(plate):
    found = list_positions(str(plate))
    assert (found.names, found.missing) == (("A/01/0", "A/01/1", "B/03/0"), ("B/02",))
    for name, path in zip(found.names, found.paths(), strict=True):
        by_path = StackFrames(locate_stack(path, channel=0)).read(1).image
        by_position = StackFrames(locate_stack(str(plate), position=name, channel=0)).read(1).image
        np.testing.assert_array_equal(by_path, by_position)
    assert locate_stack(str(plate), position="B/03", channel=0).array.inner_path == "B/03/0/s0"
    assert list_positions(found.paths()[0]) is None


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (None, r"holds several images: set input.position to one of its 3 \(A/01/0, A/01/1, B/03"),
        ("A/01", "well with 2 fields: set it to one of A/01/0, A/01/1"),
        ("B/02/0", "lists this well, but the store does not contain it; it has A/01/0"),
        ("B/3/0", "is not in the plate .*; did you mean B/03/0"),
        ("Z/99/7", "is not in the plate .*; it has A/01/0"),
    ],
)
def test_positions_that_are_not_there(plate, position, words):
    with pytest.raises(InputError, match=words):
        locate_stack(str(plate), position=position, channel=0)


def test_a_position_of_what_is_no_plate(plate):
    with pytest.raises(InputError, match="is not a plate"):
        locate_stack(str(plate / "A/01/0"), position="A/01/0", channel=0)
    with pytest.raises(InputError, match=r"is a plate: set input.position"):
        locate_stack(str(plate), series=0)
    with pytest.raises(InputError, match="is not a collection"):
        locate_stack(str(plate / "A/01/0"), series=0, channel=0)


def test_a_plate_without_any_well(plate):
    for row in ("A", "B"):
        shutil.rmtree(plate / row)
    with pytest.raises(InputError, match="none of its 3 wells exists"):
        locate_stack(str(plate), position="A/01/0")


def test_a_collection_of_series(tmp_path):
    """The layout of bioformats2raw, with and without its list of series."""
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for name in ("0", "1"):
        write_stack(tmp_path / "image.zarr", PIXELS[:, int(name)])
        shutil.copytree(tmp_path / "image.zarr", tmp_path / "b.zarr" / name)
        shutil.unpack_archive(STORES / "ome-zarr-py-04.zip", tmp_path / "a.zarr" / name)
    zarr.open_group(tmp_path / "b.zarr", mode="a", zarr_format=3).attrs["ome"] = {
        "version": "0.5", "bioformats2raw.layout": 3
    }  # fmt: skip
    for listed in (False, True):
        if listed:
            group.create_group("OME").attrs["series"] = ["1", "0"]
        with pytest.raises(InputError, match=r"set input.series to one of 0 to 1"):
            locate_stack(str(tmp_path / "a.zarr"))
        with pytest.raises(InputError, match=r"input.series 2 does not exist"):
            locate_stack(str(tmp_path / "a.zarr"), series=2)
        spec = locate_stack(str(tmp_path / "a.zarr"), series=1, channel="DAPI")
        assert spec.array.inner_path.split("/")[0] == ("0" if listed else "1")
    spec = locate_stack(str(tmp_path / "b.zarr"), series=1)
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, PIXELS[2, 1])


def test_several_channels_by_number_and_name(tmp_path):
    path = ome_04(tmp_path / "stack.zarr")
    spec = locate_stack(path, channel=["GFP", 0])
    assert (spec.channel, spec.several) == (1, (1, 0))
    source = StackFrames(spec)
    for channel, number in zip(source.channels, (1, 0), strict=True):
        np.testing.assert_array_equal(channel.read(2).image, FRAMES[2, number])
        assert not channel.channels
    np.testing.assert_array_equal(source.read(2).image, FRAMES[2, 1])
    assert not StackFrames(locate_stack(path, channel=["GFP"])).channels
    with pytest.raises(InputError, match="none twice"):
        locate_stack(path, channel=["GFP", 1])
