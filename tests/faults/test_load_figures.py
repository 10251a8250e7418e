"""What judges every load: it must find what is lost, stored twice, out of order or written twice."""

import httpx
from support.keyed_backend import KeyedBackend
from support.load_figures import Figures, Sent, compare
from support.load_workflow import Kind, effects_of


def told(text: str, kind: Kind = Kind.SAY, *, acknowledged: bool = True) -> Sent:
    return Sent(
        "s",
        text,
        kind,
        acknowledged,
        f"re {text}" if acknowledged else None,
        "success" if acknowledged else "",
    )


def stored(*texts: str) -> dict[str, list[tuple[str, str]]]:
    return {"s": [pair for text in texts for pair in (("user", text), ("assistant", f"re {text}"))]}


def wrong(figures: Figures) -> tuple[int, int, int, int]:
    return figures.lost, figures.duplicated, figures.misordered, figures.effects_twice


def failure(figures: Figures, failed: int = 0) -> str:
    try:
        figures.check(failed=failed)
    except AssertionError as error:
        return str(error)
    return ""


SENT = [told("a"), told("b", Kind.WRITE), told("c")]


def test_what_is_whole_passes() -> None:
    figures = compare(SENT, stored("a", "b", "c"), {"b": 1})
    assert (figures.sent, figures.acknowledged, figures.failed) == (3, 3, 0)
    assert wrong(figures) == (0, 0, 0, 0)
    assert failure(figures) == ""


def test_a_turn_that_is_not_stored_is_lost() -> None:
    figures = compare(SENT, stored("a", "b"), {"b": 1})
    assert wrong(figures) == (1, 0, 0, 0)
    assert "c: not stored" in failure(figures)


def test_a_session_that_is_gone_loses_all_of_its_turns() -> None:
    assert wrong(compare(SENT, {}, {"b": 1})) == (3, 0, 0, 0)


def test_a_turn_stored_with_another_answer_is_lost() -> None:
    history = {"s": [("user", "a"), ("assistant", "something else")]}
    assert wrong(compare([told("a")], history, {})) == (1, 0, 0, 0)


def test_an_async_query_without_a_result_is_lost() -> None:
    message = Sent("s", "a", Kind.ASYNC, acknowledged=True, status="failed: gone")
    assert "failed: gone" in failure(compare([message], stored("a"), {"a": 1}))


def test_a_turn_stored_twice_is_duplicated_also_when_nobody_was_told() -> None:
    assert wrong(compare(SENT, stored("a", "b", "c", "c"), {"b": 1})) == (0, 1, 0, 0)
    unheard = [told("a"), told("b", acknowledged=False)]
    assert wrong(compare(unheard, stored("a", "b", "b"), {})) == (0, 1, 0, 0)


def test_turns_in_another_order_are_misordered() -> None:
    assert wrong(compare(SENT, stored("b", "a", "c"), {"b": 1})) == (0, 0, 1, 0)
    later = [told("a"), told("b", Kind.ASYNC), told("c")]
    assert wrong(compare(later, stored("a", "c", "b"), {"b": 1})) == (0, 0, 0, 0)


def test_a_write_that_was_made_twice_or_never_is_found() -> None:
    assert "b was written 2 times" in failure(compare(SENT, stored("a", "b", "c"), {"b": 2}))
    assert "answered as written, and was not" in failure(compare(SENT, stored("a", "b", "c"), {}))


def test_what_was_never_acknowledged_fails_unless_it_is_allowed() -> None:
    figures = compare([told("a"), told("b", acknowledged=False)], stored("a"), {})
    assert figures.failed == 1
    assert "1 failed" in failure(figures)
    assert failure(figures, failed=1) == ""


def test_effects_count_by_key_where_a_write_may_be_repeated_and_by_request_where_not() -> None:
    with KeyedBackend(honours_keys=True) as backend, httpx.Client(base_url=backend.url) as client:
        asked = ["/keyed/a 1", "/keyed/a 1", "/keyed/b 2", "/keyed/b 3", "/once/c 4", "/once/c 4"]
        for path, key in map(str.split, asked):
            client.post(path, headers={"Idempotency-Key": key})
        assert effects_of(backend) == {"a": 1, "b": 2, "c": 2}
