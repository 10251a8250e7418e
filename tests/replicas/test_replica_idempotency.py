"""The same request fifty times over three replicas: one turn, one charge, one reply."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.public_api import Problem, PublicApi, new_session
from support.replicas import Replicas


def test_fifty_at_once_are_one_turn_one_charge_and_one_reply(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    session, key = new_session(), new_session("key")
    text = f"agent {session}"
    with ThreadPoolExecutor(50) as pool:
        futures = [pool.submit(apis[number % 3].query, text, session, key=key) for number in range(50)]
        replies = [future.result(40) for future in futures]
    assert all(reply == replies[0] for reply in replies)
    assert len(replicas.rows("workflow_turns", session_id=session)) == 1
    assert len(replicas.rows("ledger_calls", session_id=session)) == 1
    assert len([one for one in replicas.provider.requests() if session in str(one.body)]) == 1
    # Later, on any replica, and as a stream.
    assert apis[1].query(text, session, key=key) == replies[0]
    [complete] = apis[2].stream(text, session, key=key)
    assert complete.data["turn_id"] == replies[0]["turn_id"]
    for api in apis:
        with pytest.raises(Problem) as other:
            api.query("say something else", session, key=key)
        assert (other.value.status, other.value.code) == (422, "idempotency_key_reused")
