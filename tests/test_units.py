"""Lengths and sizes with units."""

from __future__ import annotations

import math

import numpy as np
import pytest

from steadystack.model import InputError
from steadystack.units import (
    RawLayout,
    choose_common_unit,
    find_micrometers,
    parse_bytes,
    parse_layout,
    parse_pixel_size,
    parse_region,
    parse_shift_bounds,
    parse_slice,
    split_region,
)


@pytest.mark.parametrize(
    ("max_shift", "bounds"),
    [
        (None, None),
        (12, (12, 12)),
        ([3, 4], (3, 4)),
        ("3 um", (6, 12)),
        ("3.1 µm", (7, 13)),
        (["500 nm", 9], (1, 9)),
        ("7.5 px", (8, 8)),
        ("+7 px", (7, 7)),
    ],
)
def test_lengths_become_pixels(max_shift, bounds):
    assert parse_shift_bounds(max_shift, (0.5, 0.25), "micrometer") == bounds


@pytest.mark.parametrize(
    ("max_shift", "unit", "words"),
    [
        ("3 parsec", "micrometer", "neither pixels nor a length"),
        ("three", "micrometer", "neither pixels nor a length"),
        ("3 um", "", "needs a pixel size with a unit"),
        ("3 um", "furlong", "states its own in 'furlong', which is not understood"),
        ([1, 2, 3], "micrometer", "3 values for 2 axes"),
    ],
)
def test_lengths_that_say_nothing_are_refused(max_shift, unit, words):
    with pytest.raises(InputError, match=words):
        parse_shift_bounds(max_shift, (0.5, 0.25), unit)


def test_sizes():
    assert parse_bytes("512 MiB") == 2**29
    assert parse_bytes("1.5gb") == 1_500_000_000
    assert parse_bytes("512") is None


def test_a_length_along_an_axis_whose_pixel_size_is_not_known():
    assert parse_shift_bounds([4, "3 um"], (math.nan, 0.5), "um") == (4, 6)
    with pytest.raises(InputError, match=r"the stack has none: .*set input.pixel_size"):
        parse_shift_bounds("3 um", (math.nan, 0.5), "um")


SPELLINGS = {
    1e-6: "pm picometer picometres",
    1e-4: "\N{LATIN CAPITAL LETTER A WITH RING ABOVE} \N{ANGSTROM SIGN} A\N{COMBINING RING ABOVE} "
    "angstrom Angstroms ångström ÅNGSTRÖM",
    1e-3: "nm nanometer nanometre Nanometers NANOMETRES",
    1.0: "um \N{MICRO SIGN}m \N{GREEK SMALL LETTER MU}m \\u00B5m micron microns Microns micrometer "
    "micrometers micrometre micrometres",
    1e3: "mm millimeter millimetres",
    1e4: "cm centimeter centimetre CENTIMETER",
    1e6: "m meter metre metres",
    1e9: "km kilometer kilometres",
    25400.0: "in inch inches Inch",
}  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "micrometers"),
    [(unit, size) for size, units in SPELLINGS.items() for unit in units.split()],
)
def test_spellings_of_units(unit, micrometers):
    assert find_micrometers(unit) == micrometers
    assert find_micrometers(f" {unit} ") == micrometers
    assert parse_shift_bounds(f"10 {unit}", (micrometers, 2.5 * micrometers), "um") == (10, 4)


@pytest.mark.parametrize("unit", ["", "pixel", "MM", "Mm", "NM", "furlong", "s", "metersquared"])
def test_units_that_are_not_guessed(unit):
    assert find_micrometers(unit) is None


@pytest.mark.parametrize(
    ("sizes", "units", "expected", "unit"),
    [
        ((0.5, 0.25), ("um", "um"), (0.5, 0.25), "um"),
        ((500, 0.25), ("nm", "µm"), (0.5, 0.25), "micrometer"),
        ((0.0, 0.25), ("um", "um"), (math.nan, 0.25), "um"),
        ((-1, math.nan), ("um", "um"), (math.nan, math.nan), ""),
        ((math.inf, 2), ("um", "nm"), (math.nan, 2), "nm"),
        ((1, 1), ("", ""), (math.nan, math.nan), ""),
        ((1, 1), ("pixel", "px"), (math.nan, math.nan), ""),
        ((1, 2), ("", "pixels"), (1, 2), ""),
        ((3, 0.5), ("", "um"), (math.nan, 0.5), "um"),
        ((3, 0.5), ("furlong", "um"), (3, 0.5), "furlong, um"),
        ((3, 0.5), ("furlong", "furlong"), (3, 0.5), "furlong"),
    ],
)
def test_sizes_have_one_unit_or_are_not_known(sizes, units, expected, unit):
    chosen, common = choose_common_unit(sizes, units)
    np.testing.assert_array_equal(chosen, expected)
    assert common == unit


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("155:245:3", slice(155, 245, 3)),
        (" 2 : 9 ", slice(2, 9, None)),
        ("100:", slice(100, None, None)),
        ("::2", slice(None, None, 2)),
        (":", slice(None, None, None)),
    ],
)
def test_slices_are_those_of_python(text, numbers):
    assert parse_slice("input.frames", text) == numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("155", "is not a slice start:stop:step"),
        ("1:2:3:4", "is not a slice"),
        ("a:b", "is not a slice"),
        ("1.5:3", "is not a slice"),
        ("-5:", "start is negative"),
        ("0:-1", "stop is negative"),
        ("9:0:-1", "step is negative"),
        ("0:9:0", "step is 0"),
        ("-:3", "start is negative"),
    ],
)
def test_other_slices_are_refused(text, words):
    with pytest.raises(InputError, match=f"input.frames '{text}'.*{words}"):
        parse_slice("input.frames", text)


