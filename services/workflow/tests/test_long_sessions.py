"""A session of a thousand turns: the thousandth costs what the tenth did, in statements, in bytes and in time."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from support.workflow_stage import CONFIG, Stage, skill_says

from signalbox.common.storage import Database, Params, Row, Statement, Write
from signalbox.common.text_sizes import tokens_of

TURNS = 1_000
RATIO = 1.2
SLOWDOWN = 1.5
"""Of processor time on a machine that others use; a cost that grew with the session would be many times as large."""


@dataclass
class Cost:
    """What turns cost: statements sent, bytes written and read in all."""

    statements: int = 0
    written: int = 0
    read: int = 0


class CountingDatabase:
    """A database that counts what passes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.cost = Cost()

    @property
    def dialect(self) -> Any:
        return self._database.dialect

    async def fetch_all(self, statement: Statement, params: Params | None = None) -> list[Row]:
        self.cost.statements += 1
        rows = await self._database.fetch_all(statement, params)
        self.cost.read += size_of(rows)
        return rows

    async def fetch_one(self, statement: Statement, params: Params | None = None) -> Row | None:
        rows = await self.fetch_all(statement, params)
        return rows[0] if rows else None

    async def write(self, *writes: Write) -> list[list[Row]]:
        self.cost.statements += len(writes)
        self.cost.written += sum(len(write.statement.sql) + size_of(write.params) for write in writes)
        return await self._database.write(*writes)

    async def ping(self) -> None:
        await self._database.ping()

    async def close(self) -> None:
        await self._database.close()


def size_of(value: Any) -> int:
    if isinstance(value, dict):
        return sum(size_of(item) for item in value.values())
    if isinstance(value, list):
        return sum(map(size_of, value))
    return 8 if value is None or isinstance(value, int | float) else len(str(value).encode())


async def summarised(stage: Stage) -> None:
    for task in list(stage.recall._tasks.values()):
        await task


async def slowdown(stage: Stage, said: str) -> float:
    """How many times as long a turn of the old session takes as one of a young one, both at the same time."""
    for number in range(10):
        await stage.ask(said.format(number), "young")
    took: dict[str, list[float]] = {"s1": [], "young": []}
    for number in range(40):
        for session, seconds in took.items():
            started = time.process_time()
            await stage.ask(said.format(number % 10), session)
            seconds.append(time.process_time() - started)
            await summarised(stage)
    return statistics.median(took["s1"]) / statistics.median(took["young"])


async def cost_of(stage: Stage, database: CountingDatabase, messages: Sequence[str], cached: bool) -> Cost:
    database.cost = Cost()
    for message in messages:
        if not cached:
            await stage.keeper.drain()
            await stage.keeper.forget("acme", "s1")
        await stage.ask(message)
        await summarised(stage)
    cost, database.cost = database.cost, Cost()
    return cost


async def windows(
    stage: Stage, database: CountingDatabase, said: str, size: int, *, cached: bool = True
) -> tuple[Cost, Cost]:
    """The cost of ``size`` turns around the tenth, and of the last ``size`` of a thousand."""
    first = 10
    messages = [said.format(number % 10) for number in range(TURNS)]
    await cost_of(stage, database, messages[:first], cached)
    early = await cost_of(stage, database, messages[first : first + size], cached)
    await cost_of(stage, database, messages[first + size : TURNS - size], cached)
    late = await cost_of(stage, database, messages[TURNS - size :], cached)
    assert len(await stage.turns()) == TURNS
    return early, late


@pytest.fixture
async def counted(database):
    counting = CountingDatabase(database)
    made = Stage(counting)
    yield made, counting
    await made.close()


def check(early: Cost, late: Cost) -> None:
    assert late.statements == early.statements
    assert late.written <= early.written * RATIO
    assert late.read <= early.read * RATIO


@pytest.mark.parametrize("cached", [True, False])
async def test_turns_that_a_rule_answers(counted, cached):
    stage, database = counted
    stage.releases.publish()
    said = "are you open? {0}"
    early, late = await windows(stage, database, said, 30, cached=cached)
    check(early, late)
    assert await slowdown(stage, said) <= SLOWDOWN
    # Read from the cache, a turn is one write list: its row, and the session after it.
    assert late.statements == 30 * (2 if cached else 3)


async def test_turns_that_a_flow_takes(counted):
    stage, database = counted
    stage.releases.publish()
    said = "order {0}"
    early, late = await windows(stage, database, said, 30)
    check(early, late)
    assert await slowdown(stage, said) <= SLOWDOWN


async def test_turns_of_a_skill_whose_conversation_is_summarised(counted):
    stage, database = counted
    chat = {"id": "chat", "when": {"keywords": ["tell"]}, "then": {"skill": "advisor"}, "priority": 9}
    policies = {"context": {"max_turns": 8, "max_tokens": 1_500}}
    stage.releases.publish({**CONFIG, "intents": [chat, *CONFIG["intents"]], "policies": policies})
    stage.gateway.roles = {"answer": "fake"}
    stage.gateway.answers = ["They talked about this and that. " * 10]
    stage.skills.answers = [skill_says("This is what I think of it, at some length. " * 4)]
    said = "tell me more of number {0}, " + "please " * 20
    early, late = await windows(stage, database, said, 40)
    check(early, late)
    assert await slowdown(stage, said) <= SLOWDOWN
    prompts = [sum(tokens_of(message.text) for message in asked.history) for asked in stage.skills.asked]
    assert max(prompts) <= 1_500
    assert max(prompts[-40:]) <= max(prompts[10:50]) * RATIO
    summaries = len(stage.gateway.asked)
    assert TURNS // 20 < summaries < TURNS // 2
    written = [len(request.messages[-1].content) for request in stage.gateway.asked]
    assert max(written[-10:]) <= max(written[:10]) * RATIO
