"""A model's vectors as the second view of examples: learned with at publish, asked for by message, or done without."""

import asyncio
import json

import pytest
from support.admin_stand_in import hash_of
from support.workflow_stage import incoming, model_matcher

from signalbox.common.clients.gateway import Embedded
from signalbox.common.errors import Unavailable
from signalbox.common.rules import Re2Engine
from signalbox.contracts.admin import BuildRequest, SnapshotDocument
from signalbox.contracts.events import UsageData
from signalbox.workflow.allowance import Allowance
from signalbox.workflow.example_build import ExampleBuilder
from signalbox.workflow.matching.gateway_vectors import GatewayVectors
from signalbox.workflow.matching.incoming import Incoming
from signalbox.workflow.matching.matcher import Matcher
from signalbox.workflow.matching.message_vectors import MessageVectors
from signalbox.workflow.snapshot import SnapshotCompiler

EXAMPLES = {
    "parcel": ["where is my parcel", "has the package left", "track the shipment", "when will it arrive"],
    "money": ["give me my money back", "refund the purchase", "return the cash", "repay what I paid"],
}
MEANINGS = (
    {"parcel", "package", "shipment", "arrive", "consignment", "freight", "cargo"},
    {"money", "refund", "cash", "repay", "reimburse", "compensation", "rebate"},
)


class Embedder:
    """Stands in for the gateway: a vector has a number for each meaning that a text's words have, and one for none."""

    def __init__(self):
        self.calls = []
        self.failure = None
        self.delay_s = 0.0
        self.width = 3

    async def embed(self, model, texts, principal, labels):
        self.calls.append((model, list(texts), principal, labels))
        await asyncio.sleep(self.delay_s)
        if self.failure is not None:
            raise self.failure
        vectors = [self.vector(set(text.lower().split())) for text in texts]
        return Embedded(vectors=vectors, usage=UsageData(model=model, input_tokens=len(texts), cost="0.001"))

    def vector(self, words):
        counts = [2.0 * len(words & meaning) for meaning in MEANINGS]
        return [*counts, 0.5, *[0.0] * (self.width - 3)]


def document(model="embedder"):
    intents = [
        {"id": name, "when": {"examples": examples}, "then": {"reply": name}}
        for name, examples in EXAMPLES.items()
    ]
    thresholds = {"accept": 0.5, "clarify": 0.3}
    return {
        "schema_version": "1",
        "workflow_id": "w",
        "name": "W",
        "intents": intents,
        "policies": {"thresholds": thresholds, "disambiguation": {"enabled": False}},
        "llm": {"embed": {"model": model}},
    }


async def built(embedder, config):
    text = json.dumps(config, sort_keys=True)
    request = BuildRequest(tenant="acme", config_hash=hash_of(text), document=text)
    reply = await ExampleBuilder(60, GatewayVectors(embedder)).build(request)
    stored = SnapshotDocument(
        config_hash=request.config_hash, tenant="acme", document=text, artefacts=reply.artefacts
    )
    return reply, SnapshotCompiler(Re2Engine(), {})(stored)


@pytest.fixture(scope="module")
def learned():
    """A snapshot whose examples were learned with vectors, and what building it asked for."""
    embedder = Embedder()
    reply, snapshot = asyncio.run(built(embedder, document()))
    assert reply.warnings == []
    return snapshot, embedder.calls


async def decide(snapshot, text, embedder, patience_s=5.0, message=None):
    matcher = Matcher(model_matcher(), None, MessageVectors(GatewayVectors(embedder), patience_s))
    made = message or incoming(snapshot, text)
    found = await matcher.by_example(made)
    intent = getattr(found, "intent", None)
    return (intent.id if intent else None), made.paid


async def test_words_that_no_example_has_are_understood_by_their_meaning(learned):
    snapshot, _ = learned
    for text, intent in (("my consignment please", "parcel"), ("I want a rebate", "money")):
        decided, paid = await decide(snapshot, text, Embedder())
        assert decided == intent
        assert [used.cost for used in paid] == ["0.001"]


async def test_publishing_embeds_every_text_once_in_few_calls_and_for_the_tenant(learned):
    _, calls = learned
    texts = [text for _, part, _, _ in calls for text in part]
    assert len(texts) == len(set(texts)) > 20
    assert {text for examples in EXAMPLES.values() for text in examples} <= set(texts)
    assert len(calls) == (len(texts) + 127) // 128
    for model, _, principal, labels in calls:
        assert (model, principal.tenant, labels.purpose, labels.workflow_id) == (
            "embedder",
            "acme",
            "embedding",
            "w",
        )
    assert len({labels.idempotency_key for *_, labels in calls}) == len(calls)


async def test_a_message_asks_in_its_turns_name(learned):
    snapshot, _ = learned
    embedder = Embedder()
    await decide(snapshot, "my consignment please", embedder)
    [(model, texts, principal, labels)] = embedder.calls
    assert (model, texts, principal.subject) == ("embedder", ["my consignment please"], "key:alice")
    assert (labels.session_id, labels.purpose, labels.idempotency_key) == ("s1", "embedding", "t1/embed/0/0")


@pytest.mark.parametrize("trouble", ["failure", "delay", "width", "allowance"])
async def test_without_a_vector_words_decide(learned, trouble):
    snapshot, _ = learned
    embedder, message = Embedder(), None
    if trouble == "failure":
        embedder.failure = Unavailable("away")
    elif trouble == "delay":
        embedder.delay_s = 30.0
    elif trouble == "width":
        embedder.width = 8
    else:
        plain = incoming(snapshot, "where is my parcel")
        given = (plain.snapshot, plain.text, plain.context, plain.principal, plain.history, plain.started_ns)
        message = Incoming(*given, Allowance(refusal="session_cost_capped"))
    decided, _ = await decide(snapshot, "where is my parcel", embedder, 0.05, message)
    assert decided == "parcel"
    assert len(embedder.calls) == (0 if trouble == "allowance" else 1)


async def test_a_model_that_is_away_is_said_once_and_its_return_too(learned, caplog):
    snapshot, _ = learned
    embedder = Embedder()
    matcher = Matcher(model_matcher(), None, MessageVectors(GatewayVectors(embedder)))
    for failure in (Unavailable("away"), Unavailable("away"), None, None):
        embedder.failure = failure
        await matcher.by_example(incoming(snapshot, "where is my parcel"))
    said = [record.message for record in caplog.records if "vectors" in record.message]
    assert said == [
        "messages are compared by words alone: embedder gives no vectors: away",
        "embedder gives vectors again",
    ]


async def test_a_publish_without_vectors_warns_and_learns_by_words():
    embedder = Embedder()
    embedder.failure = Unavailable("The provider is away.")
    reply, snapshot = await built(embedder, document())
    assert reply.errors == []
    [warning] = reply.warnings
    assert (warning.pointer, warning.code) == ("/llm/embed", "not_embedded")
    assert "unavailable: The provider is away." in warning.detail
    assert [artefact.name for artefact in reply.artefacts] == ["examples", "examples-report"]
    asked = Embedder()
    assert (await decide(snapshot, "where is my parcel", asked))[0] == "parcel"
    assert asked.calls == []
