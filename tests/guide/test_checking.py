"""What check warns of and draws."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from steadystack.cli import main
from steadystack.guide import check
from steadystack.outputs import write_image
from support.masked import SHAPE, frames_behind, settings
from support.scenes import ellipse


@pytest.mark.parametrize("inverted", [False, True])
def test_check_warns_of_a_mask_that_looks_inverted(tmp_path, inverted):
    pairs = [frames_behind("constant", seed) for seed in range(3)]
    write_image(tmp_path / "m.zarr", pairs[0][1])
    config = settings(
        tmp_path, {"path": "m.zarr", "invert": inverted}, np.stack([p[0] for p in pairs])
    )
    said = "\n".join(value for _, value in check(config))
    assert ("the mask looks inverted" in said) == inverted
    assert ("m.zarr, inverted" in said) == inverted


def test_check_draws_frames_and_mask_together(tmp_path):
    write_image(tmp_path / "m.zarr", ellipse(SHAPE))
    config = settings(tmp_path, {"path": "m.zarr"}, output={"shifts": "s.zarr"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.dump()))
    picture = tmp_path / "seen.png"
    words = ["check", str(tmp_path / "run.yaml"), "--picture"]
    done = CliRunner().invoke(main, [*words, str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    for wrong, what in (
        ("seen.bmp", "must end in .png"),
        ("no/seen.png", "its folder does not exist"),
    ):
        told = CliRunner().invoke(main, [*words, str(tmp_path / wrong)])
        assert told.exit_code == 2
        assert what in told.stderr
