"""Delivering the outbox."""

import asyncio
import base64
import hashlib
import hmac
import json

import pytest
from support.async_waiting import until
from support.workflow_stage import CONFIG, RIVAL, rows_of

from signalbox.common.secrets import ChainedSecrets, EnvironmentSecrets
from signalbox.common.transport import OutboundResponse, OutboundTimeout
from signalbox.workflow.background import webhooks
from signalbox.workflow.background.outbox_repository import SqlOutboxStore, insert_outbox
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.background.webhooks import WebhookSender, sign

SECRET = "whsec_" + base64.b64encode(b"a-key-of-thirty-two-bytes-------").decode()
NOW = 1_700_000_000_000


class Receiver:
    """Stands in for the guarded outbound port; an answer is a status or an exception."""

    def __init__(self, *answers):
        self.answers = list(answers) or [204]
        self.received = []
        self.waiting = None

    async def send(self, request):
        self.received.append(request)
        if self.waiting is not None:
            await self.waiting.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return OutboundResponse(answer, {}, b"")

    async def aclose(self):
        pass


class Clock:
    def __init__(self, monkeypatch):
        self.now = NOW
        monkeypatch.setattr(webhooks, "now_ms", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def message(number=1, target=None, **changes):
    fields = {
        "tenant": "acme",
        "message_id": f"msg_{number}",
        "kind": "action",
        "target": json.dumps(target or {"url": "http://crm/hook", "secret": "secret:crm"}),
        "payload": json.dumps({"type": "action.webhook", "n": number}),
        "due_at": NOW,
        "created_at": NOW,
    }
    return OutboxMessage(**{**fields, **changes})


def sender(database, receiver):
    names = {"SIGNALBOX_SECRET_ACME__CRM": SECRET, "SIGNALBOX_SECRET_RIVAL__CRM": "theirs"}
    return WebhookSender(SqlOutboxStore(database), receiver, ChainedSecrets([EnvironmentSecrets(names)]))


async def put(database, *messages):
    await database.write(*(insert_outbox(entry) for entry in messages))


async def state(database):
    [row] = await rows_of(database, "workflow_outbox")
    return row


# The example of the Standard Webhooks specification and of its reference libraries' tests.
SPEC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SPEC_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SPEC_TIMESTAMP = "1614265330"
SPEC_BODY = b'{"test": 2432232314}'
SPEC_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_signatures_are_those_of_standard_webhooks():
    assert sign(SPEC_SECRET, SPEC_ID, SPEC_TIMESTAMP, SPEC_BODY) == SPEC_SIGNATURE


@pytest.mark.parametrize("secret", ["plain text, 中文", "whsec_not base64!"])
def test_a_secret_of_any_other_form_is_taken_as_it_is(secret):
    digest = hmac.new(secret.encode(), b"id.1.body", hashlib.sha256).digest()
    assert sign(secret, "id", "1", b"body") == "v1," + base64.b64encode(digest).decode()


async def test_a_message_is_signed_and_delivered_once(database, clock):
    target = {"url": "http://crm/hook?x=1", "secret": "secret:crm", "headers": {"X-Shop": "acme"}}
    await put(database, message(target=target))
    receiver = Receiver(204)
    hooks = sender(database, receiver)
    assert (await hooks.deliver_due(), await hooks.deliver_due()) == (1, 0)
    [request] = receiver.received
    assert (request.method, request.url) == ("POST", "http://crm/hook?x=1")
    assert request.body == message().payload.encode()
    assert request.headers == {
        "x-shop": "acme",
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW // 1000),
        "webhook-signature": sign(SECRET, "msg_1", str(NOW // 1000), request.body),
    }
    row = await state(database)
    assert (row["status"], row["attempt"], row["finished_at"]) == ("delivered", 1, NOW)
    assert SECRET not in json.dumps(row)


async def test_a_config_cannot_send_headers_of_ours(database, clock):
    target = {
        "url": "http://crm/hook",
        "secret": "secret:crm",
        "headers": {"Webhook-Id": "forged", "Webhook-Signature": "v1,forged", "Content-Type": "text/plain"},
    }
    await put(database, message(target=target))
    receiver = Receiver()
    await sender(database, receiver).deliver_due()
    headers = receiver.received[0].headers
    assert len(headers) == 4
    assert (headers["webhook-id"], headers["content-type"]) == ("msg_1", "application/json")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "http_500"),
        (302, "http_302"),
        (410, "http_410"),
        (OutboundTimeout("crm", "x"), "outbound_timeout"),
    ],
)
async def test_a_delivery_that_fails_is_tried_again_later(database, clock, answer, reason):
    await put(database, message())
    receiver = Receiver(answer, 200)
    hooks = sender(database, receiver)
    await hooks.deliver_due()
    row = await state(database)
    assert (row["status"], row["last_error"], row["attempt"]) == ("pending", reason, 1)
    assert 5_000 <= row["due_at"] - NOW <= 5_500
    clock.now = row["due_at"] - 1
    assert await hooks.deliver_due() == 0
    clock.now += 1
    assert await hooks.deliver_due() == 1
    assert (await state(database))["status"] == "delivered"
    assert receiver.received[0].headers["webhook-id"] == receiver.received[1].headers["webhook-id"]
    # Each attempt is signed at its own time.
    assert (
        receiver.received[0].headers["webhook-timestamp"] != receiver.received[1].headers["webhook-timestamp"]
    )


