"""A thousand async queries while workers are killed and Redis loses everything: a result each, written once.

The broker is Redis; ``SIGNALBOX_TEST_BROKER_URL`` names another, ``amqp://guest:guest@127.0.0.1:5672//`` is RabbitMQ.
"""

import json
import os
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
import psycopg
import pytest
from standardwebhooks import Webhook
from support.probe_backend import ProbeBackend
from support.public_api import PublicApi
from support.systems import READY_S, probe_document, publish
from support.waiting import eventually

from signalbox_local import (
    ManagedProcess,
    NotReadyError,
    OneProcess,
    PostgresServer,
    RedisServer,
    ServicesStack,
)

pytestmark = pytest.mark.faults

TASKS = 1000
KILLS_AT = (120, 280, 440, 640, 820)
"""Results after which a worker is killed."""
REDIS_AT = 540
"""Results after which Redis is restarted, empty."""
TURNED_AWAY = 20
"""Webhooks whose first delivery is refused: their second one comes 5 s later, among the kills."""
SECRET = "whsec_" + "c2lnbmFsYm94LWZhdWx0cy13ZWJob29rLWtleS0wMDE="
ENOUGH_S = 150.0

# The number of times that the result of a task was written, counted by the database itself.
AUDIT = """
CREATE TABLE written (task_id text);
CREATE FUNCTION note_result() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO written VALUES (NEW.task_id); RETURN NEW; END $$;
CREATE TRIGGER note_result AFTER UPDATE OF result ON workflow_tasks FOR EACH ROW EXECUTE FUNCTION note_result();
"""


