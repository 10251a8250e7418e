"""The loop that does what is due."""

import asyncio

import pytest
from support.async_waiting import until

from signalbox.common.errors import Unavailable
from signalbox.workflow.background.ticker import Ticker

FAR = 3600.0


class Due:
    """Batches of due work; an answer is whether there may be more, or what goes wrong."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.looks = 0

    async def __call__(self):
        self.looks += 1
        answer = self.answers.pop(0) if self.answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
async def ticking():
    started = []

    def start(due, every_s=FAR):
        ticker = Ticker("due", due, every_s=every_s)
        started.append(ticker)
        ticker.start()
        return ticker

    yield start
    for ticker in started:
        await ticker.stop()


async def test_it_goes_on_at_once_while_there_is_more_and_then_rests(ticking):
    due = Due(True, True, False)
    ticking(due)
    await until(lambda: due.looks == 3)
    await asyncio.sleep(0.02)
    assert due.looks == 3


async def test_it_looks_again_after_its_time(ticking):
    due = Due()
    ticking(due, every_s=0.01)
    await until(lambda: due.looks >= 3)


async def test_waking_it_makes_it_look_at_once_also_while_it_works(ticking):
    gate, looks = asyncio.Event(), []

    async def work():
        looks.append(len(looks))
        if len(looks) == 1:
            await gate.wait()
        return False

    ticker = ticking(work)
    await until(lambda: looks)
    ticker.wake()  # the first look has read already: what has become due since needs another
    gate.set()
    await until(lambda: len(looks) == 2)
    ticker.wake()
    await until(lambda: len(looks) == 3)


@pytest.mark.parametrize("error", [Unavailable("The database is away."), KeyError("bug")])
async def test_nothing_that_goes_wrong_ends_it(ticking, error, caplog):
    due = Due(error, True, False)
    ticking(due, every_s=0.01)
    await until(lambda: due.looks >= 3)
    assert "due" in caplog.text


async def test_stopping_interrupts_the_work(ticking):
    begun, stopped = asyncio.Event(), []

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)
        return False

    ticker = ticking(work)
    await begun.wait()
    await ticker.stop()
    assert stopped == [True]
