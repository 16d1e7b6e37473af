"""What is taken for a stack."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import xarray as xr

from pipeline.model.words import InputError


def spatial_dims(stack: xr.DataArray) -> tuple[str, ...]:
    """The spatial dims of a stack in array order: those named z, y, x."""
    return tuple(str(dim) for dim in stack.dims if dim in ("z", "y", "x"))


def as_stack(stack: Any) -> xr.DataArray:
    """A stack from a DataArray, or from an array with the axes t, [z,] y, x."""
    if isinstance(stack, xr.DataArray):
        return stack
    if isinstance(stack, str | PathLike):
        raise InputError(f"{stack} is a path: open it with pipeline.open_stack")
    if isinstance(stack, xr.Dataset):
        raise InputError(
            f"a Dataset holds several arrays: give one of {', '.join(map(str, stack))}"
        )
    values = np.asarray(stack)
    if values.ndim not in (3, 4):
        raise InputError(f"a stack has 3 or 4 axes (t, [z,] y, x), not {values.ndim}")
    return xr.DataArray(values, dims=("t", *("z", "y", "x")[4 - values.ndim :]))
