"""A place in a list, as people name it."""

import pytest

from signalbox.common.reading import read_place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1", 0), ("2.", 1), ("the first", 0), ("The first one, please", 0), ("I'd like the second one", 1),
        ("number 3", 2), ("option 2", 1), ("3rd", 2), ("the last one", -1), ("no. 2", 1), ("１", 0),
        ("第一个", 0), ("我选第二个吧", 1), ("第2个", 1), ("最后一个", -1), ("第十一", 10),
        ("0", None), ("1042", None), ("first I want to complain", None), ("one", None), ("", None), ("第", None),
        ("两个", None), ("第1一个", None), ("the second order", None),
    ],
)  # fmt: skip
def test_places(text, place):
    assert read_place(text) == place
