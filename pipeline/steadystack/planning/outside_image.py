"""Open images given besides the stack, such as the external reference; digests of all inputs."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.config import Config
from steadystack.conventions import find_spacing
from steadystack.csv_files import digest_pairs, read_pair_list
from steadystack.file_formats import TIFF_SUFFIXES, explaining_damage
from steadystack.model import Bools, InputError, OutsideImage, as_image
from steadystack.outputs import read_tiff_origin
from steadystack.planning.masking import naming_key
from steadystack.readers import (
    StackSpec,
    cut_stack,
    digest_content,
    locate_mask,
    locate_stack,
    read_any_image,
    read_image,
)
from steadystack.units import choose_common_unit, find_micrometers, is_size
from steadystack.validity import Mask

# Pixels of image and stack count as equal in size within this fraction: one pixel in a thousand.
SAME_SIZE = 1e-3
CONTENTS = "the contents of"  # a file


@dataclass(frozen=True)
class OutsideFile:
    """An external reference on disk, read where it is needed.

    `axes` are those of a frame, `channel` and `series` which image is meant where there are
    several.
    """

    path: str
    mask: str | None
    axes: tuple[str, ...]
    channel: int | str | None
    series: int | None
    origin: tuple[int, ...]
    digest: str = ""

    def read(self) -> tuple[NDArray[np.float64], Bools]:
        """Read its values, zero where not valid, and which of them are valid."""
        with naming_key("external_reference.path"):
            image = read_any_image(self.path, self.axes, self.channel, self.series)
        valid = np.isfinite(image.values)
        if self.mask is not None:
            with naming_key("external_reference.mask"):
                shape = image.values.shape
                valid &= locate_mask(self.mask, 0, shape).read(0, shape)
        return np.where(valid, image.values, 0.0), valid


@dataclass(frozen=True, eq=False)
class OutsideArray:
    """An external reference that was given as an array."""

    values: NDArray[np.float64]
    valid: Bools
    digest: str
    path: str = ""

    @property
    def origin(self) -> tuple[int, ...]:
        return (0,) * self.values.ndim

    def read(self) -> tuple[NDArray[np.float64], Bools]:
        return self.values, self.valid


def locate_outside_image(config: Config, spec: StackSpec) -> OutsideFile | None:
    """Locate the image at `external_reference.path`, and its mask; None if that is not set.

    It is read once, to be checked. Raises InputError for an image that cannot be compared with the
    frames of the stack.
    """
    section, channel = config.external_reference, config.input.list_channels()[0]
    if section.path is None:
        return None
    path = section.path
    with naming_key("external_reference.path"):
        is_own_tiff = path.lower().endswith(TIFF_SUFFIXES) and read_tiff_origin(path) is not None
        series = 0 if is_own_tiff else None  # a mean has further images after it
        image = read_any_image(path, spec.spatial, channel, series)
        _check_pixel_size(path, image.pixel_size, image.unit, spec.pixel_size, spec.unit)
    whole, first = spec.uncut or spec, spec.first_pixel
    origin = (0,) * len(spec.spatial)
    if image.values.shape == tuple(whole.size(axis) for axis in spec.spatial):
        origin = tuple(first[axis] for axis in spec.spatial)
    located = OutsideFile(path, section.mask, spec.spatial, channel, series, origin)
    return replace(located, digest=_digest(*located.read()))


def convert_outside_image(
    image: Any, axes: Sequence[str], pixel_size: Sequence[float], unit: str
) -> OutsideArray | None:
    """Convert an array, a DataArray, or what `steadystack.mean` returned; None stays None.

    `axes` are those of a frame, whose pixels have that size. Values that are not finite or masked
    by `numpy.ma` are not valid. Raises InputError for anything but an image with these axes, or if
    its coordinates imply another pixel size.
    """
    if image is None:
        return None
    coordinates = getattr(image, "coords", {})
    known = [coordinates.get(axis) for axis in axes]
    steps = [find_spacing(None if along is None else along.to_numpy()) for along in known]
    units = ["" if along is None else str(along.attrs.get("units") or "") for along in known]
    size, own_unit = choose_common_unit(steps, units)
    _check_pixel_size("external_reference", size, own_unit, pixel_size, unit)
    array = as_image(image, axes, "external_reference")
    valid = np.isfinite(array)
    array = np.where(valid, array, 0).astype(np.float64)
    return OutsideArray(array, valid, _digest(array, valid))


def check_one_block(outside: OutsideImage | None, shape: Sequence[int], blocks: int) -> None:
    """Refuse frames of several blocks, as their mean is not made in one piece."""
    if outside is not None and blocks > 1:
        raise InputError(
            f"external_reference needs frames that fit into one block, but {tuple(shape)} pixels "
            f"take {blocks}: leave it out, or use a coarser input.level"
        )


def _digest(values: NDArray[np.float64], valid: Bools) -> str:
    """Digest an image; refuses one without a valid pixel."""
    if not valid.any():
        raise InputError(
            "external_reference: no pixel of the image is valid: finite, and nonzero in its mask"
        )
    return digest_content(values) + digest_content(np.packbits(valid))


def _check_pixel_size(
    path: str, sizes: Sequence[float], unit: str, stack_sizes: Sequence[float], stack_unit: str
) -> None:
    """Refuse an image whose pixels have another size than those of the stack, if both are known."""
    differing = find_other_size((sizes, unit), (stack_sizes, stack_unit))
    if differing is not None:
        raise InputError(
            f"{path} has pixels of {differing[0]:.6g} um, and the stack of {differing[1]:.6g} um: "
            "scale the image to the pixels of the stack first, or, if one of the sizes is wrong, "
            "set input.pixel_size"
        )


def find_other_size(
    first: tuple[Sequence[float], str], second: tuple[Sequence[float], str]
) -> tuple[float, float] | None:
    """Find an axis along which pixels of two images differ in size: both sizes, micrometers.

    Each image is sizes and their unit. None if there is no such axis, as far as sizes are known.
    """
    (sizes, unit), (others, other_unit) = first, second
    factor, other_factor = find_micrometers(unit), find_micrometers(other_unit)
    if factor is None or other_factor is None:
        return None
    for size, other in zip(sizes, others, strict=True):
        if is_size(size) and is_size(other):
            one, two = size * factor, other * other_factor
            if not math.isclose(one, two, rel_tol=SAME_SIZE):
                return one, two
    return None


def collect_digests(
    config: Config,
    spec: StackSpec,
    saturation: float | None,
    masks: Sequence[Mask],
    drawn: Sequence[Mask],
    initial_shifts: NDArray[np.float64] | None,
) -> dict[str, str]:
    """Collect the digests of all that results depend on besides the settings, by its name.

    `masks` are those of what is valid, `drawn` that of an object.
    """
    digests = {"the input's metadata": spec.digest}
    if config.mask.saturation == "auto":
        digests["the level of mask.saturation auto"] = str(saturation)
    given = [] if config.mask.path is None else [f"{CONTENTS} mask.path {config.mask.path}"]
    names = *given, "mask.rois in pixels"
    digests |= {name: mask.digest for name, mask in zip(names, masks, strict=False)}
    digests |= {f"{CONTENTS} object.mask {config.object_.mask}": mask.digest for mask in drawn}
    digests |= digest_camera_images(config, (spec.uncut or spec).frame_shape)
    if config.pairs.path is not None:
        with naming_key("pairs.path"):
            pairs = read_pair_list(config.pairs.path)
            digests[f"{CONTENTS} pairs.path {config.pairs.path}"] = digest_pairs(pairs)
    if initial_shifts is not None:
        key = f"{CONTENTS} initial_shifts.path {config.initial_shifts.path or ''}".rstrip()
        digests[key] = digest_content(initial_shifts)
    return digests


def digest_camera_images(config: Config, frame_shape: tuple[int, ...]) -> dict[str, str]:
    """Digest the pixels of the flat field and the fixed pattern, if the settings give their paths.

    Raises InputError with the key where there is no such image.
    """
    section, digests = config.preprocess, dict[str, str]()
    for key, path, keyword in (
        ("flat_field", section.flat_field, "median"),
        ("fixed_pattern", section.fixed_pattern, "estimate"),
    ):
        if path is not None and path != keyword:
            near = difflib.get_close_matches(path.lower(), [keyword])
            hint = ", did you mean that?" * bool(near)
            naming = naming_key(f"preprocess.{key} (an image, or '{keyword}'{hint})")
            with naming, explaining_damage(path, "the image"):
                image = read_image(path, frame_shape)
            digests[f"{CONTENTS} preprocess.{key} {path}"] = digest_content(image)
    return digests


def locate_other_stack(path: str, measured: StackSpec) -> StackSpec:
    """Locate a second stack, checked to have the same frames as the first."""
    try:
        spec = locate_stack(path, channel=0)
    except InputError as error:
        raise InputError(f"correct.stack: {error}") from error
    whole = measured.uncut or measured
    axes = ("t", *whole.spatial)
    if any(spec.size(axis) != whole.size(axis) for axis in axes):
        shapes = [{axis: stack.size(axis) for axis in axes} for stack in (spec, whole)]
        raise InputError(
            f"correct.stack: {path} has {shapes[0]}, but the measured stack has {shapes[1]}: "
            "number and size of the frames must agree"
        )
    sides = measured.sides
    region = {axis: sides[axis][:2] for axis in whole.spatial}  # planes of a projection, too
    return cut_stack(spec, measured.frame_numbers, region)
