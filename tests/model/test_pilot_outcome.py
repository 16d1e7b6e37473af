"""What a pilot finds, written and read again."""

from __future__ import annotations

import pytest

from steadystack.model import FixedLines, ObjectPath, Pilot, Trial

FOUND = Pilot(8, (Trial(), Trial(1.0, 10.0, 8, 0.0312)), 1)


def test_the_outcome_of_a_pilot_is_read_as_it_was_written():
    assert Pilot.parse(FOUND.dump()) == FOUND
    assert FOUND.outcome.settings == "low_pass: 1, high_pass: 10"
    assert FOUND.describe() == [
        "as they are: 0 of 8 pairs have a shift",
        "low_pass: 1, high_pass: 10: 8 of 8 pairs have a shift, to 0.0312 px (chosen)",
    ]
    assert Pilot().describe() == ["as they are: nothing was tried (chosen)"]


def test_the_path_of_an_object_is_read_as_it_was_written():
    pilot = Pilot(path=ObjectPath(((3, -4), None, (5, 6))))
    assert Pilot.parse(pilot.dump()) == pilot
    assert pilot.describe() == ["object: seen in 2 of 3 frames, within 2 x 10 px"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        FOUND.dump().replace('"chosen": 1', '"chosen": 2'),
        FOUND.dump().replace('"chosen": 1', '"chosen": "1"'),
        FOUND.dump().replace("10.0", '"10"'),
        FOUND.dump().replace("10.0", "-10.0"),
        FOUND.dump().replace("10.0", "NaN"),
        FOUND.dump().replace("low_pass", "lowpass"),
        FOUND.dump()[:-5],
    ],
)
def test_what_is_none_is_reported(text):
    with pytest.raises(ValueError, match="not the outcome of a pilot"):
        Pilot.parse(text)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (FixedLines(20), "no rows or columns stand out in 20 frames"),
        (FixedLines(20, lined=True), "moves too little to tell"),
        (FixedLines(20, lined=True, ways=(0.1, 5.0)), "moves too little to tell"),
        (FixedLines(20, lined=True, ways=(3.0, 5.0)), "move with the scene"),
        (FixedLines(20, True, (3.0, 5.0), (), (-2.0, 2.0)), "lines: columns of 2 (deviation"),
        (FixedLines(20, True, (3.0, 5.0), (1.0,), (-2.0, 2.0)), "lines: rows of 0 and columns of"),
    ],
)
def test_lines_are_described_in_words_and_read_as_they_were_written(lines, words):
    pilot = Pilot(lines=lines)
    assert Pilot.parse(pilot.dump()) == pilot
    assert words in pilot.describe_left_out()[0]
    assert pilot.describe() == pilot.describe_left_out()
