"""500 queries, 32 at a time, over 100 sessions: none fails, none is lost, none is out of order."""

import asyncio
from collections import Counter
from typing import Any

import httpx
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem

SESSIONS, TURNS, CONCURRENCY = 100, 5, 32
KINDS = ("where is my order {order}?", "please track my parcel for order {order}", "我的订单{order}在哪里")


def messages_of(number: int) -> list[str]:
    """What a session says: each message names an order of its own, so that answers cannot be mistaken."""
    return [
        KINDS[(number + turn) % len(KINDS)].format(order=2000 + number * TURNS + turn)
        for turn in range(TURNS)
    ]


async def converse(
    client: httpx.AsyncClient, session: str, messages: list[str], seen: Counter[int]
) -> list[dict[str, Any]]:
    replies = []
    for message in messages:
        answer = await client.post("/api/v1/query", json={"message": message, "session_id": session})
        seen[answer.status_code] += 1
        replies.append(answer.json())
    return replies


async def run(
    url: str, sessions: dict[str, list[str]]
) -> tuple[Counter[int], dict[str, list[dict[str, Any]]]]:
    seen: Counter[int] = Counter()
    gate = asyncio.Semaphore(CONCURRENCY)
    limits = httpx.Limits(max_connections=CONCURRENCY)

    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits, trust_env=False) as client:

        async def one(session: str) -> tuple[str, list[dict[str, Any]]]:
            async with gate:
                return session, await converse(client, session, sessions[session], seen)

        return seen, dict(await asyncio.gather(*(one(session) for session in sessions)))


def test_nothing_fails_or_is_lost_or_out_of_order(example: RunningSystem, customer: PublicApi) -> None:
    sessions = {new_session("load"): messages_of(number) for number in range(SESSIONS)}
    seen, replies = asyncio.run(run(example.url, sessions))
    assert seen == {200: SESSIONS * TURNS}
    for session, messages in sessions.items():
        expected: list[tuple[str, str]] = []
        for message, reply in zip(messages, replies[session], strict=True):
            order = "".join(filter(str.isdigit, message))
            assert reply["session_id"] == session
            assert order in reply["message"]
            assert reply["status"] == "success"
            expected += [("user", message), ("assistant", reply["message"])]
        assert customer.history(session) == expected


def test_one_session_from_all_sides_keeps_every_turn_whole(
    example: RunningSystem, customer: PublicApi
) -> None:
    session = new_session("crowd")
    messages = [KINDS[0].format(order=3000 + number) for number in range(CONCURRENCY)]

    async def all_at_once() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=example.url, timeout=30, trust_env=False) as client:
            seen: Counter[int] = Counter()
            found = await asyncio.gather(*(converse(client, session, [item], seen) for item in messages))
            assert seen == {200: CONCURRENCY}
            return [reply for (reply,) in found]

    replies = asyncio.run(all_at_once())
    answers = {message: reply["message"] for message, reply in zip(messages, replies, strict=True)}
    history = customer.history(session)
    pairs = list(zip(history[::2], history[1::2], strict=True))
    assert sorted(question for (_, question), _ in pairs) == sorted(messages)
    assert all(answers[question] == answer for (_, question), (_, answer) in pairs)
    assert [bool(reply.get("greeting")) for reply in replies].count(True) == 1
