"""Records: what frozen dataclasses promise, apart from the ban on assigning, which is mypy's."""

import copy
import pickle
from dataclasses import asdict, field, fields, replace

import pytest

from signalbox.common.record import record


@record
class Place:
    name: str
    tags: tuple[str, ...] = ()
    seen: int = field(default=0, compare=False)
    secret: str = field(default="", repr=False)


@record
class Other:
    name: str


@record
class Named:
    name: str

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named)

    def __hash__(self) -> int:
        return 7


def test_records_are_equal_by_their_fields_and_only_to_their_own_kind() -> None:
    assert Place("a", ("x",), seen=1) == Place("a", ("x",), seen=2)
    assert Place("a") != Place("b")
    assert Other("a") != Place("a")
    assert len({Place("a"), Place("a", seen=3), Place("b"), Other("a")}) == 3


def test_a_record_is_shown_without_what_must_not_be_seen() -> None:
    assert repr(Place("a", secret="planted")) == "Place(name='a', tags=(), seen=0)"


def test_methods_of_its_own_are_kept() -> None:
    assert repr(Named("a")) == "***"
    assert Named("a") == Named("b")
    assert hash(Named("a")) == 7


def test_a_record_has_slots_and_what_works_on_dataclasses_works_on_it() -> None:
    place = Place("a", ("x",))
    assert not hasattr(place, "__dict__")
    with pytest.raises(AttributeError):
        place.unknown = 1  # type: ignore[attr-defined]
    assert replace(place, name="b") == Place("b", ("x",))
    assert asdict(place) == {"name": "a", "tags": ("x",), "seen": 0, "secret": ""}
    assert [part.name for part in fields(place)] == ["name", "tags", "seen", "secret"]
    assert pickle.loads(pickle.dumps(place)) == copy.deepcopy(place) == place
    match place:
        case Place("a", tags):
            assert tags == ("x",)
        case _:
            pytest.fail("not matched")
