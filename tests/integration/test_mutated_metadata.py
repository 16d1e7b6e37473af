"""Whatever stands in the metadata of a stack: it is told in words, or means what it says."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import tifffile
import zarr

from steadystack.config import make_config
from steadystack.guide import check
from steadystack.model import InputError
from steadystack.planning import open_series
from support.members import slow_but
from support.metadata_mutations import (
    list_tiff_places,
    mutate_bytes,
    mutate_json,
    mutate_text,
)
from support.mutations import no_hang

PIXELS = np.random.default_rng(1).integers(1, 999, (4, 3, 24, 20), "u2")  # t, c, y, x
# Tags of TIFF that say nothing but how large a pixel is.
RESOLUTION = ("282", "283", "296")


def write_ome(path, zarr_format):
    group = zarr.create_group(path, zarr_format=zarr_format)
    for name, step in (("0", 1), ("1", 2)):
        group.create_array(name, data=PIXELS[..., ::step, ::step], chunks=(1, 1, 8, 8))
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "micrometer"} for name in "yx"),
    ]
    levels = [
        {
            "path": name,
            "coordinateTransformations": [
                {"type": "scale", "scale": [2.5, 1, 0.5 * step, 0.25 * step]},
                {"type": "translation", "translation": [0, 0, 1.0, 2.0]},
            ],
        }
        for name, step in (("0", 1), ("1", 2))
    ]
    image = {"name": "a", "version": "0.4", "axes": axes, "datasets": levels}
    omero = {"channels": [{"label": name, "color": "00FF00"} for name in "abc"]}
    if zarr_format == 2:
        group.attrs.update({"multiscales": [image], "omero": omero})
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image], "omero": omero}


def write_base(path, kind):
    """Write a good stack of a kind; returns its path and that of the file that is to be mutated."""
    if kind.startswith("OME"):
        write_ome(path / "a.zarr", 2 if kind.endswith("0.4") else 3)
        name = ".zattrs" if kind.endswith("0.4") else "zarr.json"
        return path / "a.zarr", path / "a.zarr" / name
    if kind.startswith("Zarr"):
        zarr_format = int(kind[-1])
        write_ome(path / "a.zarr", zarr_format)
        return path / "a.zarr", path / "a.zarr" / "0" / (
            ".zarray" if zarr_format == 2 else "zarr.json"
        )
    if kind == "npy":
        np.save(path / "a.npy", PIXELS)
        return path / "a.npy", path / "a.npy"
    metadata = {"axes": "TCYX", "unit": "um", "finterval": 2.5}
    tifffile.imwrite(
        path / "a.tif", PIXELS, imagej=kind == "ImageJ TIFF", byteorder="<",
        metadata=metadata if kind == "ImageJ TIFF" else {"axes": "TCYX"},
        resolution=(20000, 40000), resolutionunit="CENTIMETER", photometric="minisblack",
    )  # fmt: skip
    return path / "a.tif", path / "a.tif"


KINDS = ("OME 0.4", "OME 0.5", "Zarr 2", "Zarr 3", "ImageJ TIFF", "TIFF", "npy")


def mutate(random, kind, content):
    if kind == "npy" and random.integers(3):
        return mutate_text(random, content, 10, content.index(b"}") + 1, b"0123456789<>|iufV, ()")
    if kind == "npy":
        return mutate_bytes(random, content, [("magic", 0, 10), ("header", 10, 128)])
    if "TIFF" in kind:
        return mutate_bytes(random, content, list_tiff_places(content))
    changed, mutation = mutate_json(random, json.loads(content))
    return json.dumps(changed).encode(), mutation


def open_stack(path, out, kind):
    """Open a stack as `steadystack run` does; the way in, its description, and its first frame."""
    axes = {"axes": "tcyx"} if kind in ("npy", "TIFF") else {}
    settings = {"input": {"path": str(path), "channel": 1, **axes}, "output": {"shifts": str(out)}}
    config = make_config(settings)
    with no_hang():
        series, spec = open_series(config)
        return config, spec, series.source.read(0)


def read_plainly(path, kind):
    """Read channel 1 of the first frame by the library of the format alone."""
    if kind == "npy":
        return np.load(path)[0, 1]
    return zarr.open_group(path, mode="r")["0"][0, 1]


def compare(path, kind, mutation, spec, frame, base, base_frame):
    """Assert that what was accepted means the same as before, or what the changed field says."""
    assert all(size > 0 or math.isnan(size) for size in spec.pixel_size)
    assert not any(math.isinf(size) for size in spec.pixel_size)
    if kind.startswith("OME"):
        if not mutation.touches("axes", "datasets", "multiscales", "ome", "attributes"):
            assert (spec.pixel_size, spec.unit, spec.time) == (
                base.pixel_size,
                base.unit,
                base.time,
            )
        if (
            not mutation.touches("axes", "path")
            and spec.array == base.array
            and spec.axes == base.axes
        ):
            assert spec.shape == base.shape
            np.testing.assert_array_equal(frame.image, base_frame.image)
    elif "TIFF" in kind:
        if mutation.touches(*RESOLUTION):
            assert (spec.shape, spec.axes, spec.time) == (base.shape, base.axes, base.time)
            np.testing.assert_array_equal(frame.image, base_frame.image)
    elif spec.axes == base.axes and str(frame.status) != "unreadable":
        np.testing.assert_array_equal(
            frame.image[frame.valid], read_plainly(path, kind)[frame.valid]
        )


def run_mutations(path, kind, count, seed):
    """Open a stack with each of `count` mutations; returns how many were accepted."""
    folder = path / "base"
    folder.mkdir()
    base_path, target = write_base(folder, kind)
    _, base, base_frame = open_stack(base_path, path / "shifts.zarr", kind)
    random, accepted, told = np.random.default_rng(seed), 0, []
    content = target.read_bytes()
    for number in range(count):
        mutated = path / str(number)
        shutil.copytree(folder, mutated)
        changed, mutation = mutate(random, kind, content)
        (mutated / target.relative_to(folder)).write_bytes(changed)
        stack = mutated / base_path.name
        try:
            config, spec, frame = open_stack(stack, path / "shifts.zarr", kind)
            compare(stack, kind, mutation, spec, frame, base, base_frame)
            if number % 25 == 0:
                with no_hang():
                    check(config)
        except InputError as error:
            told.append(str(error))
        except Exception as error:
            raise AssertionError(f"{kind}, mutation {number}: {mutation.words}") from error
        else:
            accepted += 1
        shutil.rmtree(mutated)
    assert all(20 < len(words) < 1500 for words in told)
    return accepted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "seed"), slow_but([(25, 0)], [(25, 0), (75, 0), (750, 1)]))
def test_odd_metadata_is_reported_or_means_what_it_says(tmp_path, kind, count, seed):
    accepted = run_mutations(tmp_path, kind, count, seed)
    print(f"{kind}: {accepted} of {count} accepted")
    assert 0 < accepted < count
