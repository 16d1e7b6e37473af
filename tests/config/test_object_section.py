"""The section of an object: what cannot be asked for along with it."""

from __future__ import annotations

import pytest

from steadystack.config import make_config
from steadystack.model import InputError

INPUT = {"input": {"path": "stack.zarr"}}


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"preprocess": {"flat_field": "median"}}, "preprocess.flat_field"),
        ({"preprocess": {"fixed_pattern": "estimate"}}, "preprocess.fixed_pattern"),
        ({"initial_shifts": {"path": "stage.csv"}}, "initial_shifts"),
        ({"solve": {"refine": 1}}, "solve.refine"),
        ({"motion": {"model": "rigid"}}, "motion.model rigid"),
        ({"motion": {"model": "auto"}}, "motion.model auto"),
        ({"external_reference": {"path": "mean.npy"}}, "external_reference"),
    ],
)
def test_what_cannot_be_had_with_an_object_is_refused(sections, key):
    make_config(INPUT | sections)
    with pytest.raises(InputError, match=f"object.mask cannot be combined with {key}: leave one"):
        make_config(INPUT | sections | {"object": {"mask": "object.npy"}})


def test_paths_begin_at_the_folder_of_the_settings(tmp_path):
    config = make_config(INPUT | {"object": {"mask": "object.npy"}}, tmp_path)
    assert config.object_.mask == str(tmp_path / "object.npy")
    assert config.dump()["object"] == {"mask": str(tmp_path / "object.npy")}


def test_what_is_measured_depends_on_the_frame_that_it_is_drawn_on():
    settings = INPUT | {"object": {"mask": "object.npy"}}
    other = settings | {"solve": {"anchor": 3}}
    prints = [make_config(given).fingerprint("x") for given in (INPUT, settings, other)]
    assert len(set(prints)) == 3
    assert make_config(INPUT | {"solve": {"anchor": 3}}).fingerprint("x") == prints[0]
    assert not make_config(settings | {"register": {"max_shift": 3}}).is_decided
