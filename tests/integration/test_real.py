"""Real series beside the project: what is known of them is found. Else skipped."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import io

import bench_windows
import steadystack
from steadystack import quality
from steadystack.config import make_config
from steadystack.model import FrameStatus, Trust
from steadystack.outputs import write_image, write_stack
from support.members import slow_but


def first_frames(path, count, folder) -> str:
    """The path of a series, or of a copy of its first frames if there are more of them."""
    stack = steadystack.open_stack(str(path))
    if len(stack) == count:
        return str(path)
    write_stack(folder / "first.zarr", stack[:count].to_numpy())
    return str(folder / "first.zarr")


@pytest.mark.parametrize(
    ("frames", "cluster", "limits"),
    [
        pytest.param(40, {"kind": "in-process"}, (0.2, 0.2), marks=pytest.mark.slow),
        pytest.param(300, {"kind": "local", "workers": 2}, (0.4, 0.8), marks=pytest.mark.slow),
    ],
    ids=["the first frames", "all"],
)
def test_colloids_drift_as_particle_tracking_says(real_data, tmp_path, frames, cluster, limits):
    """300 frames of particles in water; a fibre stuck to the glass is masked."""
    folder = real_data("bulk_water")
    tracked = np.loadtxt(folder / "bulk_water_trackpy_drift_all.csv", delimiter=",", skiprows=1)
    tracked = tracked[tracked[:, 0] < frames]
    mask = np.ones((424, 640), bool)
    mask[:100, 545:] = False
    write_image(tmp_path / "fibre.zarr", mask)
    config = make_config(
        {
            "input": {"path": first_frames(folder / "bulk_water.ome.zarr", frames, tmp_path)},
            "mask": {"path": "fibre.zarr"},
            "preprocess": {"high_pass": 10},
            "register": {"max_shift": 16},
            "pairs": {"strategy": "separations", "separations": [1, 2, 4, 8]},
            "cluster": cluster,
        },
        tmp_path,
    )
    shifts = steadystack.run(config)
    drift = -shifts["frame_shift"].to_numpy()[tracked[:, 0].astype(int)]
    y, x = np.sqrt(np.mean((drift - tracked[:, 1:]) ** 2, axis=0))
    assert y < limits[0]
    assert x < limits[1]
    said = quality.verdict(shifts)  # close pairs are held back, by a codec's blocks and hot pixels
    assert said.trust is Trust.CHECK
    assert any(reason.startswith("pairs 1 frame(s) apart differ") for reason in said.reasons)
    first = "frames repeat blocks of earlier ones", "pairs 1 frame(s) apart differ"
    assert said.reasons[0].startswith(first)


ENGINES = {
    "here": {"kind": "in-process"},
    "one": {"kind": "local", "workers": 1},
    "two": {"kind": "local", "workers": 2, "task_memory": "20 MiB"},
}


@pytest.mark.parametrize(
    ("frames", "engines"),
    [(12, ["here"]), pytest.param(77, list(ENGINES), marks=pytest.mark.slow)],
    ids=["the first frames", "all on any engine"],
)
def test_a_tilt_series_steps_as_recorded_on_any_engine(real_data, tmp_path, frames, engines):
    folder = real_data("haadf_tilt")
    recorded = np.loadtxt(folder / "peer_shifts_yx.csv", delimiter=",")[:frames]
    path = first_frames(folder / "haadf.ome.zarr", frames, tmp_path)
    results = []
    for name in engines:
        config = make_config(
            {
                "input": {"path": path},
                "register": {"max_shift": 64},
                "pairs": {"strategy": "window", "width": 2},
                "output": {"shifts": f"{name}.zarr"},
                "cluster": ENGINES[name],
            },
            tmp_path,
        )
        results.append(steadystack.run(config))
    for other in results[1:]:
        for name in results[0].data_vars:
            assert other[name].to_numpy().tobytes() == results[0][name].to_numpy().tobytes()
    steps = np.diff(results[0]["frame_shift"].to_numpy() - recorded, axis=0)
    assert np.sqrt(np.mean(steps**2)) < 0.01


def test_cloudy_dates_are_flagged_and_no_shift_is_made_up(real_data, unchecked):
    folder = real_data("eo_s2_ndvi")
    stack = np.load(folder / "data" / "NDVI.npy")[..., 0]
    clear = np.load(folder / "mask" / "CLM.npy")[..., 0] == 0
    found = steadystack.estimate_shifts(stack, mask=clear, max_shift=10, pairs={"strategy": "all"})
    known = np.isfinite(found["frame_shift"].to_numpy()).all(axis=1)
    status = found["frame_status"].to_numpy()
    overcast = ~clear.any(axis=(1, 2))
    assert overcast.sum() == 20
    assert (status[overcast] == FrameStatus.EMPTY.code).all()
    assert known.sum() >= 38
    # dates of one satellite differ by little more than a pixel; ten were searched; and what is
    # called a shift is one: the pairs agree
    assert np.abs(found["frame_shift"].to_numpy()[known]).max() < 1.5
    residual = np.abs(found["pair_residual"].to_numpy()).max(axis=1)
    assert np.nanquantile(residual, 0.99) < 0.3
    assert np.nanmax(residual) < 1


@pytest.mark.parametrize("pixels", [1, 4, 9, 15])
def test_speckle_moved_by_whole_pixels(real_data, pixels):
    folder = real_data("dice_pixel_shift")
    found = steadystack.register_translation(
        io.imread(folder / "ref.tif"), io.imread(folder / f"def_{pixels}.tif"), max_shift=20
    )
    np.testing.assert_allclose(found.shift, (-pixels, -pixels), atol=0.03)


MOVED = "bulk_water/bulk_water.ome.zarr", "haadf_tilt/haadf.ome.zarr", "dice_pixel_shift/*.tif"


@pytest.mark.parametrize(
    ("stack", "seed"),
    slow_but([(MOVED[0], 6)], [(stack, seed) for stack in MOVED for seed in range(12)]),
)
def test_windows_that_follow_a_walk_differ_by_it(real_data, stack, seed):
    """Whatever the scene does: but for what is stated of both, and its systematic part."""
    folder = real_data(stack.partition("/")[0])
    frames = steadystack.open_stack(str(folder / stack.partition("/")[2])).squeeze().to_numpy()
    compared = bench_windows.compare(frames, seed)
    if compared is None:
        pytest.skip("the walk leaves no window of this series")
    assert not compared[1].is_off, compared


def test_a_plate_level_without_chunks_is_not_trusted(real_data, tmp_path):
    path = str(next((real_data("omezarr_fractal") / "v04").glob("*.zarr")))
    config = make_config(
        {
            "input": {"path": path, "axes": "tzyx"},  # its channels as frames
            "register": {"max_shift": 8},
            "cluster": {"kind": "in-process"},
        },
        tmp_path,
    )
    found = steadystack.run(config)
    assert (found["frame_status"] == FrameStatus.MISSING.code).all()
    assert np.isnan(found["frame_shift"]).all()
    assert quality.verdict(found).trust is Trust.UNRELIABLE


def test_a_written_copy_of_a_real_series_gives_the_same(real_data, tmp_path, unchecked):
    """What a lazy stack holds is what the run reads."""
    stack = steadystack.open_stack(str(real_data("haadf_tilt") / "haadf.ome.zarr")).isel(t=slice(6))
    write_stack(tmp_path / "copy.zarr", stack.to_numpy())
    lazy = steadystack.estimate_shifts(stack, max_shift=48)
    config = make_config(
        {
            "input": {"path": "copy.zarr"},
            "register": {"max_shift": 48},
            "cluster": {"kind": "in-process"},
        },
        tmp_path,
    )
    np.testing.assert_array_equal(steadystack.run(config)["frame_shift"], lazy["frame_shift"])
