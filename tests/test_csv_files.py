"""Text files of positions and of pairs: what is taken, and what odd ones are told of."""

from __future__ import annotations

import re

import numpy as np
import pytest

from steadystack.csv_files import read_pair_list, read_positions, read_weights
from steadystack.model import InputError

BAD_POSITIONS = {
    "a line break in quotes": ('y,x\n1,"2\n3"\n4,5\n', "line 2: '1,\"2' cannot be split into cell"),
    "an open quote": ('y,x\n1,2\n"3,4\n', "line 3: '\"3,4' cannot be split into cells"),
    "an open quote in the header": ('y,"x\n1,2\n3,4\n', "line 1: 'y,\"x' cannot be split"),
    "NUL": ("y,x\n1,2\n3,\0 4\n", "line 3: '\\x00 4' is not a number"),
    "a number of 400 digits": (f"y,x\n1,{'9' * 400}\n3,4\n", "line 2: '99999"),
    "a cell of a megabyte": (f"y,x\n1,{'9' * 2**20}\n3,4\n", "line 2: '1,9999"),
    "infinity": ("y,x\n1,1e400\n3,4\n", "line 2: '1e400' is not a position"),
    "decimal commas": (
        "y,x\n1,5,2,5\n3,4\n",
        "line 2: 4 values for the 2 columns of the header; write d",
    ),
    "underscores": ("y,x\n1_0,2\n3,4\n", "line 2: '1_0' is not a number"),
    "other digits": ("y,x\n١,2\n3,4\n", "line 2: '١' is not a number"),
    "too many lines": ("y,x\n1,2\n3,4\n5,6\n", "line 4: more lines than the 2 frames"),
    "a frame of 400 digits": (f"frame,y,x\n{'9' * 400},1,2\n", "is not a position"),
    "a frame that is none": (
        "frame,y,x\n-1,1,2\n",
        "line 2: '-1' is not a frame: frames are 0 to 1",
    ),
    "a thousand columns": ("a," * 1000 + "\n1,2\n", "has no column 'y', but a, a, a"),
    "nothing": ("\n \n# a remark\n", "is empty: it needs a header such as y,x"),
}


@pytest.mark.parametrize("name", list(BAD_POSITIONS))
def test_odd_positions_are_refused_in_a_line(tmp_path, name):
    text, words = BAD_POSITIONS[name]
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_positions(str(path), ("y", "x"), 2)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"y,x\n1,\xff\n", "y,x\n1,2\n".encode("utf-16")])
@pytest.mark.parametrize("read", [lambda p: read_positions(p, ("y", "x"), 1), read_pair_list])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path, content, read):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.csv cannot be read: it is not text in UTF-8"):
        read(str(tmp_path / "p.csv"))


def test_a_folder_is_no_list_of_pairs(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_pair_list(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "y,x\n1,2\n3,4\n",
        "\ufeffy,x\r\n1,2\r\n3,4\r\n",
        "# stage\n\n\ny;x\n1;2\n\n3;4 # the last\n\n",
        '"y"\t"x"\n"1"\t2\n3\t"4"\n',
        "X,frame,other,Y,\n4,1,?,3,\n2,0,?,1,\n",
    ],
)
def test_the_same_positions_in_other_clothes(tmp_path, text):
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8", newline="")
    found = read_positions(str(path), ("y", "x"), 2)
    np.testing.assert_array_equal(found.values, [[1, 2], [3, 4]])


BAD_PAIRS = {
    "a line break in quotes": ('0,"1\n"\n', "line 1: '0,\"1' cannot be split into cells"),
    "three numbers": ("0,1,2\n", "line 1: '0,1,2' is not a pair"),
    "one number": ("0,1\n2\n", "line 2: '2' is not a pair"),
    "a huge number": (f"0,{'9' * 30}\n", "is not a pair: two whole numbers"),
    "underscores": ("0,1_0\n", "line 1: '0,1_0' is not a pair"),
    "NUL": ("0,1\0\n", "line 1: '0,1\\x00' is not a pair"),
    "fractions": ("0,1.5\n", "line 1: '0,1.5' is not a pair"),
    "a header that comes late": ("0,1\nreference,moving\n", "line 2: 'reference,moving' is not"),
}


@pytest.mark.parametrize("name", list(BAD_PAIRS))
def test_odd_pairs_are_refused_in_a_line(tmp_path, name):
    text, words = BAD_PAIRS[name]
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_pair_list(str(tmp_path / "p.csv"))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_pairs_are_read_as_they_stand(tmp_path):
    (tmp_path / "p.csv").write_text("\ufeffreference,moving\n\n0, 1\n# no more\n +2,\t3\n,\n")
    assert read_pair_list(str(tmp_path / "p.csv")).tolist() == [[0, 1], [2, 3]]


def test_weights_are_a_column_of_their_own(tmp_path):
    path = tmp_path / "doses.csv"
    path.write_text("frame;dose;z\n2;0.5;1\n0;3;1\n1;0;1\n")
    assert read_weights(str(path), "Dose", 3).tolist() == [3, 0, 0.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dose\n1\n2\n", "has 2 lines for 3 frames"),
        ("dose\n1\n2\n3\n4\n", "more lines than the 3 frames"),
        ("Weight\n1\n2\n3\n", "no column 'dose', but Weight: set mean.column"),
        ("dose\n1\n-2\n3\n", "frame 1 has -2 in column 'dose', 1 of 3 frames in all"),
        ("frame,dose\n0,1\n2,1\n", "frame 1 has no weight in column 'dose'"),
        ("dose\n1\nmuch\n3\n", "line 3: 'much' is not a number"),
        ("dose\n0\n0\n0\n", "all weights in column 'dose' are 0"),
        ("", "is empty: it needs a header such as dose"),
    ],
)
def test_weights_that_are_wrong_are_named(tmp_path, text, words):
    path = tmp_path / "doses.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(words)):
        read_weights(str(path), "dose", 3)
