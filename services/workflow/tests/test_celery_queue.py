"""The queue over Celery, with kombu's broker in memory: what messages say, and what the settings must have."""

import asyncio
import logging

import pytest
from support.async_waiting import until

from signalbox.workflow.background.celery_queue import LOOK, QUEUE, CeleryQueue, celery_app, check
from signalbox.workflow.background.records import TaskName
from signalbox.workflow.errors import QueueUnusable
from signalbox.workflow.settings import WorkflowSettings

DATABASE = "postgresql://signalbox@127.0.0.1/none"
NAMES = [TaskName("acme", "task_1"), TaskName("rival", "task_2")]


def settings(**more):
    given = {"task_queue": "celery", "database_url": DATABASE, "broker_url": "memory://", "redis_url": None}
    return WorkflowSettings(**{**given, **more})


@pytest.fixture
async def queue():
    made = CeleryQueue(settings())
    made.start()
    yield made
    await made.stop()


def messages(app):
    """Takes what lies in the broker."""
    found = []
    with app.connection_for_read() as connection:
        simple = connection.SimpleQueue(QUEUE)
        while simple.qsize():
            found.append(simple.get(block=False))
            found[-1].ack()
    return found


async def test_a_message_names_a_task_and_says_nothing_else_of_it(queue):
    queue.put(NAMES)
    app = celery_app(settings())
    found = []
    await until(lambda: found.extend(messages(app)) or len(found) == 2)
    assert [message.headers["task"] for message in found] == [LOOK, LOOK]
    assert [message.payload[0] for message in found] == [list(name) for name in NAMES]
    assert [message.payload[1] for message in found] == [{}, {}]


async def test_a_broker_that_is_away_is_said_once_and_nobody_waits_for_it(caplog, monkeypatch):
    made = CeleryQueue(settings())
    tried = []

    def away(names):
        tried.append(names)
        raise ConnectionError("refused")

    monkeypatch.setattr(made, "_publish", away)
    made.start()
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            made.put(NAMES)
            await until(lambda number=number: len(tried) == number + 1)
        await asyncio.sleep(0)
    await made.stop()
    assert [record.getMessage() for record in caplog.records].count(
        "the broker is away, tasks wait for the sweeper: refused"
    ) == 1


def test_a_worker_holds_one_message_a_thread_and_acknowledges_it_when_its_task_is_over():
    conf = celery_app(settings()).conf
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier, conf.task_ignore_result) == (True, 1, True)


@pytest.mark.parametrize(
    ("broker", "has_prefix"),
    [("redis://127.0.0.1:1/0", True), ("amqp://127.0.0.1:1//", False)],
)
def test_options_of_redis_are_given_to_redis_alone(broker, has_prefix):
    conf = celery_app(settings(broker_url=broker)).conf
    assert ("global_keyprefix" in conf.broker_transport_options) is has_prefix
    assert conf.broker_url == broker


@pytest.mark.parametrize(
    ("without", "named"),
    [("database_url", "SIGNALBOX_DATABASE_URL"), ("broker_url", "SIGNALBOX_BROKER_URL")],
)
def test_what_workers_need_is_asked_for_in_words(without, named, monkeypatch):
    for variable in ("DATABASE_URL", "REDIS_URL", "SIGNALBOX_DATABASE_URL", "SIGNALBOX_REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(QueueUnusable, match=named):
        check(settings(**{without: None}))
    check(settings())
    check(settings(broker_url=None, redis_url="redis://127.0.0.1:1/0"))
