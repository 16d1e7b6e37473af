"""The settings as a whole: defaults, the fingerprint of the measuring, the schema."""

from __future__ import annotations

import pytest
import yaml

from steadystack.config import Config, make_config
from steadystack.model import InputError
from support import CONFIGS


def test_the_full_example_is_all_defaults():
    text = (CONFIGS / "full.yaml").read_text()
    shown = yaml.safe_load(text)
    defaults = make_config({"input": {"path": "stack.ome.zarr"}}).dump()
    assert shown == defaults


def test_the_fingerprint_is_that_of_the_measuring():
    def of(**sections):
        return make_config({"input": {"path": "a"}, **sections}).fingerprint("digest")

    same = of()
    assert of(input={"path": "elsewhere"}) == same
    assert of(input={"path": "a", "channel": 1}) != same
    assert of(input={"path": "a", "missing_chunks": "fill"}) != same
    assert of(solve={"anchor": 3, "robust": False, "interpolate": "linear"}) == same
    assert of(cluster={"kind": "in-process"}) == same
    assert of(output={"shifts": "b.zarr"}) == same
    assert of(register={"max_shift": 3}) != same
    assert of(mask={"border": 1}) != same
    assert of(preprocess={"high_pass": 3.0}) != same
    assert of(pairs={"width": 6}) != same
    assert make_config({"input": {"path": "a"}}).fingerprint("other") != same


def test_a_pixel_size_with_a_unit_is_kept_in_micrometers():
    for given, kept in (("0.5 nm", 5e-4), (["1 um", "500 nm"], (1.0, 0.5)), (0.3, 0.3)):
        config = make_config({"input": {"path": "a", "pixel_size": given}})
        assert config.input.pixel_size == kept
    for given in ("0.5 px", "-1 nm", ["1 nm", "wide"]):
        with pytest.raises(InputError, match=r"input\.pixel_size"):
            make_config({"input": {"path": "a", "pixel_size": given}})


def test_the_schema_knows_every_key():
    schema = Config.model_json_schema()
    for section, keys in make_config({"input": {"path": "a"}}).dump().items():
        reference = schema["properties"][section]
        name = reference.get("$ref", "").removeprefix("#/$defs/")
        assert set(schema["$defs"][name]["properties"]) == set(keys)


def test_the_budget_is_no_part_of_the_fingerprint():
    digest = "of an input"
    for pairs in ({}, {"width": 3}, {"strategy": "separations"}):
        prints = {
            make_config({"input": {"path": "a"}, "pairs": {**pairs, **extra}}).fingerprint(digest)
            for extra in ({}, {"extra": 0.2}, {"extra": 0.0})
        }
        assert len(prints) == 1, pairs
