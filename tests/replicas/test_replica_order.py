"""Messages of one session that reach several replicas at once: one order, and what double-texting policies say."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import redis
from support.public_api import PublicApi, new_session
from support.replicas import Replicas
from support.waiting import eventually

ANSWERED_S = 60.0


def test_a_hundred_messages_over_three_replicas_have_one_order(
    replicas: Replicas, apis: list[PublicApi]
) -> None:
    session = new_session()
    texts = [f"say number {number}" for number in range(100)]
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda item: apis[item[0] % 3].query(item[1], session), enumerate(texts)))
    rows = replicas.rows("workflow_turns", session_id=session)
    assert [row["status"] for row in rows] == ["committed"] * 100
    by_seq = sorted(rows, key=lambda row: row["seq"])
    assert [row["seq"] for row in by_seq] == list(range(1, 101))
    assert sorted(row["user_text"] for row in by_seq) == sorted(texts)
    # Each saw all before it: only the first greets, and each has its place in the history.
    assert sum(reply["greeting"] is not None for reply in replies) == 1
    assert [row["first_message"] for row in by_seq] == list(range(1, 201, 2))
    history = apis[0].history(session)
    assert [text for role, text in history if role == "user"] == [row["user_text"] for row in by_seq]


def test_the_replicas_take_turns(replicas: Replicas, apis: list[PublicApi]) -> None:
    """Each of two replicas has a line of its own for the session: neither is served to its end before the other."""
    session = new_session()
    with ThreadPoolExecutor(41) as pool:
        first = pool.submit(apis[2].query, f"wait at {session}", session)
        _until_asked(replicas, session)
        later = [pool.submit(apis[number % 2].query, f"say {number}", session) for number in range(40)]
        _until_waiting(replicas, session, 40)
        replicas.backend.open_gate(session)
        for future in (first, *later):
            assert future.result(ANSWERED_S)["status"] == "success"
    rows = sorted(replicas.rows("workflow_turns", session_id=session), key=lambda row: row["seq"])
    owners = [row["owner"] for row in rows[1:]]
    assert len(set(owners)) == 2
    changes = sum(one != two for one, two in pairwise(owners))
    assert changes >= 36, owners


def _until_asked(replicas: Replicas, gate: str) -> None:
    eventually(lambda: replicas.backend.received(f"/gate/{gate}"), "the turn waits at its gate", 15)


def _until_waiting(replicas: Replicas, session: str, count: int) -> None:
    with redis.Redis.from_url(replicas.redis.url, decode_responses=True) as client:

        def waiting() -> bool:
            [line] = list(client.scan_iter(f"*line:*{session}"))
            return sum(int(entry.split()[2]) for entry in client.hvals(line)) == count

        eventually(waiting, f"{count} messages wait", 15)
