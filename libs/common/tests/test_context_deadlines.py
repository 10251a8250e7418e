"""The request being served, and its deadline."""

import asyncio
import uuid

import pytest

from signalbox.common import context
from signalbox.common.context import (
    Deadline,
    RequestContext,
    current_deadline,
    current_request,
    enter_request,
)
from signalbox.common.errors import DeadlineExceeded
from signalbox.common.ids import label_id, new_id, now_ms


def test_a_deadline_counts_down_and_is_never_negative(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(context.time, "monotonic", lambda: clock[0])
    deadline = Deadline.after(2.5)
    assert deadline.remaining() == 2.5
    clock[0] += 2
    assert deadline.check("a call") == 0.5
    clock[0] += 2
    assert deadline.remaining() == 0
    with pytest.raises(DeadlineExceeded, match="a call"):
        deadline.check("a call")


def test_outside_of_a_request_there_is_the_default_deadline():
    assert current_request() is None
    assert 29 < current_deadline().remaining() <= 30
    assert 4 < current_deadline(5).remaining() <= 5


async def test_a_request_is_known_to_its_own_tasks_and_no_others():
    async def serve(name, seconds):
        enter_request(RequestContext(name, Deadline.after(seconds)))

        async def child():
            await asyncio.sleep(0)
            return current_request().request_id, current_deadline().remaining()

        return await asyncio.create_task(child())

    (first, left), (second, less) = await asyncio.gather(serve("a", 100), serve("b", 10))
    assert (first, second) == ("a", "b")
    assert left > 90
    assert less <= 10
    assert current_request() is None


@pytest.mark.parametrize("make", [new_id, label_id])
def test_ids_are_uuids_of_version_7_that_sort_by_time(monkeypatch, make):
    from signalbox.common import ids

    made = []
    for millis in range(1_700_000_000_000, 1_700_000_000_300):
        monkeypatch.setattr(ids.time, "time_ns", lambda now=millis: now * 1_000_000 + 999)
        made.append(make("turn"))
    assert made == sorted(made)
    for number, name in enumerate(made):
        parsed = uuid.UUID(name.removeprefix("turn_"))
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == 1_700_000_000_000 + number


@pytest.mark.parametrize("make", [new_id, label_id])
def test_ids_of_one_moment_differ(monkeypatch, make):
    from signalbox.common import ids

    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({make("x") for _ in range(1000)}) == 1000
    assert now_ms() == 1_700_000_000_000