async def test_after_ten_attempts_in_three_days_a_message_is_dead(database, clock):
    await put(database, message())
    receiver = Receiver(503)
    hooks = sender(database, receiver)
    waits = []
    while (row := await state(database))["status"] != "dead":
        waits.append((row["due_at"] - clock.now) / 1000)
        clock.now = row["due_at"]
        assert await hooks.deliver_due() == 1
    expected = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert len(waits) == len(receiver.received) == 10
    for wait, least in zip(waits, expected, strict=True):
        assert least <= wait <= least * 1.1 + 0.001
    assert (row["last_error"], row["finished_at"]) == ("http_503", clock.now)
    assert await hooks.deliver_due() == 0


async def test_of_two_senders_one_takes_a_message(database, clock):
    await put(database, *(message(number) for number in range(30)))
    receivers = [Receiver(), Receiver()]
    senders = [sender(database, receiver) for receiver in receivers]
    taken = await asyncio.gather(*(each.deliver_due() for each in senders * 3))
    assert sum(taken) == 30
    ids = [request.headers["webhook-id"] for receiver in receivers for request in receiver.received]
    assert sorted(ids) == sorted(f"msg_{number}" for number in range(30))


async def test_a_message_whose_sender_died_comes_back_and_the_dead_cannot_settle_it(database, clock):
    await put(database, message())
    dying, living = Receiver(200), Receiver(200)
    dying.waiting = asyncio.Event()
    delivering = asyncio.create_task(sender(database, dying).deliver_due())
    await until(lambda: dying.received)
    other = sender(database, living)
    clock.now += 59_000
    assert await other.deliver_due() == 0
    clock.now += 1_001
    living.answers = [500]
    assert await other.deliver_due() == 1
    dying.waiting.set()
    await delivering
    row = await state(database)
    assert (row["status"], row["attempt"], row["last_error"]) == ("pending", 2, "http_500")


async def test_a_secret_that_is_missing_is_a_reason_to_wait(database, clock):
    await put(database, message(target={"url": "http://crm/hook", "secret": "secret:other"}))
    receiver = Receiver()
    await sender(database, receiver).deliver_due()
    row = await state(database)
    assert (row["status"], row["last_error"]) == ("pending", "secret_not_found")
    assert receiver.received == []


async def test_secrets_are_the_tenants_own(database, clock):
    await put(database, message(tenant=RIVAL.tenant))
    receiver = Receiver()
    await sender(database, receiver).deliver_due()
    headers = receiver.received[0].headers
    assert headers["webhook-signature"] == sign(
        "theirs", "msg_1", headers["webhook-timestamp"], receiver.received[0].body
    )


@pytest.mark.parametrize(
    "poison",
    [{"target": "not json"}, {"target": '{"url": "http://x"}'}, {"target": '{"secret": null, "url": ""}'}],
)
async def test_a_message_that_cannot_be_sent_does_not_stop_the_others(database, clock, poison):
    await put(database, message(1, **poison), message(2))
    receiver = Receiver()
    await sender(database, receiver).deliver_due()
    rows = {row["message_id"]: row for row in await rows_of(database, "workflow_outbox")}
    assert (rows["msg_1"]["status"], rows["msg_1"]["last_error"]) == ("pending", "unsendable")
    assert rows["msg_2"]["status"] == "delivered"


async def test_the_sender_looks_by_itself_and_survives_a_bug(database, caplog):
    receiver = Receiver()
    hooks = sender(database, receiver)
    outbox = hooks._outbox
    take, calls = outbox.take_due, []

    async def fails_first(*args):
        calls.append(args)
        if len(calls) == 1:
            raise KeyError("bug")
        return await take(*args)

    outbox.take_due = fails_first
    hooks.start()
    await put(database, message())
    await until(lambda: calls)
    hooks.wake()
    await until(lambda: receiver.received)
    await hooks.stop()
    assert "it goes on" in caplog.text


async def test_an_action_leaves_its_webhook_with_the_turn(stage):
    webhook = {"url": "http://crm/{{ parameters.name }}", "secret": "secret:crm", "headers": {"x": "1"}}
    actions = [{**CONFIG["actions"][0]}, CONFIG["actions"][1]]
    actions.append({"id": "remember", "type": "webhook", "webhook": webhook, "reply": "Noted."})
    stage.releases.publish({**CONFIG, "actions": actions})
    reply = await stage.ask("my name is Kim")
    assert reply.message == "Hello!\n\nNoted."
    row = await state(stage.database)
    assert json.loads(row["target"]) == {
        "url": "http://crm/Kim",
        "secret": "secret:crm",
        "headers": {"x": "1"},
    }
    payload = json.loads(row["payload"])
    assert payload["type"] == "action.webhook"
    assert payload["data"]["turn_id"] == reply.turn_id
    assert payload["data"]["parameters"] == {"name": "Kim"}
