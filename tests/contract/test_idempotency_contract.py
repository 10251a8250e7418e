"""``Idempotency-Key``: one turn, whatever is repeated."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.public_api import Problem, PublicApi, new_session
from support.systems import RunningSystem


def test_fifty_at_once_make_one_turn_and_one_write(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    with ThreadPoolExecutor(50) as pool:
        asked = [
            pool.submit(client.query, f"write {session}", session, key=session, **probe) for _ in range(50)
        ]
        replies = [future.result() for future in asked]
    assert all(reply == replies[0] for reply in replies)
    assert len([item for item in system.backend.received("/written") if session in item.body]) == 1
    assert client.history(session) == [("user", f"write {session}"), ("assistant", replies[0]["message"])]


def test_a_repetition_later_gets_the_same_reply(client: PublicApi) -> None:
    session = new_session()
    first = client.query("hello", session, key=session)
    assert client.query("hello", session, key=session) == first
    assert len(client.history(session)) == 2


def test_the_same_key_with_another_body_is_refused(client: PublicApi) -> None:
    session = new_session()
    client.query("hello", session, key=session)
    with pytest.raises(Problem) as refused:
        client.query("thanks", session, key=session)
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert len(client.history(session)) == 2


@pytest.mark.usefixtures("with_keys")
def test_keys_of_two_principals_are_apart(client: PublicApi, admin_client: PublicApi) -> None:
    key = new_session()
    mine, theirs = client.query("hello", key=key), admin_client.query("hello", key=key)
    assert mine["turn_id"] != theirs["turn_id"]


def test_what_was_not_committed_may_be_tried_again(client: PublicApi) -> None:
    session = new_session()
    with pytest.raises(Problem) as refused:
        client.query("hello", session, key=session, workflow_id="nobody-published-this")
    assert refused.value.status == 404
    assert client.query("hello", session, key=session)["status"] == "success"


def test_a_stream_is_repeated_as_its_reply(client: PublicApi) -> None:
    session = new_session()
    first = client.stream("hello", session, key=session)[-1]
    (again,) = client.stream("hello", session, key=session)
    assert again.type == "complete"
    assert again.data == first.data
    assert client.query("hello", session, key=session)["turn_id"] == first.data["turn_id"]
    assert len(client.history(session)) == 2
