"""A pair in parts: blocks and tiles give what whole images give."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

import steadystack
from steadystack import ncc
from steadystack.ncc import tiles
from steadystack.register import Search, compute_block_terms
from support.scenes import ellipse, rough


def test_parts_of_a_pair_add_up(monkeypatch):
    """Blocks of a scene with a strong gradient, each brought to its own level."""
    scene = rough(3, (140, 150), 2) + np.linspace(0, 40, 150)
    reference, moving = scene[10:130, 10:140], scene[6:126, 15:145]
    rng = np.random.default_rng(0)
    masks = {
        "reference_mask": ellipse((120, 130)),
        "moving_mask": rng.random((120, 130)) < 0.8,
        "max_shift": 9,
    }
    whole = steadystack.masked_ncc(reference, moving, **masks)
    shift = steadystack.register_translation(reference, moving, **masks)
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 2000)
    blocks = tiles.cut_into_blocks(
        (120, 130), (120, 130), ncc.make_window((120, 130), (120, 130), (9, 9))
    )
    assert len(blocks) > 6
    parts = steadystack.masked_ncc(reference, moving, **masks)
    np.testing.assert_allclose(parts["ncc"], whole["ncc"], atol=2e-6)
    np.testing.assert_array_equal(parts["overlap_count"], whole["overlap_count"])
    found = steadystack.register_translation(reference, moving, **masks)
    # the gradient makes a broad peak of NCC 0.99: rounding moves its summit, in one piece most
    np.testing.assert_allclose(found.shift, shift.shift, atol=5e-3)
    assert found.status == shift.status


def chance(images, mask, monkeypatch, tile=None, block=None):
    """The deviation that is expected of unrelated images, as the tool measures it."""
    size = mask.shape
    if block is not None:
        monkeypatch.setattr(tiles, "BLOCK_PIXELS", block)
    search = Search.make(size, size, (12, 12), tile=tile)
    parts = []
    for number, place in enumerate(search.blocks):
        reference, moving = (
            ncc.make_masked_image(image[part], ncc.CachedMask(mask[part]))
            for image, part in zip(images, (place.reference, place.moving), strict=True)
        )
        parts.append(compute_block_terms(reference, moving, search, number))
    assert (len(parts) > 3) == (block is not None)
    return reduce(ncc.Terms.add, parts).chance_deviation


@pytest.mark.parametrize("smooth", [0.5, 3, 12, 30])
def test_chance_does_not_depend_on_how_a_frame_is_cut(smooth, monkeypatch):
    mask = ellipse((256, 256))
    for seed in (1, 2, 3):
        images = [rough(10 * seed + i, (256, 256), smooth) + 3 for i in (0, 1)]
        whole = chance(images, mask, monkeypatch)
        tiled = chance(images, mask, monkeypatch, tile=(64, 64))
        blocks = chance(images, mask, monkeypatch, block=5000)
        monkeypatch.undo()
        assert tiled == pytest.approx(whole, rel=0.4)
        assert blocks == pytest.approx(whole, rel=0.4)


@pytest.mark.parametrize(
    "bring",
    [
        lambda scene: scene + 1e9,
        lambda scene: np.round(5 * scene + 1e9).astype(np.int32),
        lambda scene: (1000 * scene).astype(np.int64).astype(np.uint64) + np.uint64(2**40),
        lambda scene: (100 + 20 * scene).astype(np.uint8),
        lambda scene: (scene * 1e-42).astype(np.float32),
        lambda scene: (scene * 5e37).astype(np.float32),
        lambda scene: scene * 1e200,
        lambda scene: scene * 1e-200,
        lambda scene: scene.astype(np.float16),
    ],
    ids=["f8 offset", "i4 offset", "u8 offset", "u1", "f4 tiny", "f4 huge", "f8 huge", "f8 tiny",
         "f2"],
)  # fmt: skip
@pytest.mark.parametrize("block", [None, 2000])
def test_any_numbers_will_do(bring, block, monkeypatch):
    if block is not None:
        monkeypatch.setattr(tiles, "BLOCK_PIXELS", block)
    scene = rough(8, (110, 110), 2)
    image = bring(scene / scene.std())
    found = steadystack.register_translation(
        image[10:100, 10:100], image[7:97, 14:104], max_shift=9
    )
    assert found.status == "ok"
    np.testing.assert_allclose(found.shift, (-3, 4), atol=0.05)


def test_an_outlier_or_an_empty_corner_is_no_level_for_the_rest(monkeypatch):
    """The first block has few and odd pixels, or none but in its halo."""
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 2500)
    scene = 1e4 + 10 * rough(8, (150, 150), 2)
    reference, moving = scene[10:140, 10:140].copy(), scene[7:137, 14:144].copy()
    few, far = np.ones((130, 130), bool), np.zeros((130, 130), bool)
    few[:40, :40] = False
    few[0, 0] = few[0, 1] = few[5, 5] = True
    reference[0, :2] = 9800  # far off
    far[36:100, 36:100] = True
    for mask in (few, far):
        masks = {"reference_mask": mask, "moving_mask": mask}
        found = steadystack.register_translation(reference, moving, max_shift=9, **masks)
        assert found.status == "ok"
        np.testing.assert_allclose(found.shift, (-3, 4), atol=0.05)


def test_the_moving_image_counts_as_a_whole_where_shapes_differ():
    scene = rough(2, (200, 200), 1.5)
    reference, mask = scene[100:160, 110:170], np.ones((200, 200), bool)
    mask[:70, :70] = False
    found = steadystack.register_translation(reference, scene, moving_mask=mask)
    assert found.status == "ok"
    np.testing.assert_allclose(found.shift, (-100, -110), atol=0.01)
    mask[:59] = False
    assert steadystack.register_translation(reference, scene, moving_mask=mask).overlap <= 1
    flat = scene.copy()
    flat[:70, :70] = 0
    assert steadystack.register_translation(reference, flat).status == "ok"


def test_lags_at_which_nothing_can_overlap_do_no_harm():
    """One valid column, searched along x: what overlaps there is at one lag, and flat or not."""
    frame = rough(3, (50, 30))
    mask = np.zeros((50, 30), bool)
    mask[:, 12] = True
    masks = {"reference_mask": mask, "moving_mask": mask}
    found = steadystack.register_translation(frame, frame, max_shift=(0, 5), **masks)
    assert found.status in ("low_overlap", "low_ncc", "at_search_limit")
    masks = {"reference_mask": mask[5:], "moving_mask": mask[:-5]}
    found = steadystack.register_translation(frame[5:], frame[:-5], max_shift=(9, 0), **masks)
    np.testing.assert_allclose(found.shift, (-5, 0), atol=0.1)


def test_large_searches_in_blocks(monkeypatch):
    scene = rough(5, (90, 100), 1.5)
    reference, moving = scene[:80, :70], scene[8:88, 21:91]
    whole = steadystack.masked_ncc(reference, moving)
    shift = steadystack.register_translation(reference, moving)
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 1000)
    parts = steadystack.masked_ncc(reference, moving)
    enough = whole["overlap_count"].to_numpy() > 500
    np.testing.assert_allclose(
        parts["ncc"].to_numpy()[enough], whole["ncc"].to_numpy()[enough], atol=1e-5
    )
    np.testing.assert_array_equal(parts["overlap_count"], whole["overlap_count"])
    found = steadystack.register_translation(reference, moving)
    np.testing.assert_allclose(found.shift, shift.shift, atol=1e-3)