class Receiver:
    """Receives webhooks, verifies each, and turns the first ones away at their first delivery."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.deliveries: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.ids: dict[str, set[str]] = {}
        self.bad: list[str] = []
        receiver, verifier = self, Webhook(SECRET)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status = receiver.take(verifier, body, {k.lower(): v for k, v in self.headers.items()})
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: Any) -> None:
                pass  # a worker that is killed while it delivers

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def take(self, verifier: Webhook, body: str, headers: dict[str, str]) -> int:
        """The status that a delivery is answered with."""
        try:
            verifier.verify(body, headers)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            with self.lock:
                self.bad.append(f"{error!r}: {body[:200]}")
            return 400
        told = json.loads(body)
        task_id = told["data"]["task_id"]
        with self.lock:
            assert told["type"] == "task.success"
            self.ids.setdefault(task_id, set()).add(headers["webhook-id"])
            self.deliveries[task_id] += 1
            if self.deliveries[task_id] == 1 and len(self.deliveries) <= TURNED_AWAY:
                return 503
            self.accepted[task_id] += 1
            return 204

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Background:
    """The stack under test, and what the test knows of it."""

    def __init__(self, stack: ServicesStack, backend: ProbeBackend, receiver: Receiver) -> None:
        self.stack = stack
        self.backend = backend
        self.receiver = receiver
        self.database = psycopg.connect(stack.database_url, autocommit=True)

    def count(self, sql: str) -> int:
        """The number that a query gives."""
        row = self.database.execute(sql).fetchone()
        assert row is not None
        return int(row[0])

    def results(self) -> int:
        """Tasks that have succeeded so far."""
        return self.count("SELECT count(*) FROM workflow_tasks WHERE status = 'success'")


@pytest.fixture(scope="module")
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    env = {
        "SIGNALBOX_OLLAMA_URL": "",
        "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]',
        "SIGNALBOX_SECRET_WEBHOOK": SECRET,
        # What the defaults say in tens of seconds, in seconds.
        "SIGNALBOX_TASK_STALE_MS": "2000",
        "SIGNALBOX_TASK_REQUEUE_MS": "3000",
        "SIGNALBOX_WEBHOOK_TIMEOUT_MS": "3000",
        "SIGNALBOX_LEASE_TTL_MS": "2000",
        "SIGNALBOX_LEASE_RENEW_MS": "500",
    }
    broker = os.environ.get("SIGNALBOX_TEST_BROKER_URL")
    if broker is not None:
        env["SIGNALBOX_BROKER_URL"] = broker
    with ExitStack() as held:
        backend = held.enter_context(ProbeBackend())
        receiver = held.enter_context(Receiver())
        postgres = held.enter_context(PostgresServer(own=True))
        redis = held.enter_context(RedisServer(own=True))
        stack = ServicesStack(
            tmp_path_factory.mktemp("background"), env=env, postgres=postgres, redis=redis, workers=2
        )
        held.callback(stack.stop)
        stack.start(READY_S)
        api = PublicApi(stack.edge_url, None)
        publish(api, probe_document(backend.url))
        api.close()
        made = Background(stack, backend, receiver)
        held.callback(made.database.close)
        yield made


def test_a_thousand_tasks_survive_killed_workers_and_an_emptied_redis(background: Background) -> None:
    stack, receiver = background.stack, background.receiver
    background.database.execute(AUDIT)
    began = time.monotonic()
    with ExitStack() as held:
        breaking = held.enter_context(ThreadPoolExecutor(1)).submit(break_things, background)
        api = held.enter_context(httpx.Client(base_url=stack.edge_url, timeout=10, trust_env=False))
        pool = held.enter_context(ThreadPoolExecutor(8))
        posted = [pool.submit(post, api, number, receiver.url) for number in range(TASKS)]
        tasks = {future.result() for future in posted}
        posted_s = time.monotonic() - began
        breaking.result()
    assert len(tasks) == TASKS
    eventually(lambda: background.results() == TASKS, "every task has succeeded", ENOUGH_S)
    worked_s = time.monotonic() - began
    eventually(lambda: len(receiver.accepted) == TASKS, "every webhook was accepted", 60.0)
    told_s = time.monotonic() - began

    assert receiver.bad == []
    assert set(receiver.accepted) == tasks
    assert all(len(ids) == 1 for ids in receiver.ids.values()), "a webhook was delivered under two ids"
    written = Counter(row[0] for row in background.database.execute("SELECT task_id FROM written"))
    assert set(written) == tasks
    assert set(written.values()) == {1}, f"results written twice: {written.most_common(3)}"
    one_turn_each = "SELECT count(DISTINCT session_id) FROM workflow_turns WHERE status = 'committed'"
    assert background.count(one_turn_each) == TASKS
    assert background.count("SELECT count(*) FROM workflow_turns WHERE status = 'committed'") == TASKS
    assert background.count("SELECT count(*) FROM workflow_outbox") == TASKS
    assert background.count("SELECT max(message_count) FROM workflow_sessions") == 2
    check_writes(background)
    taken_over = background.count("SELECT count(*) FROM workflow_tasks WHERE attempt > 1")
    assert taken_over > 0, "no kill hit a task"
    repeated = sum(receiver.deliveries.values()) - TASKS
    sys.stdout.write(
        f"\n{TASKS} tasks, workers killed {len(KILLS_AT)} times, Redis restarted empty once: all posted after"
        f" {posted_s:.1f} s, all results after {worked_s:.1f} s, each written once; {taken_over} tasks taken over from"
        f" dead workers; every webhook accepted after {told_s:.1f} s with a valid signature, {repeated} repeated\n"
    )


def post(api: httpx.Client, number: int, hook: str) -> str:
    """Post one task; repeated with its key until it is acknowledged."""
    message = f"write w{number}" if number % 4 == 0 else f"say {number}"
    body = {"message": message, "session_id": f"s{number}", "workflow_id": "probe", "webhook": {"url": hook}}
    key = secrets.token_hex(8)

    def acknowledged() -> str | None:
        try:
            answer = api.post("/api/v1/query/async", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return None
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    return eventually(acknowledged, f"task {number} is acknowledged", 30.0)


def break_things(background: Background) -> None:
    """Kill workers as results come, each while it works, and start it again; empty Redis once."""
    stack = background.stack
    for threshold in sorted((*KILLS_AT, REDIS_AT)):
        eventually(lambda t=threshold: background.results() >= t, f"{threshold} results", ENOUGH_S)
        if threshold == REDIS_AT:
            stack.redis.kill()
            stack.redis.restart()
            continue
        victim = eventually(lambda: next(filter(is_up, stack.workers), None), "a worker is up", ENOUGH_S)
        assert background.results() < TASKS, "there was nothing left to do when a worker was killed"
        victim.kill()
        # Started anew, but not waited for: the other one goes on.
        victim.launch()


def is_up(worker: ManagedProcess) -> bool:
    """Whether a worker has started and works."""
    try:
        worker.wait_ready(0.01)
    except NotReadyError:
        return False
    return True


def check_writes(background: Background) -> None:
    """Attempts of one task ask their backend under one key, so that what they repeat has no effect."""
    keys: dict[str, set[str]] = {}
    for asked in background.backend.received("/written"):
        keys.setdefault(json.loads(asked.body)["what"], set()).add(asked.headers["idempotency-key"])
    assert len(keys) == TASKS // 4
    assert all(len(used) == 1 for used in keys.values()), "a repeated write came under another key"


def test_a_worker_that_is_stopped_gives_its_task_to_another(background: Background) -> None:
    stack, backend = background.stack, background.backend
    for worker in stack.workers:
        worker.wait_ready(READY_S)
    stopping, other = stack.workers
    other.stop(5.0)
    gate = f"gate-{secrets.token_hex(4)}"
    body = {"message": f"wait at {gate}", "session_id": gate, "workflow_id": "probe"}
    api = PublicApi(stack.edge_url, None)
    task_id = api.call("POST", "/api/v1/query/async", json=body)["task_id"]
    eventually(lambda: backend.received(f"/gate/{gate}"), "the turn waits at the gate", 20.0)
    other.start(READY_S)
    stopping.stop(10.0)
    eventually(lambda: len(backend.received(f"/gate/{gate}")) == 2, "the other worker has taken it", 20.0)
    backend.open_gate(gate)
    done = eventually(
        lambda: (view := api.call("GET", f"/api/v1/task/{task_id}"))["status"] == "success" and view,
        "the task has succeeded",
        20.0,
    )
    assert done["attempt"] == 2
    assert api.history(gate) == [("user", f"wait at {gate}"), ("assistant", done["result"]["message"])]
    api.close()
    stopping.start(READY_S)


def test_one_process_that_is_killed_loses_no_task(process: OneProcess) -> None:
    api = PublicApi(process.edge_url, None)
    items = [{"message": "hello", "session_id": f"b{number}"} for number in range(300)]
    batch = api.call("POST", "/api/v1/query/batch", json={"items": items, "parallel": 4})
    path = f"/api/v1/batch/{batch['batch_id']}"
    for threshold in (30, 120):
        eventually(
            lambda t=threshold: api.call("GET", path)["progress"]["success"] >= t,
            f"{threshold} results",
            60.0,
        )
        process.kill()
        process.restart(READY_S)
    done = eventually(
        lambda: (view := api.call("GET", path))["status"] == "finished" and view, "the batch is over", 90.0
    )
    assert done["progress"]["success"] == 300
    page = api.call("GET", f"{path}/items", params={"limit": 500})
    assert [item["result"]["session_id"] for item in page["items"]] == [item["session_id"] for item in items]
    assert all(len(api.history(f"b{number}")) == 2 for number in range(0, 300, 10))
    api.close()
