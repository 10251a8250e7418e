"""Stored responses: whose they are, how long, and what two replicas and a killed process make of them."""

import contextlib
import sqlite3
import subprocess
import sys
import time
from operator import itemgetter

import httpx
import openai
import psycopg
import pytest
from support.gateway_app import RunningGateway, deployment, wait_for

from signalbox.common.auth import ServiceTokens
from signalbox.common.storage.migrations import MigrationSource, migrate
from signalbox.contracts.identity import Principal, Scope
from signalbox_local import PostgresServer, RedisServer, free_port

STALLED = {"reply": "a long answer in many pieces", "fault": {"kind": "stall", "after_chunks": 3}}
SLOW = {"reply": "a long answer in many pieces", "chunk_delay_ms": 150}
SECRET = "a secret that every service of this test knows"


def key_of(tenant: str, subject: str) -> str:
    """A credential of a service that acts for a principal."""
    principal = Principal(tenant=tenant, subject=subject, scopes=frozenset({Scope.LLM}))
    return ServiceTokens(SECRET, "workflow").mint("llm_gateway", principal)


def expire(gateway: RunningGateway, identifier: str) -> None:
    """Let the time of a response be over."""
    file = gateway.settings.data / "llm_gateway.db"
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as connection, connection:
        changed = connection.execute(
            "UPDATE llm_responses SET expires_at = 1 WHERE response_id = ?", (identifier,)
        ).rowcount
    assert changed == 1


def test_a_response_is_there_for_its_own_caller_only(start_gateway, provider):
    gateway = start_gateway(auth="keys", service_secret=SECRET, llm_deployments=[deployment(provider)])
    owner = gateway.client(key_of("acme", "key:1"))
    mine = owner.responses.create(model="alias", input="mine", background=True)
    for tenant, subject in (("rival", "key:1"), ("acme", "key:2")):
        other = gateway.client(key_of(tenant, subject))
        for reach in (
            other.responses.retrieve,
            other.responses.cancel,
            other.responses.delete,
            other.responses.input_items.list,
            lambda found, other=other: list(other.responses.retrieve(found, stream=True)),
        ):
            with pytest.raises(openai.NotFoundError):
                reach(mine.id)
        with pytest.raises(openai.BadRequestError) as refused:
            other.responses.create(model="alias", input="go on", previous_response_id=mine.id)
        assert refused.value.code == "previous_response_not_found"
    wait_for(lambda: owner.responses.retrieve(mine.id).status == "completed")
    assert {row["tenant"] for row in gateway.wait_for_rows(1)} == {"acme"}


def test_what_has_expired_is_not_served_and_is_deleted(gateway):
    client = gateway.client()
    gone, kept = (client.responses.create(model="alias", input="hello", background=True) for _ in range(2))
    for response in (gone, kept):
        wait_for(lambda response=response: client.responses.retrieve(response.id).status == "completed")
    (expires,) = {row["expires_at"] - row["created_at"] for row in gateway.rows("llm_responses")}
    assert expires == 30 * 86_400_000
    expire(gateway, gone.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(gone.id)
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="alias", input="go on", previous_response_id=gone.id)
    gateway.restart()
    wait_for(lambda: len(gateway.rows("llm_responses")) == 1)
    assert {row["response_id"] for row in gateway.rows("llm_response_events")} == {kept.id}
    assert client.responses.retrieve(kept.id).status == "completed"


def test_what_is_too_long_is_asked_again_without_its_beginning_where_that_is_allowed(gateway, provider):
    client = gateway.client()
    items = [{"role": "user", "content": f"part {number}"} for number in range(5)]
    provider.script([{"fault": "context_length_exceeded", "times": 2}])
    response = client.responses.create(model="alias", input=items, truncation="auto")
    assert response.output_text == "echo: part 4"
    lengths = [len(record.body["messages"]) for record in provider.requests()]
    assert lengths == [5, 3, 2]
    rows = sorted(gateway.wait_for_rows(3), key=itemgetter("created_at"))  # books are written in any order
    assert [row["outcome"] for row in rows] == ["error", "error", "ok"]
    provider.script([{"fault": "context_length_exceeded", "times": 1}])
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alias", input=items)
    assert refused.value.code == "context_length_exceeded"


@pytest.fixture
def replicas(start_gateway, provider, database_supply, tmp_path):
    """Two gateways over one PostgreSQL and one Redis, and the URL of the database."""
    source = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
    url = database_supply.url(source, "postgresql", tmp_path)
    with RedisServer() as redis:
        shared = {"database_url": url, "redis_url": redis.url, "llm_deployments": [deployment(provider)]}
        first, second = (start_gateway(**shared) for _ in range(2))
        yield first, second, url
        for gateway in (first, second):
            gateway.stop()


def test_a_cancel_on_one_replica_stops_the_model_of_another_within_a_second(replicas, provider):
    first, second, url = replicas
    provider.script([STALLED])
    running = first.client().responses.create(model="alias", input="tell me", background=True)
    provider.wait_until(lambda seen: len(seen) == 1)
    began = time.monotonic()
    assert second.client().responses.cancel(running.id).status == "cancelled"
    provider.wait_until(lambda seen: seen[-1].disconnected)
    assert time.monotonic() - began < 1.0
    assert first.client().responses.retrieve(running.id).status == "cancelled"
    with psycopg.connect(url) as connection:
        wait_for(lambda: connection.execute("SELECT outcome FROM ledger_calls").fetchall() == [("aborted",)])


