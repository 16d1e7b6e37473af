"""The dataset of tables: what stands beside its columns."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.dataset import make_dataset
from steadystack.model import ATTRIBUTES, PairTable

TABLE = PairTable.unmeasured(np.array([[0, 1], [1, 2]]), 3, 2)


def test_attributes_stand_in_the_order_of_their_table():
    given = {"verdict": "good", "created": "today", "run": "a"}
    found = list(make_dataset(TABLE, axes=("y", "x"), attributes=given).attrs)
    names = [one.name for one in ATTRIBUTES]
    assert found == [name for name in names if name in found]
    assert set(given) < set(found)


def test_an_attribute_that_the_table_has_not_is_a_mistake():
    with pytest.raises(ValueError, match="verdikt"):
        make_dataset(TABLE, axes=("y", "x"), attributes={"verdikt": "good"})


def test_coordinates_and_the_pixel_size_say_what_they_are():
    times = ((0.0, 1.0, 2.0), "second")
    dataset = make_dataset(TABLE, axes=("y", "x"), time=times, unit="nm", pixel_size=(1, 2))
    for name in ("frame", "axis", "time", "pixel_size"):
        assert dataset[name].attrs["long_name"], name
    assert dataset["time"].attrs["unit"] == "second"
    assert dataset["pixel_size"].attrs["units"] == "nm"
