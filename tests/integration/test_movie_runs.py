"""The movie at the end of a run: decoded again, and measured."""

from __future__ import annotations

import av
import numpy as np
import pytest
from click.testing import CliRunner

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.model import GROWN, InputError
from steadystack.movie import filming
from steadystack.movie.captions import MoviePage
from steadystack.outputs import write_image, write_stack
from steadystack.stages.correcting import check_of_series
from support.corrected import SIZE, TRUTH, frames_of, run_of
from support.runs import write_settings
from support.scenes import Scene

pytestmark = pytest.mark.usefixtures("unchecked")
ENLARGED = 3  # 80 px are shown as 240


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


def run_with(folder, **sections):
    output = {"shifts": str(folder / "shifts.zarr"), "movie": str(folder / "movie.mp4")}
    return run_of(folder, **{"output": output} | sections)


def decode_halves(path):
    """Both halves of every picture, (2, frames, y, x), and the pictures."""
    with av.open(str(path)) as file:
        coding = file.streams.video[0].codec_context
        assert (coding.name, coding.pix_fmt) == ("h264", "yuv420p")
        pictures = np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)])
    page = MoviePage((ENLARGED * SIZE[0], ENLARGED * SIZE[1]), float("nan"), "")
    assert pictures.shape[1:] == page.shape
    return [pictures[:, y, x] for y, x in page.find_panels()], pictures


def register_all(pictures: np.ndarray) -> np.ndarray:
    """How far every picture is from the first one, px of frames; its black pixels are masked."""
    small = pictures[:, 1::ENLARGED, 1::ENLARGED].astype(float)
    found = [
        steadystack.register_translation(
            small[0], picture, reference_mask=small[0] > 10, moving_mask=picture > 10, max_shift=12
        ).shift
        for picture in small
    ]
    return np.array(found)


def test_the_plan_describes_the_movie(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    without = stages.plan(run_with(tmp_path, output={"shifts": str(tmp_path / "shifts.zarr")}))
    config = run_with(tmp_path)
    plan = stages.plan(config)
    shape = (len(frames), *MoviePage((ENLARGED * SIZE[0], ENLARGED * SIZE[1]), 1.0, "").shape)
    size = 1.5 * np.prod(shape)
    assert (without.movie, plan.movie.shape, plan.movie.written_bytes) == (None, shape, size)
    rows = dict(plan.describe())
    assert rows["movie"] == str(shape)
    # 76 bytes for each of its 72 x 80 pixels, and two pictures of nine times as many
    assert rows["its tasks"] == f"{len(frames)} of up to 0.5 MiB of memory"
    assert rows["disk"] != dict(without.describe())["disk"]
    stages.run(config)
    _, pictures = decode_halves(tmp_path / "movie.mp4")
    assert pictures.shape == shape
    assert 0 < (tmp_path / "movie.mp4").stat().st_size < size
    assert stages.plan(config).movie == plan.movie


def test_the_left_half_moves_and_the_right_one_stands_still(frames, tmp_path):
    """Frames of 72 x 80 with a mask, and their pictures registered without it."""
    valid = np.ones(SIZE, bool)
    valid[20:33, 30:41] = False
    pixels = frames.copy()
    pixels[:, ~valid] = 65535
    write_stack(tmp_path / "stack.zarr", pixels, pixel_size=(0.1, 0.1), frame_interval=2.5)
    write_image(tmp_path / "mask.zarr", valid)
    config = run_with(tmp_path, mask={"path": str(tmp_path / "mask.zarr")})
    shifts = stages.run(config)
    (before, after), pictures = decode_halves(tmp_path / "movie.mp4")
    assert len(pictures) == len(frames)
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.1)
    np.testing.assert_allclose(register_all(before), TRUTH, atol=0.1)
    np.testing.assert_allclose(register_all(after), 0, atol=0.1)
    inside = slice(3 * 22, 3 * 31), slice(3 * 32, 3 * 39)
    assert before[:, *inside].max() < 15, "what is masked is black"
    assert np.median(before) > 60
    written = (tmp_path / "movie.mp4").stat().st_mtime_ns
    stages.run(config)
    done = stages.correct(config)
    assert (tmp_path / "movie.mp4").stat().st_mtime_ns == written, "it was written again"
    assert str(done).startswith("movie of 6 frames, 270 x 484 ->")
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {"stack.zarr", "mask.zarr", "shifts.zarr", "movie.mp4", "run.log"}


@pytest.mark.parametrize("stage", ["plan", "run"])
def test_what_would_go_wrong_is_reported_before_work(frames, tmp_path, monkeypatch, stage):
    write_stack(tmp_path / "stack.zarr", frames)
    theirs = tmp_path / "movie.mp4"
    theirs.write_bytes(b"theirs")
    with pytest.raises(InputError, match=r"output\.movie .*was not made by steadystack"):
        getattr(stages, stage)(run_with(tmp_path))
    assert theirs.read_bytes() == b"theirs"
    theirs.unlink()
    monkeypatch.setattr(filming, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"output\.movie needs PyAV: pip install"):
        getattr(stages, stage)(run_with(tmp_path))
    assert not (tmp_path / "shifts.zarr").exists()


def test_settings_that_make_no_sense_are_refused(frames, tmp_path):
    with pytest.raises(InputError, match=r"movie 'movie.gif' must end in .mp4"):
        run_with(tmp_path, output={"movie": "movie.gif"})
    for name in ("a", "b"):
        write_stack(tmp_path / f"{name}.zarr", frames)
    path = write_settings(
        tmp_path, input={"path": ["a.zarr", "b.zarr"]},
        output={"shifts": "{name}-shifts.zarr", "movie": "movie.mp4"},
    )  # fmt: skip
    told = CliRunner().invoke(main, ["run", path])
    assert "output.movie" in told.output
    assert "is one path for 2 inputs: put {name} into it" in told.output


def test_a_series_that_has_grown_is_filmed_anew_and_that_of_another_run_stays(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames[:4])
    config = run_with(tmp_path)
    stages.run(config)
    write_stack(tmp_path / "stack.zarr", frames)
    stages.run(config)
    assert len(decode_halves(tmp_path / "movie.mp4")[1]) == 6
    other = {"shifts": str(tmp_path / "others.zarr"), "movie": str(tmp_path / "movie.mp4")}
    grown = {"fingerprint": "0", GROWN: '{"fingerprints": ["1"]}'}
    with pytest.raises(InputError, match=r"another run.*another output\.movie"):
        check_of_series(run_with(tmp_path, output=other), grown)
