import asyncio

import pytest

from signalbox.llm_gateway.leaving import ClientLeft, while_client_stays


class Answer:
    def __init__(self):
        self.closed = 0

    async def aclose(self):
        self.closed += 1


async def gone():
    return {"type": "http.disconnect"}


async def stays():
    await asyncio.Event().wait()


async def test_a_client_that_stays_gets_the_answer():
    answer = Answer()
    assert await while_client_stays(stays, asyncio.sleep(0, answer)) is answer
    assert not answer.closed


async def test_the_work_of_a_client_that_left_is_cancelled():
    with pytest.raises(ClientLeft):
        await while_client_stays(gone, asyncio.sleep(10))


async def test_an_answer_that_nobody_gets_any_more_is_closed():
    answer = Answer()

    async def stubborn():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return answer

    with pytest.raises(ClientLeft):
        await while_client_stays(gone, stubborn())
    assert answer.closed == 1


async def test_a_caller_that_is_cancelled_when_the_answer_is_ready_closes_it():
    answer, done = Answer(), asyncio.Event()

    async def work():
        done.set()
        return answer

    waiting = asyncio.ensure_future(while_client_stays(stays, work()))
    await done.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert answer.closed == 1


@pytest.mark.parametrize("turns", range(8))
async def test_whoever_is_cancelled_around_the_moment_of_the_answer_closes_it_or_has_it(turns):
    """The caller is cancelled some turns of the loop after the answer began to be made."""
    answer, made, kept = Answer(), asyncio.Event(), []

    async def work():
        made.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return answer

    async def endpoint():
        kept.append(await while_client_stays(stays, work()))

    caller = asyncio.ensure_future(endpoint())
    await made.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    caller.cancel()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    begun = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    await asyncio.gather(*begun, return_exceptions=True)
    made_it = bool(kept) or answer.closed == 1 or turns < 2
    assert made_it, "the answer was made and lost"
    assert not (kept and answer.closed)
