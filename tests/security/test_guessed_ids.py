"""Scenario 23: session and turn ids guessed, or known up to a digit: a guess tells nothing, not even that it is near.

Whoever holds a key of the same tenant may name any id. The answer to the id of another's session or turn is the same,
word for word, as to one that there never was.
"""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from statistics import median

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem

from security.treasure import MARK, Treasure, hostile_names, operations, plant

NAMES = ("session_id", "turn_id", "task_id", "batch_id", "schedule_id")
SHORT, FULL = 1_000, 40_000
AT_ONCE = 6
RANDOM_DIGITS = 15
"""Hexadecimal digits at the end of an id that nothing but chance decides, at least."""


@pytest.fixture(scope="module")
def treasure(system: RunningSystem, admin_client: PublicApi) -> Treasure:
    assert system.local
    return plant(system, admin_client)


def outcome(answer: httpx.Response, asked: str) -> tuple[int, str]:
    """What an answer tells, without what it was asked and the ids of the request."""
    told = answer.text.replace(asked, "ID")
    told = re.sub(r'"(instance|request_id|trace_id)":"[^"]*"', "", told)
    return answer.status_code, told


def test_the_id_of_anothers_is_answered_like_one_that_never_was(
    system: RunningSystem, client: PublicApi, treasure: Treasure
) -> None:
    compared = 0
    for operation in operations(system):
        names = [name for name in NAMES if f"{{{name}}}" in operation.path]
        if not names or operation.internal:
            continue
        (name,) = names
        real = treasure.ids[name]
        never = real[:-8] + "".join(reversed(real[-8:])) if real[-8:] != real[-8:][::-1] else real[:-1] + "z"
        body = operation.body(treasure)
        answers = [
            outcome(
                client.http.request(operation.method, operation.path.replace(f"{{{name}}}", it), json=body),
                it,
            )
            for it in (real, never)
        ]
        assert answers[0] == answers[1], f"{operation.method} {operation.path}"
        assert answers[0][0] in {403, 404}, answers
        compared += 1
    assert compared >= 12, compared
    print(f"23 {system.shape}: {compared} operations answer another's id as one that never was")


def guess(system: RunningSystem, client: PublicApi, treasure: Treasure, count: int) -> None:
    """Ask for ``count`` guesses near to real ids, many at once."""
    ids = {name: treasure.ids[name] for name in NAMES}
    guesses = hostile_names(ids)
    paths = [
        op.path
        for op in operations(system)
        if op.method == "GET" and any(f"{{{n}}}" in op.path for n in NAMES)
    ]
    work = [(paths[i % len(paths)], guesses[(i // len(paths)) % len(guesses)]) for i in range(count)]

    def one(item: tuple[str, str]) -> int:
        answer = client.http.get(re.sub(r"\{\w+\}", item[1], item[0]))
        assert answer.status_code in {400, 404, 422, 405}, f"{item}: {answer.status_code} {answer.text[:200]}"
        assert MARK not in answer.text, item
        return answer.status_code

    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = Counter(pool.map(one, work))
    took = time.perf_counter() - started
    print(f"23 {system.shape}: {count} guesses in {took:.1f} s, answered {dict(answers)}, 0 hits")


def test_guesses_hit_nothing(system: RunningSystem, client: PublicApi, treasure: Treasure) -> None:
    guess(system, client, treasure, SHORT)


@pytest.mark.soak
def test_many_guesses_hit_nothing(system: RunningSystem, client: PublicApi, treasure: Treasure) -> None:
    guess(system, client, treasure, FULL)


def test_ids_cannot_be_foretold(system: RunningSystem, client: PublicApi) -> None:
    session = new_session()
    turns = [client.query("hello", session)["turn_id"] for _ in range(60)]
    ends = [turn[-RANDOM_DIGITS:] for turn in turns]
    assert len(set(turns)) == len(turns)
    # Each of the last digits takes nearly every value: a counter, or a clock, would leave some unused.
    for place in range(RANDOM_DIGITS):
        assert len({end[place] for end in ends}) >= 10, f"digit {place} of {ends[:5]}"
    steps = [abs(int(b, 16) - int(a, 16)) for a, b in pairwise(ends)]
    assert median(steps) > 16 ** (RANDOM_DIGITS - 2), "one id is near to the next"
    print(
        f"23 {system.shape}: {len(turns)} ids in a row, median step 16^{len(f'{int(median(steps)):x}') - 1}"
    )
