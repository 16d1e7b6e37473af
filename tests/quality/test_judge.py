"""The verdict of tables and findings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steadystack import estimate_shifts
from steadystack.model import (
    FixedPatternEffect,
    FrameStatus,
    LocalMotion,
    MajorityCheck,
    MaskCheck,
    PairStatus,
    PairTable,
    ProbeCheck,
    Reason,
    SharpnessCheck,
    StrangeParts,
    Trust,
)
from steadystack.motion import ModelChoice, UnmodelledMotion
from steadystack.motion.strengths import LocalStrength, Strength
from steadystack.quality import AdviceSettings, judge_series
from steadystack.solve import solve_shifts
from support.scenes import Scene, ellipse


def solved(statuses, frame_status=FrameStatus.OK, axes=1):
    """A chain of pairs of these statuses, each of one pixel."""
    count = len(statuses)
    pairs = np.stack([np.arange(count), np.arange(1, count + 1)], axis=1)
    table = PairTable.unmeasured(pairs, count + 1, axes)
    table.status[:] = [status.code for status in statuses]
    table.shift[table.ok], table.shift_std[table.ok] = 1.0, 0.1
    table.frame_read_status[:] = frame_status.code
    return table, solve_shifts(table)


def test_the_limit_that_was_too_low_is_reported():
    table, frames = solved([PairStatus.OK, PairStatus.AT_SEARCH_LIMIT] * 10)
    said = judge_series(table, frames, advice=AdviceSettings(max_shift=48))
    assert said.trust is Trust.UNRELIABLE
    assert said.reasons[0] == (
        "10 of 20 pairs end at the edge of the search: raise register.max_shift above 48"
    )
    assert judge_series(table, frames).reasons[0].endswith("raise register.max_shift")


def test_a_value_far_from_all_others_is_named_where_something_is_wrong():
    mask = MaskCheck(1.0, inverted=False, far_value=-9999.0, far_share=0.021)
    wrong = judge_series(*solved([PairStatus.OK, PairStatus.AMBIGUOUS] * 10), mask=mask)
    assert wrong.reasons[0] == (
        "2.1% of the pixels are -9999, far from all others: if that is no data, set "
        "mask.invalid_values: [-9999]"
    )
    assert judge_series(*solved([PairStatus.OK] * 10), mask=mask).trust is Trust.GOOD


def test_few_frames_that_move_by_themselves_are_worth_a_look_and_many_spoil_it():
    table, frames = solved([PairStatus.OK] * 10)
    for moving, trust in ((0, Trust.GOOD), (1, Trust.CHECK), (3, Trust.UNRELIABLE)):
        motion = LocalMotion(12, 9, moving, 2.0, "top left", linear=False)
        assert judge_series(table, frames, motion=motion).trust is trust
    turn = LocalMotion(12, 9, 6, 2.0, "top left", linear=True)
    said = judge_series(table, frames, motion=turn)
    assert said.trust is Trust.CHECK
    assert "rotate or stretch" in said.reasons[0]


@pytest.mark.parametrize(
    ("reach", "trust"), [(1, Trust.UNRELIABLE), (3, Trust.CHECK), (5, Trust.GOOD)]
)
def test_a_third_of_the_pairs_at_the_edge_is_too_much_unless_frames_are_held(reach, trust):
    """Seven frames that drift by a pixel a frame, every pair up to 5 apart; the search ends there.

    With a reach of 1 all frames are known, the first and the last from one pair each.
    """
    pairs = np.array([(i, j) for i in range(7) for j in range(i + 1, min(i + 6, 7))])
    table = PairTable.unmeasured(pairs, 7, 2)
    apart = pairs[:, 1] - pairs[:, 0]
    within = apart <= reach
    # Of pairs beyond it some are no more alike than chance: half of all stop at the edge at most.
    beyond = np.where(
        np.arange(len(pairs)) % 3, PairStatus.AT_SEARCH_LIMIT.code, PairStatus.LOW_NCC.code
    )
    table.status[:] = np.where(within, PairStatus.OK.code, beyond)
    table.shift[within], table.shift_std[within] = np.stack([apart, 0 * apart], 1)[within], 0.01
    table.ncc[:], table.frame_read_status[:] = 0.9, FrameStatus.OK.code
    frames = solve_shifts(table)
    assert np.isfinite(frames.shift).all()
    stopped = int((table.status == PairStatus.AT_SEARCH_LIMIT.code).sum())
    assert stopped <= len(pairs) / 2
    said = judge_series(table, frames)
    assert said.trust is trust, said
    assert any("edge of the search" in reason for reason in said.reasons) is (stopped > 0)


@pytest.mark.parametrize(("first", "trust"), [(1, Trust.CHECK), (2, Trust.GOOD), (5, Trust.GOOD)])
def test_pairs_that_are_far_apart_may_be_no_more_alike_than_chance(first, trust):
    pairs = np.array([(i, j) for i in range(30) for j in range(i + 1, min(i + 6, 30))])
    table, apart = PairTable.unmeasured(pairs, 30, 1), pairs[:, 1] - pairs[:, 0]
    lost = (apart >= first) & (np.arange(len(pairs)) % 7 > 2)
    table.status[:] = np.where(lost, PairStatus.LOW_NCC.code, PairStatus.OK.code)
    table.shift[~lost], table.shift_std[~lost] = apart[~lost, None], 0.01
    table.ncc[:], table.frame_read_status[:] = 0.9, FrameStatus.OK.code
    found = judge_series(table, solve_shifts(table)).findings
    (finding,) = [finding for finding in found if finding.code == "pairs_low_ncc"]
    assert finding.trust is trust
    assert (f"{first} or more frames apart: the scene changes" in finding.words) is (first > 1)


def test_a_scene_is_not_said_to_change_where_others_end_at_the_edge_of_the_search():
    """Frames that drift by 2 px, searched within 5: what is further apart is not seen any more."""
    pairs = np.array([(i, j) for i in range(30) for j in range(i + 1, min(i + 6, 30))])
    table, apart = PairTable.unmeasured(pairs, 30, 1), pairs[:, 1] - pairs[:, 0]
    statuses = (PairStatus.OK, PairStatus.OK, PairStatus.AT_SEARCH_LIMIT)
    table.status[:] = [(statuses[lag - 1] if lag < 4 else PairStatus.LOW_NCC).code for lag in apart]
    table.shift[table.ok], table.shift_std[table.ok] = 2.0 * apart[table.ok, None], 0.01
    table.ncc[:], table.frame_read_status[:] = 0.9, FrameStatus.OK.code
    said = judge_series(table, solve_shifts(table))
    assert [finding.code for finding in said.findings] == ["pairs_at_search_limit", "pairs_low_ncc"]
    assert "the scene changes" not in str(said)
    assert said.reasons[1].endswith(
        "4 or more frames apart: their shifts may lie beyond the search"
    )


def test_advice_knows_what_is_set():
    table, frames = solved([PairStatus.OK] * 10)
    table.status[::2] = PairStatus.LOW_NCC.code
    said = judge_series(table, frames).reasons[0]
    assert said.endswith("mask what is not the scene, try preprocess.high_pass")
    advice = AdviceSettings(masked=True, high_pass=10.0)
    said = judge_series(table, frames, advice=advice).reasons[0]
    assert said.endswith("check the mask, try a preprocess.high_pass other than 10")
    pull = FixedPatternEffect(32, 1.0, 1.5, 0.01, certain=True)
    table, frames = solved([PairStatus.OK] * 10)
    for advice, words in (
        (AdviceSettings(), "mask it, or set preprocess.fixed_pattern: estimate"),
        (
            AdviceSettings(masked=True),
            "extend the mask over it, or set preprocess.fixed_pattern: estimate",
        ),
        (
            AdviceSettings(fixed_pattern=True),
            "mask it, or give an image of it (preprocess.fixed_pattern): the one that was "
            "subtracted does not remove all of it",
        ),
    ):
        assert str(judge_series(table, frames, advice=advice, fixed_pattern=pull)).endswith(
            words + ")"
        )
    assert AdviceSettings(strategy="window", width=8).more_pairs.startswith(
        "measure more pairs (raise pairs.width above 8"
    )
    assert (
        "pairs.separations: [1, 2]"
        in AdviceSettings(strategy="separations", separations=(1, 2), extra=0.5).more_pairs
    )
    assert AdviceSettings(extra=0.5).more_pairs.endswith("raise pairs.extra above 0.5)")
    assert "pairs.extra" not in AdviceSettings(strategy="all").more_pairs
    assert (
        AdviceSettings(max_shift=[3, 4]).narrower_search == "lower register.max_shift below [3, 4]"
    )
    assert AdviceSettings().narrower_search == "set register.max_shift"


@pytest.mark.parametrize(("pull", "told"), [(1.0, False), (0.97, False), (0.85, True)])
def test_pairs_of_one_distance_that_are_all_off_are_reported(pull, told):
    """A drift of 0.3 px a frame; consecutive pairs see that part of it."""
    rng, count = np.random.default_rng(8), 120
    pairs = np.array([(i, i + lag) for lag in (1, 2, 4, 8) for i in range(count - lag)])
    table = PairTable.unmeasured(pairs, count, 2)
    truth = np.cumsum(rng.normal(0.3, 0.2, (count, 2)), axis=0)
    table.shift[:] = truth[pairs[:, 1]] - truth[pairs[:, 0]]
    table.shift[pairs[:, 1] - pairs[:, 0] == 1] *= pull
    table.shift[:] += rng.normal(0, 0.02, table.shift.shape)
    table.shift_std[:], table.ncc[:] = 0.02, 0.8
    table.status[:], table.frame_read_status[:] = PairStatus.OK.code, FrameStatus.OK.code
    said = judge_series(table, solve_shifts(table))
    found = [reason for reason in said.reasons if reason.startswith("pairs 1 frame(s) apart")]
    assert bool(found) is told, said
    assert said.trust is (Trust.CHECK if told else Trust.GOOD)
    turned = replace(solve_shifts(table), linear=np.tile(np.eye(2), (count, 1, 1)))
    assert judge_series(table, turned).trust is Trust.GOOD


@pytest.mark.parametrize(
    ("probes", "said"),
    [
        (ProbeCheck(30, separation=16, off=0.5, excess=1.9), None),
        (ProbeCheck(30, separation=16, off=0.5, excess=2.1), (Trust.CHECK, "far_pairs")),
        (ProbeCheck(30, separation=16, off=0.5, excess=4.1), (Trust.CHECK, "far_pairs")),
        (ProbeCheck(30, separation=16, off=1.1, excess=4.1), (Trust.UNRELIABLE, "far_pairs")),
        (ProbeCheck(30, part="top", part_pull=0.2, part_excess=1.4), None),
        (ProbeCheck(30, part="top", part_pull=0.05, part_excess=9.0), None),
        (
            ProbeCheck(30, part="top", part_pull=0.2, part_excess=1.6),
            (Trust.UNRELIABLE, "one_part"),
        ),
        (ProbeCheck(30, lost_part="top", lost=0.7), None),
        (ProbeCheck(30, lost_part="top", lost=1.0), (Trust.CHECK, "one_part")),
        (ProbeCheck(30, lost_part="top", lost=1.0, lost_next=0.5), (Trust.CHECK, "one_part")),
        (ProbeCheck(30, lost_part="top", lost=1.0, lost_next=0.7), None),
        (ProbeCheck(30, detail_pull=0.2, detail_excess=0.9), None),
        (ProbeCheck(30, detail_pull=0.2, detail_excess=1.1), (Trust.CHECK, "detail")),
        (ProbeCheck(30, detail_pull=0.2, detail_excess=2.1), (Trust.UNRELIABLE, "detail")),
        (ProbeCheck(30, coarse_pull=0.2, coarse_excess=2.4), None),
        (ProbeCheck(30, coarse_pull=0.04, coarse_excess=9.0), None),
        (ProbeCheck(0, coarse_pull=0.2, coarse_excess=2.6), (Trust.CHECK, "coarse_detail")),
        (ProbeCheck(30, coarse_pull=0.2, coarse_excess=4.1), (Trust.UNRELIABLE, "coarse_detail")),
        (ProbeCheck(30, plane_pull=0.2, plane_excess=9.0, plane_light=3.9), None),
        (ProbeCheck(30, plane_pull=0.2, plane_excess=1.4, plane_light=9.0), None),
        (ProbeCheck(30, plane_pull=0.04, plane_excess=9.0, plane_light=9.0), None),
        (
            ProbeCheck(0, plane_pull=0.2, plane_excess=1.6, plane_light=4.1),
            (Trust.CHECK, "uneven_planes"),
        ),
        (
            ProbeCheck(30, plane_pull=0.2, plane_excess=4.1, plane_light=9.0),
            (Trust.UNRELIABLE, "uneven_planes"),
        ),
    ],
)
def test_what_probe_pairs_say_is_reported_if_it_is_more_than_was_stated(probes, said):
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    findings = judge_series(table, frames, probes=probes).findings
    assert [(finding.trust, finding.code) for finding in findings] == ([said] if said else [])


@pytest.mark.parametrize(("model", "is_told"), [("translation", False), ("rigid", True)])
def test_far_pairs_of_a_linear_motion_are_off_by_less_when_that_is_reported(model, is_told):
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    probes = ProbeCheck(30, separation=16, off=0.2, excess=1.5)
    advice = AdviceSettings(motion=model)
    findings = judge_series(table, frames, advice=advice, probes=probes).findings
    assert [each.code for each in findings] == ["far_pairs"] * is_told
    assert all("16 frames apart are off the rigid motion by" in each.words for each in findings)


def test_a_model_of_motion_that_could_not_be_looked_for_is_reported():
    """Of four such series in photons three were good, and off at the corners by 0.6 to 0.9 px."""
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    unknown = ModelChoice("translation", {}, "how parts of the frame move cannot be determined")
    (finding,) = judge_series(table, frames, choice=unknown).findings
    assert (finding.trust, finding.code) == (Trust.CHECK, "unknown_motion")
    assert "auto chose translation, as how parts of the frame move cannot" in finding.words
    known = ModelChoice("translation", {"turn": Strength(0.01, 0.02)})
    assert not judge_series(table, frames, choice=known).findings


def test_a_turn_that_is_not_sure_enough_to_be_followed_is_reported():
    """Of four such series, off at the corners by 0.2 to 0.4 px, all were good."""
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    doubt = {"turn": Strength(0.12, 0.03), "scale": Strength(0.02, 0.02)}
    (finding,) = judge_series(table, frames, choice=ModelChoice("translation", doubt)).findings
    assert (finding.trust, finding.code) == (Trust.CHECK, "turning")
    assert "seem to rotate by 0.12 px" in finding.words
    assert "model: rigid" in finding.words
    refused = ModelChoice("translation", doubt, "but parts of the frame move independently")
    assert not judge_series(table, frames, choice=refused).findings


def test_rotation_of_frames_that_are_only_shifted_is_reported():
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    slow = UnmodelledMotion({"turn": Strength(0.3, 0.01), "scale": Strength(0.1, 0.01)}, least=0.15)
    (finding,) = judge_series(table, frames, unmodelled=slow).findings
    assert (finding.trust, finding.code) == (Trust.CHECK, "turning")
    assert "seem to rotate by 0.3 px (root" in finding.words
    assert finding.words.endswith("set motion: {model: rigid}")
    small = UnmodelledMotion({"turn": Strength(0.1, 0.01)}, least=0.15)
    assert not judge_series(table, frames, unmodelled=small).findings
    # what the choice of the model saw in all pairs counts, too
    choice = ModelChoice("translation", {"turn": Strength(0.06, 0.015)})
    (finding,) = judge_series(table, frames, unmodelled=small, choice=choice).findings
    assert "seem to rotate by 0.06 px" in finding.words


def test_an_object_may_look_like_a_rotation():
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    turn = UnmodelledMotion({"turn": Strength(0.3, 0.01)}, least=0.15)
    motion = LocalMotion(12, 9, 1, 2.0, "top left", linear=False)
    (finding,) = judge_series(table, frames, unmodelled=turn, motion=motion).findings
    assert finding.code == "moving_parts"
    doubtful = ModelChoice("translation", {}, "but rigid leaves much shear unexplained")
    (finding,) = judge_series(table, frames, unmodelled=turn, choice=doubtful).findings
    assert finding.code == "unknown_motion"


def test_what_a_linear_model_leaves_is_reported_once():
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    rigid = AdviceSettings(motion="rigid")
    left = {"scale": Strength(0.06, 0.01), "shear": Strength(0.2, 0.06)}
    grows = UnmodelledMotion(left)
    (finding,) = judge_series(table, frames, advice=rigid, unmodelled=grows).findings
    assert (finding.trust, finding.code) == (Trust.CHECK, "turning")
    assert "seem to grow or shrink by 0.06 px" in finding.words
    assert finding.words.endswith("set motion: {model: similarity}")
    turns = LocalMotion(12, 9, 4, 0.9, "top left", linear=True, suits="affine")
    (finding,) = judge_series(table, frames, advice=rigid, motion=turns, unmodelled=grows).findings
    assert finding.words.endswith("set motion: {model: affine}")
    left["scale"] = Strength(0.04, 0.001)
    assert not judge_series(table, frames, advice=rigid, unmodelled=grows).findings
    left["shear"] = Strength(0.3, 0.05)
    (finding,) = judge_series(table, frames, advice=rigid, unmodelled=grows).findings
    assert finding.words.endswith("set motion: {model: affine}")


@pytest.mark.parametrize(
    ("reason", "local", "doubt"),
    [
        ("", LocalStrength(0.36, 0.26, 0.64), "but most parts of the frame also move by 0.36 px"),
        ("", LocalStrength(0.0, 0.0, 0.0, is_known=False), "as too few parts of the frame"),
        ("but rigid leaves much shear unexplained", None, "but rigid leaves much shear"),
        ("", LocalStrength(0.18, 0.45, 0.35), ""),  # what lives in a scene, each alone
        ("", LocalStrength(1.01, 0.62, 0.14), ""),  # an object
        ("but parts of the frame move independently", None, ""),  # a finding of its own
    ],
)
def test_a_motion_that_was_seen_and_is_not_followed_is_reported(reason, local, doubt):
    """Of twelve series that bend by 0.5 px, three that were off by a pixel were good."""
    table, frames = solved([PairStatus.OK] * 10, axes=2)
    choice = ModelChoice("translation", {"turn": Strength(0.03, 0.02)}, reason, local)
    words = [each.words for each in judge_series(table, frames, choice=choice).findings]
    assert len(words) == bool(doubt)
    assert all(f"auto chose translation, {doubt}" in each for each in words)


@pytest.mark.parametrize(
    ("majority", "trust"),
    [
        (MajorityCheck((6, 7), 10, off_all=4.9, off_majority=4.8, excess=29.0), Trust.UNRELIABLE),
        (MajorityCheck((6, 7), 10, off_all=4.9, off_majority=4.8, excess=3.9), Trust.GOOD),
        (MajorityCheck((6, 7), 10, off_all=0.08, off_majority=0.08, excess=9.0), Trust.GOOD),
    ],
)
def test_parts_that_decide_against_most_others_are_named_unless_they_are_left_out(majority, trust):
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    probes = ProbeCheck(30, lost_part="top", lost=1.0)
    said = judge_series(table, frames, majority=majority)
    assert said.trust is trust
    if trust is Trust.UNRELIABLE:
        (finding,) = judge_series(table, frames, majority=majority, probes=probes).findings
        assert finding.code == "one_part"  # said once
        assert "some parts decide the shifts (7, 8) against most others" in finding.words
        sharper = SharpnessCheck(32, still=1.0, moved=1.2, error=0.01)
        said = judge_series(table, frames, majority=majority, sharpness=sharper)
        assert said.trust is Trust.CHECK


def test_a_mean_that_moving_blurs_is_never_trusted_unless_what_stands_still_explains_it():
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    blurred = SharpnessCheck(32, still=1.0, moved=0.9, error=0.001)
    assert judge_series(table, frames, sharpness=blurred).trust is Trust.UNRELIABLE
    noisy = replace(blurred, error=0.05)
    assert judge_series(table, frames, sharpness=noisy).trust is Trust.GOOD
    still = FixedPatternEffect(32, with_it=0.8, without_it=1.0, error=0.01, certain=True)
    both = judge_series(table, frames, sharpness=blurred, fixed_pattern=still)
    assert [finding.code for finding in both.findings] == ["fixed_pattern"]


@pytest.mark.parametrize(
    ("noise", "pull", "told"), [(0.01, 0.06, 1), (0.03, 0.06, 0), (0.03, 0.2, 1)]
)
def test_pairs_that_move_by_no_more_than_their_noise_are_pulled_if_they_are_by_far(
    noise, pull, told
):
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    effect = FixedPatternEffect(32, 0.06, 0.06 + pull, 0.01, certain=True, noise=noise)
    codes = [finding.code for finding in judge_series(table, frames, fixed_pattern=effect).findings]
    assert codes == ["fixed_pattern"] * told


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"changes": 0.2}, "hardly anything moves, but most of the frame changes"),
        ({"unexplained": 0.1}, "shifts leave at least 10% of the detail of a frame unexplained"),
        ({"changes": 0.03}, ""),
        ({"lost": 0.9}, "without what stands still in the camera, 90% of the pairs have no shift"),
        ({}, ""),
    ],
)
def test_what_stands_still_may_win_without_a_pull_that_is_seen(found, words):
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    effect = FixedPatternEffect(0, 0.1, 0.1, 0.0, certain=False, noise=0.05, **found)
    findings = judge_series(table, frames, fixed_pattern=effect).findings
    assert [finding.words.startswith(words) for finding in findings] == [True] * bool(words)


@pytest.mark.parametrize(
    ("without", "error", "is_told"),
    [(2.0, 0.1, True), (1.2, 0.01, False), (2.0, 0.2, False), (1.0, 0.0, False)],
)
def test_a_large_pull_is_worth_a_look_even_if_the_scene_may_change(without, error, is_told):
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    effect = FixedPatternEffect(20, 1.0, without, error, certain=False)
    findings = judge_series(table, frames, fixed_pattern=effect).findings
    assert [finding.trust for finding in findings] == [Trust.CHECK] * is_told
    assert all("20 pairs have a mean shift of 2.00 px, not 1.00" in one.words for one in findings)


def test_a_subtracted_background_is_worth_a_look_and_hides_nothing():
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    effect = FixedPatternEffect(0, 0.0, 0.0, 0.0, certain=False, subtracted=True)
    [found] = judge_series(table, frames, fixed_pattern=effect).findings
    assert (found.trust, found.code) == (Trust.CHECK, Reason.FIXED_PATTERN)
    assert found.words.endswith("measure the frames as recorded")
    blurred = SharpnessCheck(32, still=1.0, moved=0.9, error=0.001)
    both = judge_series(table, frames, sharpness=blurred, fixed_pattern=effect)
    assert both.trust is Trust.UNRELIABLE


@pytest.mark.parametrize(("loss", "certain"), [(0.03, True), (0.01, True), (0.03, False)])
def test_pairs_that_are_less_alike_across_jumps_are_worth_a_look(loss, certain):
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    effect = FixedPatternEffect(32, 1.0, 1.0, 0.01, certain=certain, loss=loss)
    findings = judge_series(table, frames, fixed_pattern=effect).findings
    is_told = certain and loss > 0.02
    assert [(f.trust, f.code) for f in findings] == (
        [(Trust.CHECK, Reason.FIXED_PATTERN)] if is_told else []
    )
    assert all("3% less alike" in finding.words for finding in findings)
    blurred = SharpnessCheck(32, still=1.0, moved=0.9, error=0.001)
    both = judge_series(table, frames, sharpness=blurred, fixed_pattern=effect)
    assert both.trust is Trust.UNRELIABLE  # that something may pull explains no blur


@pytest.mark.parametrize(("share", "trust"), [(0.4, Trust.CHECK), (0.6, Trust.UNRELIABLE)])
def test_what_moves_before_most_of_a_frame_that_stands_still_may_be_an_object(share, trust):
    table, frames = solved([PairStatus.OK] * 10)
    effect = FixedPatternEffect(32, 0.01, 1.5, 0.01, certain=True, moving_share=share)
    (found,) = judge_series(table, frames, fixed_pattern=effect).findings
    assert (found.trust, found.code) == (trust, Reason.FIXED_PATTERN)
    assert ("right for an object" in found.words) is (trust is Trust.CHECK)


def test_errors_of_a_good_part_of_a_pixel_are_worth_a_look():
    table, frames = solved([PairStatus.OK] * 10)
    for size, trust in ((0.29, Trust.GOOD), (0.31, Trust.CHECK)):
        errors = np.where(frames.shift_std > 0, size, 0)
        assert judge_series(table, replace(frames, shift_std=errors)).trust is trust


@pytest.mark.parametrize(
    ("lost", "trust"), [(3, Trust.GOOD), (4, Trust.CHECK), (13, Trust.UNRELIABLE)]
)
def test_frames_that_are_lost_are_reported_and_do_not_spoil_the_others(lost, trust):
    """Of 24 frames, with pairs between all others."""
    known = np.arange(24) < 24 - lost
    pairs = np.array([(i, j) for i in range(24) for j in range(i + 1, min(i + 6, 24))])
    table = PairTable.unmeasured(pairs, 24, 1)
    both = known[table.reference] & known[table.moving]
    table.status[:] = np.where(both, PairStatus.OK.code, PairStatus.LOW_NCC.code)
    table.shift[both], table.shift_std[both] = 0.5, 0.01
    table.shift[both] *= (table.moving - table.reference)[both][:, None]
    table.frame_read_status[:] = FrameStatus.OK.code
    found = judge_series(table, solve_shifts(table)).findings
    assert [finding.trust for finding in found if finding.code == "lost_frames"] == [trust]


def test_probes_spoil_nothing_where_moving_the_frames_sharpens_their_mean():
    table, frames = solved([PairStatus.OK] * 10)
    frames = replace(frames, shift_std=frames.shift_std / 10)
    probes = ProbeCheck(
        30, separation=16, off=2.0, excess=5.0, part="top", part_pull=0.5, part_excess=3.0,
        detail_pull=0.5, detail_excess=3.0,
    )  # fmt: skip
    for moved, trust in ((1.04, Trust.UNRELIABLE), (1.06, Trust.CHECK)):
        sharpness = SharpnessCheck(32, still=1.0, moved=moved, error=0.001)
        said = judge_series(table, frames, probes=probes, sharpness=sharpness)
        assert [finding.trust for finding in said.findings] == [trust] * 3


@pytest.mark.parametrize(
    ("before", "after", "trust"),
    [(0, 4, Trust.GOOD), (2, 2, Trust.GOOD), (2, 3, Trust.CHECK), (1, 4, Trust.CHECK)],
)
def test_most_of_the_frame_is_what_is_left_of_it_and_not_of_what_was_left_before(
    before, after, trust
):
    """So many of nine parts are not used from the start, so many of the rest are outvoted."""
    pairs = np.array([(i, i + 1) for i in range(10)])
    table = PairTable.unmeasured(pairs, 11, 2)
    table.status[:] = PairStatus.OK.code
    table.shift[:], table.shift_std[:] = 1.0, 0.01
    table.frame_read_status[:] = FrameStatus.OK.code
    weight = np.ones((11, 9), np.float32)
    weight[:, :before], weight[:, before : before + after] = np.nan, 0
    frames = replace(solve_shifts(table), part_weight=weight)
    boxes = (((0, 9), (0, 9)),) * before
    found = StrangeParts(11, 9, tuple(range(before)), "top", boxes=boxes)
    said = judge_series(table, frames, parts=found)
    assert said.trust is trust, said
    finding = next(finding for finding in said.findings if finding.code == "parts_left_out")
    used = (9 - before - after) / 9
    assert (f"only {used:.0%} of the frame is used" in finding.words) is (used < 0.5)


@pytest.mark.parametrize(("count", "by_parts", "trust"), [
    (10, 0.3, Trust.CHECK), (10, 0.12, Trust.GOOD), (20, 0.3, Trust.GOOD), (10, np.nan, Trust.GOOD),
])  # fmt: skip
def test_parts_that_disagree_are_reported_where_frames_are_too_few_to_look_for_what_stands_still(
    count, by_parts, trust
):
    table, frames = solved([PairStatus.OK] * count)
    known = np.arange(count + 1)[:, None] > 0
    frames = replace(
        frames,
        shift_std=np.where(known, 0.3, 0.0),
        stated_std=np.where(known, 0.05, 0.0),
        part_std=np.where(known, by_parts, 0.0),
    )
    said = judge_series(table, frames)
    assert said.trust is trust
    if trust is Trust.CHECK:
        assert said.findings[0].code is Reason.PARTS_DISAGREE
        assert "by up to 0.3 px, 6.0 times what noise explains" in said.reasons[0]
        assert said.reasons[0].endswith("goes its own way, mask it")
        effect = FixedPatternEffect(12, 1.0, 1.0, error=0.0, certain=False)
        assert judge_series(table, frames, fixed_pattern=effect).trust is Trust.GOOD
        few = replace(effect, unexplained=0.004)
        assert judge_series(table, frames, fixed_pattern=few).reasons == said.reasons
        turn = LocalMotion(12, 9, 6, 2.0, "top left", linear=True)
        for left in (None, replace(effect, unexplained=0.2)):  # by shifts alone
            turned = judge_series(table, frames, motion=turn, fixed_pattern=left)
            assert [each.code for each in turned.findings] == [Reason.TURNING]
        followed = replace(frames, local_shift=np.zeros((count + 1, 2, 2, 1)))
        assert judge_series(table, followed).trust is Trust.GOOD


@pytest.mark.slow
def test_a_short_series_seen_through_a_round_field_of_view_is_worth_a_look():
    scene, shape = Scene(5, detail=3.0), (120, 120)
    drift = np.outer(np.arange(8), [0.5, -0.4])
    inside = ellipse(shape)
    rng = np.random.default_rng(5)
    views = np.stack([scene.view(shape, at) for at in drift])
    views += rng.normal(0, 0.2, views.shape)
    frames = np.where(inside, views, rng.uniform(0, 3, views.shape))
    found = estimate_shifts(frames, max_shift=12)
    off = np.abs(found["frame_shift"] - drift).max()
    assert off > 0.5
    assert found.attrs["verdict"] != "good"
    masked = estimate_shifts(frames, mask=inside, max_shift=12)
    assert np.abs(masked["frame_shift"] - drift).max() < 0.1
    assert masked.attrs["verdict"] == "good"