WHERE = (("z", "y", "x"), (5, 100, 200), (2.0, 0.5, 0.25), "micrometer")


@pytest.mark.parametrize(
    ("region", "sides"),
    [
        ((), ((0, 5), (0, 100), (0, 200))),
        (((10, 60), (0, 200)), ((0, 5), (10, 60), (0, 200))),
        ((None, ("5 um", "30 um")), ((0, 5), (0, 100), (20, 120))),
        (((2, 3), None, None), ((2, 3), (0, 100), (0, 200))),
        ((("4 um", "8um"), None, ("5.1 um", 60.5)), ((2, 4), (0, 100), (20, 61))),
    ],
)
def test_regions_are_pixels_along_the_last_axes(region, sides):
    assert parse_region("input.region", region, *WHERE) == sides


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (((0, 1),) * 4, "has 4 axes, but frames have z, y, x"),
        (
            ((-1, 50), None),
            r"\[-1, 50\] along y is not inside the frame, whose pixels are 0 to 100",
        ),
        (((50, 101), None), r"along y is not inside the frame"),
        ((None, ("40 um", "60 um")), "along x, pixels 160 to 240, is not inside"),
        (((40, 55), None), "has 15 pixels: at least 16 are needed, of the frame's 100"),
        (((60, 40), None), "has 0 pixels: at least 16"),
        (((3, 3), None, None), "along z has 0 pixels: at least 1 "),
        ((("x", 50), None), "'x' is neither pixels nor a length"),
    ],
)
def test_other_regions_are_refused_with_the_limits(region, words):
    with pytest.raises(InputError, match=f"input.region.*{words}"):
        parse_region("input.region", region, *WHERE)


def test_a_length_needs_a_pixel_size():
    with pytest.raises(InputError, match=r"set input\.pixel_size"):
        parse_region("input.region", ((0, "9 um"), None), ("y", "x"), (64, 64), (np.nan,) * 2, "")


def test_regions_as_one_text():
    assert split_region("--region", "64:320, 20 um:70 um") == [[64, 320], ["20 um", "70 um"]]
    assert split_region("--region", ":,5:60") == [None, [5, 60]]
    assert split_region("--region", "-5:60") == [[-5, 60]]
    assert split_region("--region", "+5:60.5,+5 px:9 um") == [[5, 60.5], ["+5 px", "9 um"]]
    for text in ("64", "1:2:3", "5:,0:3", "a"):
        with pytest.raises(InputError, match="is not first:stop"):
            split_region("--region", text)


def test_layouts_are_read_as_they_are_written():
    """Words come in any order, with commas or without; the text of a layout is a layout."""
    layout = parse_layout("input.raw", ">float64, 3 x 4x5  gap 7 offset 2, count 9")
    assert layout == RawLayout(">f8", (3, 4, 5), 2, 7, 9)
    for made in (layout, RawLayout("<u1", (4, 5)), parse_layout("input.raw", "i2 4x5")):
        assert parse_layout("input.raw", str(made)) == made


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ("0.5 nm", (5e-4, 5e-4)),
        ("5E-4", (5e-4, 5e-4)),  # as YAML reads it: a text
        ("5e-1 nm", (5e-4, 5e-4)),
        (0.25, (0.25, 0.25)),
        ("0.25", (0.25, 0.25)),
        (np.float32(0.25), (0.25, 0.25)),
        (np.array([0.25, 0.5]), (0.25, 0.5)),
        (["1 Å", 2], (1e-4, 2.0)),
        (["2e-3 mm", "0.3µm"], (2.0, 0.3)),
    ],
)
def test_a_pixel_size_is_micrometers_or_has_a_unit(given, sizes):
    assert parse_pixel_size(given, "yx") == sizes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("0.5 px", r"'0\.5 px' is not a length like '0\.5 nm' \(pm, .*a number is micrometers"),
        ("0.5 parsec", "is not a length"),
        ("1.2.3 nm", "is not a length"),
        ("-1 nm", "is not a size: sizes are above 0"),
        ([1, 2, 3], "has 3 values for the axes y, x"),
    ],
)
def test_what_is_no_pixel_size_is_reported(given, words):
    with pytest.raises(InputError, match=words):
        parse_pixel_size(given, "yx")
