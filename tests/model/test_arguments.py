"""What is taken for a stack: arrays with a mask of their own, lazy ones, ones without a size."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import yaml
from scipy import ndimage

import steadystack
from steadystack.model import InputError, as_plain, as_settings, as_stack, write_number

TRUE = (5, -7)


def labelled_pair():
    """Two frames apart by `TRUE`, a label that stands still in both, and the label's pixels."""
    random = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(random.normal(size=(200, 200)), 2)
    frames = np.stack([scene[40:136, 40:136], scene[45:141, 33:129]])
    label = np.zeros((96, 96), bool)
    label[20:60, 20:60] = True
    frames[:, label] = 3 * random.normal(size=1600)
    return frames, label


def test_what_an_array_masks_is_not_valid_in_a_pair():
    frames, label = labelled_pair()
    own = [np.ma.masked_array(frame, label) for frame in frames]
    masks = {"reference_mask": ~label, "moving_mask": ~label}
    expected = steadystack.register_translation(*frames, max_shift=20, **masks)
    assert np.allclose(expected.shift, TRUE, atol=0.05)
    measured = steadystack.register_translation(*own, max_shift=20)
    np.testing.assert_array_equal(measured.shift, expected.shift)
    xr.testing.assert_identical(
        steadystack.masked_ncc(*own, max_shift=20),
        steadystack.masked_ncc(*frames, max_shift=20, **masks),
    )


@pytest.mark.parametrize(
    "kind", ["array", "list", "dask", "DataArray", "given", "given DataArray", "a masked mask"]
)
def test_what_an_array_masks_is_not_valid_in_a_stack(kind):
    frames, label = labelled_pair()
    masked, options = np.ma.masked_array(frames, np.stack([label, label])), {}
    if kind.startswith("given"):
        options = {"mask": xr.DataArray(~label, dims=("y", "x")) if "Data" in kind else ~label}
        masked = frames
    elif kind == "a masked mask":
        options, masked = {"mask": np.ma.masked_array(np.ones_like(label), label)}, frames
    elif kind == "list":
        masked = list(masked)
    elif kind != "array":
        lazy = da.from_array(masked, chunks=(1, 96, 96))
        masked = lazy if kind == "dask" else xr.DataArray(lazy, dims=("t", "y", "x"))
    shifts = steadystack.estimate_shifts(masked, max_shift=np.int64(20), **options)
    assert np.allclose(shifts["frame_shift"][1], TRUE, atol=0.05)
    corrected = steadystack.correct(masked, shifts, interpolation="nearest", **options)
    assert np.isnan(corrected.to_numpy()[0][label]).all()
    assert np.isfinite(corrected.to_numpy()[0][~label]).all()


@pytest.mark.parametrize(
    ("dtype", "held"), [("u1", "f4"), ("?", "f4"), ("i4", "f8"), ("f2", "f2"), (">f4", ">f4")]
)
def test_the_type_holds_every_number_and_nan(dtype, held):
    values = np.ma.masked_array(np.array([1, 0, 1], dtype), [True, False, False])
    plain = as_plain(values)
    assert plain.dtype == np.dtype(held)
    np.testing.assert_array_equal(plain, [np.nan, 0, 1])
    unmasked = as_plain(np.ma.masked_array(np.array([1, 0], dtype)))
    assert type(unmasked) is np.ndarray
    assert unmasked.dtype == np.dtype(dtype)


@pytest.mark.parametrize("wrap", [lambda stack: stack, lambda stack: xr.DataArray(stack)])
def test_a_size_that_dask_does_not_know(wrap):
    stack = da.ones((8, 6, 6), chunks=(2, 6, 6))
    chosen = stack[stack.mean((1, 2)) > 0]
    with pytest.raises(InputError, match=r"shape \(nan, 6, 6\).*call compute_chunk_sizes"):
        as_stack(wrap(chosen))
    assert as_stack(chosen.compute_chunk_sizes()).shape == (8, 6, 6)


def test_settings_may_hold_numbers_and_arrays_of_numpy():
    settings = {"a": np.int64(3), "b": {"c": np.array([1.5, 2]), "d": (np.float32(0.5), "x")}}
    plain = as_settings(settings)
    assert plain == {"a": 3, "b": {"c": [1.5, 2.0], "d": [0.5, "x"]}}
    assert type(plain["a"]) is int
    frames, _ = labelled_pair()
    stack = np.concatenate([frames, frames])
    pairs = {"strategy": "separations", "separations": np.array([1, 2])}
    shifts = steadystack.estimate_shifts(stack, max_shift=np.array([20, 20]), pairs=pairs)
    assert len(shifts["pair_status"]) == 5


@pytest.mark.parametrize("name", ["mask", "initial_shifts", "external_reference", "object_mask"])
def test_a_section_in_place_of_an_array_is_reported_as_one(name):
    frames, _ = labelled_pair()
    told = rf"^{name} is a dict of path, invert: give an array; only in the settings of a run"
    with pytest.raises(InputError, match=told):
        steadystack.estimate_shifts(frames, **{name: {"path": "label.tif", "invert": True}})


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        0,
        2**63,
        -9999.0,
        -2147483648.0,
        4294967295.0,
        1e20,
        0.1,
        -0.0,
        float(np.finfo("f4").min),
        1.5e-9,
    ],
)
def test_a_number_in_settings_is_that_number(value):
    text = write_number(value)
    assert float(text) == value
    assert yaml.safe_load(f"[{text}]") == [value]