def test_a_delete_on_one_replica_stops_the_model_of_another_and_leaves_nothing(replicas, provider):
    first, second, url = replicas
    provider.script([STALLED])
    running = first.client().responses.create(model="alias", input="tell me", background=True)
    provider.wait_until(lambda seen: len(seen) == 1)
    second.client().responses.delete(running.id)
    provider.wait_until(lambda seen: seen[-1].disconnected)
    with psycopg.connect(url) as connection:
        for table in ("llm_responses", "llm_response_events"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_replica_tells_the_events_that_another_makes_while_it_makes_them(replicas, provider):
    first, second, _ = replicas
    provider.script([SLOW])
    queued = first.client().responses.create(model="alias", input="tell me", background=True)
    followed = []
    with second.client().responses.retrieve(queued.id, stream=True) as stream:
        for event in stream:
            followed.append(event)
            if event.type == "response.output_text.delta" and len(followed) < 8:
                assert first.client().responses.retrieve(queued.id).status == "in_progress"
    assert [event.sequence_number for event in followed] == list(range(len(followed)))
    assert followed[-1].response.output_text == SLOW["reply"]
    own = list(first.client().responses.retrieve(queued.id, stream=True))
    assert [event.to_dict() for event in own] == [event.to_dict() for event in followed]


def test_a_conversation_goes_on_at_any_replica(replicas, provider):
    first, second, _ = replicas
    begun = first.client().responses.create(model="alias", input="my name is Ada")
    second.client().responses.create(model="alias", input="who am I?", previous_response_id=begun.id)
    assert len(provider.requests()[-1].body["messages"]) == 3


def test_the_responses_of_a_replica_that_died_are_ended_by_another(replicas, provider):
    first, second, url = replicas
    provider.script([STALLED])
    running = first.client().responses.create(model="alias", input="tell me", background=True)
    provider.wait_until(lambda seen: len(seen) == 1)
    with psycopg.connect(url, autocommit=True) as connection:
        # As if the owner had died half a minute ago.
        connection.execute("UPDATE llm_responses SET owner = 'dead', heartbeat_at = heartbeat_at - 30000")
    wait_for(lambda: second.client().responses.retrieve(running.id).status == "failed", timeout=15)
    assert second.client().responses.retrieve(running.id).error.code == "response_interrupted"
    provider.wait_until(lambda seen: seen[-1].disconnected)


def test_a_replica_that_stops_says_so_of_its_responses(replicas, provider):
    first, second, _ = replicas
    provider.script([STALLED])
    running = first.client().responses.create(model="alias", input="tell me", background=True)
    provider.wait_until(lambda seen: len(seen) == 1)
    first.stop()
    found = second.client().responses.retrieve(running.id)
    assert (found.status, found.error.code) == ("failed", "response_interrupted")
    with pytest.raises(openai.APIError):
        list(second.client().responses.retrieve(running.id, stream=True))


@pytest.mark.faults
def test_an_answer_that_cannot_be_kept_is_given_and_says_so(start_gateway, provider):
    with PostgresServer(own=True) as postgres, RedisServer() as redis:
        url = postgres.create_database("responses")
        gateway = start_gateway(database_url=url, redis_url=redis.url, llm_deployments=[deployment(provider)])
        client = gateway.client(timeout=20)
        kept = client.responses.create(model="alias", input="hello")
        postgres.freeze()
        began = time.monotonic()
        answered = client.responses.with_raw_response.create(model="alias", input="hello").http_response
        assert time.monotonic() - began < 4
        events = list(client.responses.create(model="alias", input="hello", stream=True))
        with pytest.raises(openai.InternalServerError) as refused:
            client.responses.create(model="alias", input="hello", background=True)
        postgres.thaw()
        assert answered.json()["store"] is False
        assert events[-1].response.to_dict()["store"] is False
        assert refused.value.status_code == 503
        wait_for(lambda: client.responses.retrieve(kept.id).status == "completed")
        gateway.stop()


@pytest.mark.faults
def test_a_process_that_was_killed_leaves_failed_responses_and_whole_logs(provider, tmp_path):
    migrate("llm_gateway", "signalbox.llm_gateway.migrations", f"sqlite:///{tmp_path / 'llm_gateway.db'}")
    port = free_port()
    provider.script([STALLED])

    @contextlib.contextmanager
    def process():
        running = subprocess.Popen(
            [sys.executable, "-m", "signalbox.common.cli", "serve", "llm_gateway", "--port", str(port)],
            env={
                "SIGNALBOX_DATA": str(tmp_path),
                "SIGNALBOX_OLLAMA_URL": "",
                "OPENAI_BASE_URL": provider.base_url,
            },
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: up(port), timeout=60)
            yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/llm/v1", api_key="local", max_retries=0)
        finally:
            running.kill()
            running.wait()

    with process() as client:
        seen = []
        with client.responses.create(
            model="fake-model", input="tell me", background=True, stream=True
        ) as stream:
            for event in stream:
                seen.append(event)
                if event.type == "response.output_text.delta":
                    break
    with process() as client:
        response_id = seen[0].response.id
        wait_for(lambda: client.responses.retrieve(response_id).status == "failed")
        found = client.responses.with_raw_response.retrieve(response_id, stream=True)
        text = found.http_response.read().decode()
    assert seen[-1].delta in text
    assert text.count("event: response.failed") == text.count("event: error") == 1
    numbers = [
        int(line.rpartition('"sequence_number":')[2].rstrip("}"))
        for line in text.splitlines()
        if line.startswith("data:")
    ]
    assert numbers == list(range(len(numbers)))


def up(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    return False
